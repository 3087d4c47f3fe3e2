"""A Python that has started already, on an emulated machine: see `guest/warm_python.py`."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.acceptance.machine import Machine

GUEST = Path(__file__).parent / "guest"
FOLDER = "/usr/local/lib/warm-python"
INTERPRETER = f"{FOLDER}/python3"
START_S = 120.0
_UNIT = f"""\
[Service]
Type=exec
ExecStartPre=/bin/rm -f /run/warm-python
ExecStart=/usr/bin/python3 {FOLDER}/warm_python.py
KillMode=process
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
_WAIT = "until [ -S /run/warm-python ]; do sleep 0.5; done"


def install(machine: Machine) -> None:
    """Have it there, after a boot too. Raises UnmetError."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "python3"
        source = GUEST / "warm_python.c"
        subprocess.run(["clang", "-O2", "-static", "-o", str(made), str(source)], check=True)
        machine.run(f"mkdir -p {FOLDER} && cat >{INTERPRETER}", given=made.read_bytes())
    program = (GUEST / "warm_python.py").read_bytes()
    machine.run(f"chmod 755 {INTERPRETER} && cat >{FOLDER}/warm_python.py", given=program)
    machine.run("cat >/etc/systemd/system/warm-python.service", given=_UNIT.encode())
    machine.run(f"systemctl enable --quiet --now warm-python && {_WAIT}", START_S)
