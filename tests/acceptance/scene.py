"""What the steps work on: the folder of a run, its machines, switched on when a step needs them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ebpf.net import netns
from tests.acceptance import image, machine, recipe, speakers, wires
from tests.acceptance.ansible import Playbooks
from tests.acceptance.errors import UnmetError
from tests.acceptance.machine import Machine, Place
from tests.acceptance.qemu import Disk
from tests.acceptance.speakers import Speakers
from tests.paths import ROOT

POP, REGION = "fra1.example.net", "frankfurt1.example.net"
"""Of the example inventory, as is the rest of it."""
VOXPOP = (sys.executable, "-m", "voxpop")
GUEST_MIB = 4096
CHECKOUT_MIB = 1600


@dataclass(frozen=True, slots=True)
class Folders:
    """Where things are kept between runs."""

    images: Path
    run: Path
    """Of the machines as they were left, their consoles, journals and logs."""


class Scene:
    """Of one run. Machines are made once and then found as they were left."""

    def __init__(self, folders: Folders, bundle: Path) -> None:
        self.folders = folders
        self.playbooks = Playbooks(folders.run, bundle, VOXPOP)
        key = folders.run / "ssh"
        machine.make_key(key)
        self._place = Place(folders.run, key)
        self._made: dict[str, Machine] = {}
        self._speakers: Speakers | None = None

    @property
    def speakers(self) -> Speakers:
        """The router and the upstream of it, while the scene is played."""
        assert self._speakers is not None
        return self._speakers

    @property
    def pop(self) -> Machine:
        """The PoP's host, switched on."""
        return self.switched_on(POP)[0]

    @property
    def hosts(self) -> dict[str, Machine]:
        """Both, by their names in the inventory."""
        return dict(zip((POP, REGION), self.switched_on(POP, REGION), strict=True))

    def switched_on(self, *names: str) -> list[Machine]:
        """Hosts, side by side, where they are not on already."""
        for name in names:
            if name not in self._made:
                self._made[name] = self._new(name)
        machines = [self._made[name] for name in names]
        started = [each for each in machines if not each.is_up]
        for each in started:
            each.start()
        for each in started:
            each.wait_until_up()
        return machines

    def _new(self, name: str) -> Machine:
        of_host = image.ensure(recipe.HOST, self.folders.images)
        cpus, links = (2, wires.POP_WIRES) if name == POP else (1, wires.REGION_WIRES)
        return Machine(self._place, machine.new_spec(self._place, name, of_host, cpus, GUEST_MIB), links)

    @contextlib.contextmanager
    def tester(self) -> Iterator[Machine]:
        """A machine with what `tests/ebpf` takes, and this checkout as its second disk; new each time."""
        (self.folders.run / "tests.qcow2").unlink(missing_ok=True)
        of_tests = image.ensure(recipe.KERNEL_TESTS, self.folders.images)
        checkout = Disk(self._checkout(), format="raw", readonly=True)
        spec = machine.new_spec(self._place, "tests", of_tests, 1, GUEST_MIB, (checkout,))
        made = self._made[spec.name] = Machine(self._place, spec)
        with machine.switched_off(made):
            made.start()
            made.wait_until_up()
            yield made

    def _checkout(self) -> Path:
        """A disk with what Git knows of this checkout, as it is now, and its venv."""
        disk, tree = self.folders.run / "checkout.raw", self.folders.run / "checkout"
        subprocess.run(["rm", "-rf", str(disk), str(tree)], check=True)
        tree.mkdir()
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(
            ["xargs", "-0", "cp", "--parents", "-t", str(tree)], cwd=ROOT, input=listed, check=True
        )
        subprocess.run(["cp", "-a", str(ROOT / ".venv"), str(tree)], check=True)
        words = ["mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", str(tree), str(disk), f"{CHECKOUT_MIB}M"]
        subprocess.run(words, check=True)
        subprocess.run(["rm", "-rf", str(tree)], check=True)
        return disk

    def in_client(self, *command: str, seconds: float) -> str:
        """What a command prints that runs where the client is. Raises UnmetError when it fails."""
        return self.inside(wires.CLIENT, *command, seconds=seconds)

    def inside(self, namespace: str, *command: str, seconds: float) -> str:
        """The same in any namespace of the scene."""
        process = self.begin(namespace, *command)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise UnmetError(f"{' '.join(command)} takes more than {seconds:.0f} s") from None
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise UnmetError(f"{' '.join(command)}: exit status {process.returncode}\n{out}{err}")
        return out

    def begin(self, namespace: str, *command: str) -> subprocess.Popen[str]:
        """A command that knows the certificate of signaling, in a namespace; it is for the caller to end."""
        with netns.inside(namespace):
            return subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "SSL_CERT_FILE": str(self.playbooks.certificate)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """The network is there meanwhile; at the end no machine runs on."""
        with wires.wired(), speakers.speaking(self.folders.run) as self._speakers:
            try:
                yield
            finally:
                self._off()

    def _off(self) -> None:
        """In order, so that the next run finds what this one has made; whoever interrupts that kills them."""
        try:
            for made in list(self._made.values()):
                made.off()
        finally:
            for made in list(self._made.values()):
                made.kill()


def folders() -> Folders:
    """Those of this user."""
    base = image.cache()
    return Folders(base / "images", base / "run")


def needs() -> str | None:
    """What is missing to play, in words."""
    return None if os.geteuid() == 0 else "needs root, for network namespaces and TAP devices"
