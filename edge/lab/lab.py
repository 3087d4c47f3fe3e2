"""Making a lab, and taking it apart whatever state it is in.

A lab is known by its name: its namespaces, its directory and the processes in its namespaces are all
there is of it, so what was left half built, or by a process that was killed, can always be removed.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from core.addr import Endpoint
from core.errors import UnavailableError
from core.schema import suggest
from core.service import interrupt, keysfile, process
from core.service.process import Child, Inside
from ebpf.kernel import bpffs
from ebpf.net import netns
from ebpf.net.attach import Netdev
from edge.lab import network, processes, signaling
from edge.lab.lock import lock, need_rights
from edge.lab.plan import DEFAULT_NAME, DIRECTORY, LOOPBACK, MAX_LABS, LabPlan, Place, load
from edge.lab.planet import lifecycle
from edge.lab.planet.planet import Planet
from edge.lab.subnets import choose

Tell = Callable[[str], None]


@dataclass(slots=True)
class Running:
    """A lab that is up, and what we started in it."""

    plan: LabPlan
    daemons: list[Child] = field(default_factory=list)

    def build(self) -> None:
        """Everything but the processes to look at; `plan` is then what was made. Raises UnavailableError."""
        directory = self.plan.directory
        self.plan.bpffs.mkdir(parents=True, mode=0o700)
        (directory / "log").mkdir()
        (directory / "lab.json").write_text(self.plan.dump())
        bpffs.mount(self.plan.bpffs)
        network.build(self.plan)
        self._join_signaling()
        (directory / "lab.json").write_text(self.plan.dump())
        keysfile.new(directory / "keys.toml")
        self.plan.config_path.write_text(self.plan.config())

    def _join_signaling(self) -> None:
        client = self.plan.namespaces[Place.CLIENT]
        try:
            listener = processes.listen(client, Endpoint(LOOPBACK, self.plan.http_port))
        except UnavailableError:
            listener = processes.listen(client, Endpoint(LOOPBACK, 0))
        with listener:
            self.plan = replace(self.plan, http_port=listener.getsockname()[1])
            command = signaling.command(listener, self.plan.signaling)
            self._run("signaling", Place.REGION, command, listener.fileno())

    def start(self, tell: Tell) -> None:
        """Everything at once, but the relay after the fast path that it uses. Raises UnavailableError."""
        transceiver = self._start("transceiver", Place.REGION)
        if self.plan.forwarder != "userspace":
            self.load_dataplane()
            tell("the fast path is attached")
        self.start_relay()
        tell("the relay is ready")
        process.until_ready(transceiver, self.plan.signaling, self._inside(Place.REGION))
        tell("the transceiver is ready")

    def load_dataplane(self) -> None:
        """Attach the fast path, in place of one that runs. Raises UnavailableError."""
        loading = self._start("dataplane", Place.POP, "run")
        process.finish(loading)
        self.daemons.remove(loading)

    def start_relay(self) -> Child:
        """Start the relay and wait until it is ready. Raises UnavailableError."""
        relay = self._start("relay", Place.POP)
        process.until_ready(relay, self.plan.relay_status, self._inside(Place.POP))
        return relay

    def daemon(self, name: str) -> Child:
        """One that runs: `relay`, `transceiver`."""
        return next(daemon for daemon in self.daemons if daemon.name == name)

    def kill_relay(self) -> None:
        """End the relay and its workers as a fault would; who waits for the daemons is not told."""
        relay = self.daemon("relay")
        self.daemons.remove(relay)
        os.killpg(relay.popen.pid, signal.SIGKILL)
        relay.popen.wait()

    def _start(self, verb: str, place: Place, *words: str) -> Child:
        return self._run(verb, place, ["voxpop", verb, *words, "--config", str(self.plan.config_path)])

    def _run(self, name: str, place: Place, command: list[str], *fds: int) -> Child:
        log = self.plan.directory / "log" / f"{name}.log"
        self.daemons.append(process.spawn(name, command, log, fds, self._inside(place)))
        return self.daemons[-1]

    def _inside(self, place: Place) -> Inside:
        return partial(netns.inside, self.plan.namespaces[place])

    def remove(self) -> None:
        """Take the lab apart. Raises UnavailableError."""
        down(self.plan.name)
        self.reap()

    def reap(self) -> None:
        """Wait for the daemons, which have been ended."""
        for daemon in self.daemons:
            daemon.popen.wait()

    def wait(self) -> Child:
        """Until one of the daemons ends. Raises KeyboardInterrupt when a postponed signal comes."""
        return process.ended(self.daemons)[0]


def up(plan: LabPlan, *, start: bool, tell: Tell) -> Running:
    """Make a lab, and start its processes; if anything fails, or a signal comes, nothing stays.

    `plan.http_port` is taken where it is free, else another that is; the addresses are such as are free: see
    the plan of the result. Raises UnavailableError.
    """
    need_rights()
    with lock():
        if is_there(plan.name):
            raise UnavailableError(
                f"lab {plan.name} is there already: `voxpop lab down{_option(plan.name)}` removes it, "
                "--name makes another"
            )
        running = Running(_with_free_addresses(plan))
        try:
            with interrupt.postponed():
                running.build()
                if start:
                    running.start(tell)
        except BaseException:
            with interrupt.ignored():
                _take_apart(running.plan)
                running.reap()
            raise
        return running


def down(name: str) -> int | None:
    """Remove a lab; how many processes ran in it, None where there was nothing. Raises UnavailableError."""
    need_rights()
    with lock(), interrupt.ignored():
        if lifecycle.is_planet(name):
            return lifecycle.take_apart(name)
        return _take_apart(load(name)) if is_there(name) else None


def is_there(name: str) -> bool:
    """Whether there is anything of a lab."""
    return network.is_there(LabPlan(name=name)) or (DIRECTORY / name).exists()


def names() -> list[str]:
    """Every lab of this machine."""
    found = {entry.name for entry in DIRECTORY.iterdir() if entry.is_dir()} if DIRECTORY.is_dir() else set()
    return sorted(found)


def namespace(name: str, place: str) -> str | None:
    """The network namespace of a place; None is this machine's own. Raises UnavailableError."""
    need(name)
    if lifecycle.is_planet(name):
        return lifecycle.load(name).site(place).namespace
    if place not in list(Place):
        raise UnavailableError(f"lab {name} has no place {place}; {suggest(place, Place)}")
    return load(name).namespaces[Place(place)]


