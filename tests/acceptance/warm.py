"""A Python that has started already, on an emulated machine: see `guest/warm_python.py`."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.acceptance.machine import Machine

GUEST = Path(__file__).parent / "guest"
FOLDER = "/usr/local/lib/warm-python"
INTERPRETER = f"{FOLDER}/python3"
SOCKET, KEPT = "/run/warm-python", "/var/cache/warm-python"
START_S = 120.0
_UNIT = f"""\
[Service]
Type=exec
ExecStartPre=/bin/rm -f {SOCKET}
ExecStart=/usr/bin/python3 {FOLDER}/warm_python.py {SOCKET} {KEPT}
KillMode=process
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
_WAIT = f"until [ -S {SOCKET} ]; do sleep 0.5; done"


def build(launcher: Path, socket: str = SOCKET) -> None:
    """Compile what asks for one, for any Linux of this processor."""
    words = ["clang", "-O2", "-static", f'-DSOCKET="{socket}"', "-o", str(launcher)]
    subprocess.run([*words, str(GUEST / "warm_python.c")], check=True)


def install(machine: Machine) -> None:
    """Have it there, after a boot too. Raises UnmetError."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "python3"
        build(made)
        machine.run(f"mkdir -p {FOLDER} && cat >{INTERPRETER}", given=made.read_bytes())
    program = (GUEST / "warm_python.py").read_bytes()
    machine.run(f"chmod 755 {INTERPRETER} && cat >{FOLDER}/warm_python.py", given=program)
    machine.run("cat >/etc/systemd/system/warm-python.service", given=_UNIT.encode())
    machine.run(f"systemctl enable --quiet --now warm-python && {_WAIT}", START_S)
