"""A virtual machine that runs: started, reached by SSH, switched off, or killed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance import qemu, tap
from tests.acceptance.errors import UnmetError
from tests.acceptance.image import Image
from tests.acceptance.qemu import Disk, Nic, Spec
from tests.ports import free_tcp_port
from tests.processes import end

BOOT_S, OFF_S, COMMAND_S, POLL_S = 900.0, 300.0, 120.0, 1.0
# What is emulated on a busy machine may be silent for minutes.
SSH = ("-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
       "-o", "ConnectTimeout=60", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=20")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wire:
    """From a NIC to a bridge in a namespace: the name of its TAP device there, and its MAC address."""

    namespace: str
    bridge: str
    tap: str
    mac: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where machines of a run are kept, and how they are reached."""

    folder: Path
    key: Path
    """Private, of this run; the public one is beside it."""


class Machine:
    """One of them. Its disk stays in the run's folder, so that the next run finds it as it was left."""

    def __init__(self, place: Place, spec: Spec, wires: tuple[Wire, ...] = ()) -> None:
        self.name = spec.name
        self.wires = wires
        self._place = place
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Of 127.0.0.1, where its SSH is."""
        return self._spec.ssh_port

    @property
    def is_up(self) -> bool:
        """Whether it is switched on."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Switch it on."""
        assert not self.is_up
        with contextlib.ExitStack() as stack:
            nics = tuple(
                Nic(w.mac, stack.enter_context(tap.opened(w.namespace, w.tap, 2 * self._spec.cpus)))
                for w in self.wires
            )
            for wire in self.wires:
                words = ["link", "set", wire.tap, "master", wire.bridge, "up"]
                subprocess.run(["ip", "-n", wire.namespace, *words], check=True)
            spec = dataclasses.replace(self._spec, nics=nics)
            with (self._place.folder / f"{self.name}.qemu").open("ab") as log:
                # It ends with us, however we end; a Ctrl-C is for us, who switch it off.
                self._process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *qemu.command(spec)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=[number for nic in nics for number in nic.descriptors],
                )  # fmt: skip

    def wait_until_up(self, unlike: str | None = None) -> None:
        """Until its SSH answers and nothing is left to start; `unlike` is the id of a boot that is not meant.
        Raises UnmetError.
        """
        deadline = time.monotonic() + BOOT_S
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not self.is_up:
                raise UnmetError(f"{self.name} does not boot; see {self._spec.console}")
            done = self._ssh("cat /proc/sys/kernel/random/boot_id; systemctl is-system-running --wait", left)
            boot, _, state = done.stdout.decode().strip().partition("\n")
            if boot == unlike:
                state = ""
            if state == "running":
                return
            if state == "degraded":
                failed = self.run("systemctl --failed --no-legend --plain")
                raise UnmetError(f"{self.name} has booted without {failed}")
            time.sleep(POLL_S)

    def run(self, command: str, seconds: float = COMMAND_S, *, given: bytes = b"") -> str:
        """What a command of its shell prints. Raises UnmetError for one that fails or takes longer."""
        done = self._ssh(command, seconds, given)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise UnmetError(f"{self.name}: {command}: exit status {done.returncode}\n{said}")
        return done.stdout.decode().strip()

    def _ssh(self, command: str, seconds: float, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        argv = ["ssh", *SSH, *self.ssh_options(), "-p", str(self.port), "root@127.0.0.1", command]
        try:
            return subprocess.run(argv, input=given, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 124, b"", f"took more than {seconds:.0f} s".encode())

    def ssh_options(self) -> tuple[str, ...]:
        """By which it is known: its key of this run."""
        known = self._place.folder / f"{self.name}.known"
        return (
            "-i",
            str(self._place.key),
            "-o",
            f"UserKnownHostsFile={known}",
            "-o",
            f"HostKeyAlias={self.name}",
        )

    def keep_journal(self) -> None:
        """All that its journal has, beside its console."""
        done = self._ssh("journalctl --no-pager --output=short-precise", COMMAND_S)
        (self._place.folder / f"{self.name}.journal").write_bytes(done.stdout)

    def off(self) -> None:
        """Switch it off in order, in bounded time; what does not go is killed. Idempotent."""
        if not self.is_up:
            return
        self.keep_journal()
        self._ssh("systemctl poweroff", COMMAND_S)
        try:
            assert self._process is not None
            self._process.wait(OFF_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a power supply that fails. Idempotent."""
        if self._process is not None:
            end(self._process, signal.SIGKILL)


@contextlib.contextmanager
def switched_off(machine: Machine) -> Iterator[None]:
    """Whatever happens, it does not run on."""
    try:
        yield
        machine.off()
    finally:
        machine.kill()


def overlay(image: Image, path: Path) -> Disk:
    """A disk of a machine's own on an image, made if it is not there."""
    if not path.exists():
        base = ("-b", str(image.disk), "-F", "raw")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(path)], check=True)
    return Disk(path)


def new_spec(
    place: Place, name: str, image: Image, cpus: int, memory_mib: int, more: tuple[Disk, ...] = ()
) -> Spec:
    """A machine on an overlay of an image."""
    return Spec(
        name=name, cpus=cpus, memory_mib=memory_mib, kernel=image.kernel, initrd=image.initrd,
        disks=(overlay(image, place.folder / f"{name}.qcow2"), *more), ssh_port=free_tcp_port(),
        authorized_key=place.key.with_suffix(".pub").read_text(), console=place.folder / f"{name}.console",
    )  # fmt: skip


def make_key(path: Path) -> None:
    """A key by which machines are reached, if there is none yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        words = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            f"acceptance-{os.getpid()}",
            "-f",
            str(path),
        ]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
