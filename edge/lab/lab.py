"""Making a lab, and taking it apart whatever state it is in.

A lab is known by its name: its namespaces, its directory and the processes in its namespaces are all
there is of it, so what was left half built, or by a process that was killed, can always be removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FrameType

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service import keysfile
from ebpf import bpffs
from edge.lab import network, processes, signaling
from edge.lab.plan import DEFAULT_NAME, DIRECTORY, LOOPBACK, MAX_LABS, LabPlan, Place, load
from edge.lab.processes import Daemon
from edge.rights import Capability, missing

Tell = Callable[[str], None]


@dataclass(slots=True)
class Running:
    """A lab that is up, and what we started in it."""

    plan: LabPlan
    daemons: list[Daemon]

    def start(self, tell: Tell) -> None:
        """Everything at once, but the relay after the fast path that it uses. Raises UnavailableError."""
        transceiver = self.spawn("transceiver", Place.REGION)
        if self.plan.forwarder != "userspace":
            self.load_dataplane()
            tell("the fast path is attached")
        self.start_relay()
        tell("the relay is ready")
        region = self.plan.namespaces[Place.REGION]
        processes.until_ready(transceiver, region, self.plan.signaling)
        tell("the transceiver is ready")

    def load_dataplane(self) -> None:
        """Attach the fast path, in place of one that runs. Raises UnavailableError."""
        processes.finish(self._run("dataplane", Place.POP, "run"))

    def start_relay(self) -> Daemon:
        """Start the relay and wait until it is ready. Raises UnavailableError."""
        relay = self.spawn("relay", Place.POP)
        processes.until_ready(relay, self.plan.namespaces[Place.POP], self.plan.relay_status)
        return relay

    def spawn(self, verb: str, place: Place) -> Daemon:
        """Start a daemon."""
        self.daemons.append(self._run(verb, place))
        return self.daemons[-1]

    def _run(self, verb: str, place: Place, *words: str) -> Daemon:
        return processes.spawn(
            verb,
            self.plan.namespaces[place],
            ["voxpop", verb, *words, "--config", str(self.plan.config_path)],
            self.plan.directory / "log",
        )

    def remove(self) -> None:
        """Take the lab apart. Raises UnavailableError."""
        down(self.plan.name)
        for daemon in self.daemons:
            daemon.popen.wait()

    def wait(self) -> Daemon:
        """Until one of the daemons ends."""
        poller = select.poll()
        with contextlib.ExitStack() as handles:
            found = {}
            for daemon in self.daemons:
                handle = os.pidfd_open(daemon.popen.pid)
                handles.callback(os.close, handle)
                poller.register(handle, select.POLLIN)
                found[handle] = daemon
            handle, _ = poller.poll()[0]
            return found[handle]


def need_rights() -> None:
    """Raises UnavailableError without those that namespaces, mounts and interfaces take."""
    lacking = missing((Capability.NET_ADMIN, Capability.SYS_ADMIN))
    if lacking:
        raise UnavailableError(
            f"a lab is made of network namespaces, which takes root: {', '.join(lacking)} missing. "
            "Without it, `voxpop demo --no-lab` shows a call on loopback"
        )


def up(plan: LabPlan, *, start: bool, tell: Tell) -> Running:
    """Make a lab, and start its processes; if anything fails, or Ctrl-C is pressed, nothing stays.

    `plan.index` and `plan.http_port` are taken where they are free, else others that are: see the plan
    of the result. Raises UnavailableError.
    """
    need_rights()
    with _lock():
        if is_there(plan.name):
            raise UnavailableError(
                f"lab {plan.name} is there already: `voxpop lab down{_option(plan.name)}` removes it, "
                "--name makes another"
            )
        with signals_interrupt():
            try:
                plan = replace(plan, index=_free_index())
                return _build(plan, start=start, tell=tell)
            except BaseException:
                with _signals_ignored():
                    _take_apart(plan)
                raise


def down(name: str) -> int | None:
    """Remove a lab; how many processes ran in it, None where there was nothing. Raises UnavailableError."""
    need_rights()
    with _lock(), _signals_ignored():
        return _take_apart(load(name)) if is_there(name) else None


def is_there(name: str) -> bool:
    """Whether there is anything of a lab."""
    return network.is_there(LabPlan(name=name)) or (DIRECTORY / name).exists()


def names() -> list[str]:
    """Every lab of this machine."""
    found = {entry.name for entry in DIRECTORY.iterdir() if entry.is_dir()} if DIRECTORY.is_dir() else set()
    return sorted(found)


def namespace(name: str, place: Place) -> str | None:
    """The network namespace of a place; None is this machine's own. Raises UnavailableError."""
    if not is_there(name):
        others = f"; there is {', '.join(names())}" if names() else ""
        raise UnavailableError(f"there is no lab {name}{others}: `voxpop lab up{_option(name)}` makes it")
    return load(name).namespaces[place]


def _free_index() -> int:
    taken = {load(name).index for name in names()}
    free = next((index for index in range(MAX_LABS) if index not in taken), None)
    if free is None:
        raise UnavailableError(f"there are {MAX_LABS} labs already: `voxpop lab status` lists them")
    return free


def _build(plan: LabPlan, *, start: bool, tell: Tell) -> Running:
    plan.bpffs.mkdir(parents=True, mode=0o700)
    (plan.directory / "log").mkdir()
    (plan.directory / "lab.json").write_text(plan.dump())
    bpffs.mount(plan.bpffs)
    network.build(plan)
    plan, daemon = _join_signaling(plan)
    (plan.directory / "lab.json").write_text(plan.dump())
    keysfile.new(plan.directory / "keys.toml")
    plan.config_path.write_text(plan.config())
    running = Running(plan, [daemon])
    if start:
        running.start(tell)
    return running


def _join_signaling(plan: LabPlan) -> tuple[LabPlan, Daemon]:
    client, region = plan.namespaces[Place.CLIENT], plan.namespaces[Place.REGION]
    try:
        listener = processes.listen(client, Endpoint(LOOPBACK, plan.http_port))
    except UnavailableError:
        listener = processes.listen(client, Endpoint(LOOPBACK, 0))
    with listener:
        plan = replace(plan, http_port=listener.getsockname()[1])
        command = signaling.command(listener, plan.signaling)
        logs = plan.directory / "log"
        return plan, processes.spawn("signaling", region, command, logs, (listener.fileno(),))


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


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One at a time makes or removes labs."""
    DIRECTORY.parent.mkdir(exist_ok=True)
    DIRECTORY.mkdir(mode=0o700, exist_ok=True)
    with (DIRECTORY / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def signals_interrupt() -> contextlib.AbstractContextManager[None]:
    """Every signal that ends a process does it as Ctrl-C does."""
    return _handling(_interrupt)


def _signals_ignored() -> contextlib.AbstractContextManager[None]:
    return _handling(signal.SIG_IGN)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