def environment(name: str, place: str) -> Mapping[str, str]:
    """What commands in a place find in theirs. Raises UnavailableError."""
    return Planet(lifecycle.load(name)).places()[place].environment if lifecycle.is_planet(name) else {}


def need(name: str) -> None:
    """Raises UnavailableError where there is no lab of a name."""
    if not is_there(name):
        others = f"; there is {', '.join(names())}" if names() else ""
        raise UnavailableError(f"there is no lab {name}{others}: `voxpop lab up{_option(name)}` makes it")


def _with_free_addresses(plan: LabPlan) -> LabPlan:
    index = _free_index()
    with Netdev() as netdev:
        return replace(plan, index=index, subnets=choose(index, netdev.prefixes()))


def _free_index() -> int:
    taken = {load(name).index for name in names() if not lifecycle.is_planet(name)}
    free = next((index for index in range(MAX_LABS) if index not in taken), None)
    if free is None:
        raise UnavailableError(f"there are {MAX_LABS} labs already: `voxpop lab status` lists them")
    return free


def _take_apart(plan: LabPlan) -> int:
    """Everything that goes by this name, as far as it exists; how many processes ran in it."""
    ended = processes.end_all([name for name in plan.namespaces.values() if name is not None])
    network.remove(plan)
    if plan.bpffs.exists():
        bpffs.unmount(plan.bpffs)
    if plan.directory.exists():
        shutil.rmtree(plan.directory)
    return ended


def _option(name: str) -> str:
    return "" if name == DEFAULT_NAME else f" --name {name}"
