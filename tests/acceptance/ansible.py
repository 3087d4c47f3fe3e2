"""Playbooks of the collection on the machines, for the example inventory, and what Ansible says of them."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance import warm, wires
from tests.acceptance.errors import UnmetError
from tests.acceptance.machine import SSH, Machine
from tests.ansible.collection import INVENTORY, environment, installed
from tests.certificates import self_signed

SECONDS = 7200
SETTINGS = {
    "ANSIBLE_TIMEOUT": "60",
    # What costs an emulated processor most is a process of Python, and a handshake.
    "ANSIBLE_PIPELINING": "1",
    "ANSIBLE_GATHERING": "smart",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=300",
    "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
}
"""Of an operator's ansible.cfg, who has hosts far away."""
UNKNOWN = {"edge_interfaces": ["enp0s3", "enp0s4"], "edge_public_only": ["enp0s3"]}
"""All that the example does not know: names of these NICs."""
_PATIENT = "{{ voxpop_store | combine({'timeout_ms': 1000}) }}"
EMULATED = {
    "base_time_synchronised": False,
    "edge_announce_settings": {
        "interval_ms": 2000, "timeout_ms": 2000, "rise": 2, "fall": 45, "hold_down_s": 2.0,
    },
    "bgp_bfd_interval_ms": 400,
    "edge_store": _PATIENT,
    "transceiver_store": _PATIENT,
}  # fmt: skip
"""What is of the emulator: it sets the clock, and where it is busy a relay answers a checker in a second and
takes half a minute to start anew, the store takes a tenth of a second, and BIRD answers the router in half a
second.
"""
_RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s+"
    r"failed=(?P<failed>\d+)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Recap:
    """What a playbook did on one host, by tasks."""

    ok: int
    changed: int
    unreachable: int
    failed: int


def recaps(said: str) -> dict[str, Recap]:
    """The last lines of ansible-playbook, by host."""
    found = {}
    for match in _RECAP.finditer(said):
        numbers = match.groupdict()
        host = numbers.pop("host")
        found[host] = Recap(**{name: int(number) for name, number in numbers.items()})
    return found


class Playbooks:
    """Of one run: its copy of the example inventory with secrets of its own, and where it logs."""

    def __init__(self, folder: Path, bundle: Path, voxpop: Sequence[str]) -> None:
        self._folder = folder
        self.bundle = bundle
        self.inventory = folder / "inventory"
        self.api_key = folder / "api.key"
        self.certificate = folder / "certificate.pem"
        if not self.inventory.exists():
            shutil.copytree(INVENTORY, self.inventory)
            self._make_secrets(voxpop)

    def _make_secrets(self, voxpop: Sequence[str]) -> None:
        """As docs/pop.md has an operator make them; the certificate is its own authority."""
        subprocess.run(
            [*voxpop, "keys", "new", str(self.inventory / "keys.toml")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        made = subprocess.run(
            [*voxpop, "api-key", "new", str(self.inventory / "api-keys.toml"), "acceptance"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        _write_closed(self.api_key, made.stdout)
        _write_closed(self.inventory / "store-password", secrets.token_hex(32) + "\n")
        certificate, key = self_signed(self._folder, wires.SIGNALING_ADDRESS)
        _write_closed(self.inventory / "voice.pem", certificate.read_text() + key.read_text())

    def play(
        self, name: str, machines: Mapping[str, Machine], *more: str, which: str = "newest"
    ) -> dict[str, Recap]:
        """A playbook by its full name, for hosts of the inventory, with more options. What it says is in the
        run's folder, under its name. Raises UnmetError when a task fails.
        """
        log = self.log(name, which)
        with installed() as collections, log.open("wb") as out:
            try:
                status = subprocess.run(
                    ["ansible-playbook", *self._arguments(machines), *more, name],
                    cwd=collections, env=environment(which, collections) | SETTINGS, stdin=subprocess.DEVNULL,
                    stdout=out, stderr=subprocess.STDOUT, timeout=SECONDS, check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                raise UnmetError(f"{name} takes more than {SECONDS} s; see {log}") from None
        found = recaps(log.read_text())
        if status != 0 or set(found) != set(machines):
            raise UnmetError(f"{name} failed; the end of {log}:\n{_end_of(log.read_text())}")
        return found

    def log(self, name: str, which: str = "newest") -> Path:
        """What was said when a playbook was played last."""
        return self._folder / f"{name.rpartition('.')[2]}-{which}.log"

    def _arguments(self, machines: Mapping[str, Machine]) -> list[str]:
        hosts = {name: self._connection(machine) for name, machine in machines.items()}
        ours = self._folder / "connections.yml"
        ours.write_text(json.dumps({"all": {"hosts": hosts}}))
        more = {"base_bundle": str(self.bundle), **UNKNOWN, **EMULATED}
        inventories = [f"--inventory={self.inventory / 'hosts.yml'}", f"--inventory={ours}"]
        return [*inventories, f"--limit={','.join(machines)}", f"--extra-vars={json.dumps(more)}", "--diff"]

    @staticmethod
    def _connection(machine: Machine) -> dict[str, object]:
        return {
            "ansible_host": "127.0.0.1", "ansible_port": machine.port, "ansible_user": "root",
            "ansible_python_interpreter": warm.INTERPRETER,
            "ansible_ssh_common_args": " ".join([*SSH, *machine.ssh_options()]),
        }  # fmt: skip


def _write_closed(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _end_of(text: str, lines: int = 30) -> str:
    return "\n".join(text.splitlines()[-lines:])
