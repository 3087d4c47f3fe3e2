"""A parent and its worker processes.

The parent opens every socket and keeps it open, so that a worker that dies is replaced on the very
same sockets: a `SO_REUSEPORT` group whose size changes would send live flows to other workers.
Parent and worker talk over a SEQPACKET socket pair, one JSON object per message. A worker that reads
end-of-file there has lost its parent and exits, so no orphan keeps a port.
"""

from __future__ import annotations

import asyncio
import collections
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import UnavailableError
from core.service import launch
from core.service.exhausted import lack, reason

logger = logging.getLogger(__name__)

Message = Mapping[str, object]
MESSAGE_BYTES = 65536
READY_TIMEOUT_S = 90.0
"""How long a worker may take to start: a second or two; a minute where the processor is slow or wanted."""
BEAT_S = 1.0
"""How often a worker that is ready is asked whether it lives."""
SILENT_BEATS = 8
"""Questions in a row without an answer after which a worker is taken for dead: longer than any second that
is merely busy. They are counted and not timed, so that a supervisor that was stopped itself, or a machine
that slept, finds one that is overdue and not hundreds.
"""
PING, PONG = "ping", "pong"
"""Types of the messages in question; `ControlChannel.listen` answers."""
CONTROL_FD_VARIABLE = "VOXPOP_CONTROL_FD"


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How one worker is started: its command, and the open sockets that it inherits by number."""

    name: str
    argv: Sequence[str]
    pass_fds: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patiently dead workers are replaced."""

    tolerated: int = 10
    window_s: float = 60.0
    """More restarts of one worker than `tolerated` in this time, and the whole service gives up loudly."""
    first_delay_s: float = 0.05
    """Doubled with every restart in the window, up to `last_delay_s`."""
    last_delay_s: float = 5.0

    def delay_s(self, recent: int) -> float:
        """How long to wait before the `recent`-th restart in the window, counted from 1."""
        return min(self.first_delay_s * 2.0 ** (recent - 1), self.last_delay_s)


@dataclass(slots=True)
class Worker:
    """One worker slot, whichever process fills it."""

    spec: WorkerSpec
    process: asyncio.subprocess.Process | None = None
    control: socket.socket | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    unanswered: int = 0
    """Questions since the last answer."""
    heard_s: float = 0.0
    """When it last was ready or answered, by the clock of the event loop."""
    restarts: int = 0
    recent_deaths: collections.deque[float] = field(default_factory=collections.deque)

    def kill(self) -> None:
        """End the process that fills the slot, if one does."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()


class Supervisor:
    """Starts workers, restarts dead ones, passes messages."""

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        on_message: Callable[[int, Message], None] = lambda index, message: None,
        greeting: Callable[[], Message] | None = None,
        policy: RestartPolicy | None = None,
        on_death: Callable[[int], None] = lambda index: None,
    ) -> None:
        """`greeting` makes the first message of every worker, such as its keys; `on_message` takes
        what workers say other than `ready`; `on_death` is called when one has ended that was not told to.
        """
        self.workers = [Worker(spec) for spec in specs]
        self._on_message = on_message
        self._greeting = greeting
        self._policy = policy or RestartPolicy()
        self._on_death = on_death
        self._stopping = asyncio.Event()
        self._has_started = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_stopping(self) -> bool:
        """Whether workers that end are not replaced any more."""
        return self._stopping.is_set()

    @property
    def ready(self) -> int:
        """How many workers are."""
        return sum(worker.ready.is_set() for worker in self.workers)

    @property
    def silent_s(self) -> float:
        """For how long nothing was heard of the worker that was heard of last. 0 once they are to end, for
        which they have a time limit.
        """
        if not self._has_started or self.is_stopping:
            return 0.0
        return asyncio.get_running_loop().time() - min(worker.heard_s for worker in self.workers)

    async def start(self) -> None:
        """Start every worker and wait until all are ready.

        A worker that ends before that has met something that a second try would meet too: everything
        is ended again and UnavailableError raised.
        """
        self._tasks = [
            asyncio.create_task(self._keep(index), name=worker.spec.name)
            for index, worker in enumerate(self.workers)
        ]
        ready = asyncio.create_task(self._all_ready())
        try:
            await asyncio.wait({ready, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    await task  # raises what ended it
            self._has_started = True
        finally:
            ready.cancel()
            if not self._has_started:
                self.kill()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _all_ready(self) -> None:
        for worker in self.workers:
            await worker.ready.wait()

    async def wait(self) -> None:
        """Return when the workers were stopped. May be cancelled, which leaves them alone.

        What ends one worker slot for good ends the others too and is raised: UnavailableError when a
        worker cannot be kept up.
        """
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [t for t in self._tasks if t.done() and not t.cancelled() and t.exception() is not None]
        if failed:
            self.kill()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            failed[0].result()

    def broadcast(self, message: Message) -> None:
        """Send a message to every live worker; one that does not read is killed, and so restarted."""
        for worker in self.workers:
            self._send(worker, message)

    async def stop(self, message: Message, timeout_s: float) -> None:
        """Send `message`, wait until the workers have exited, kill those that have not in time."""
        self._stopping.set()
        self.broadcast(message)
        if self._tasks:
            _, busy = await asyncio.wait(self._tasks, timeout=timeout_s)
            if busy:
                logger.warning("%d workers still busy after %g s are ended now", len(busy), timeout_s)
        self.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def kill(self) -> None:
        """End every worker at once."""
        self._stopping.set()
        for worker in self.workers:
            worker.kill()

    def _send(self, worker: Worker, message: Message) -> None:
        if worker.control is None:
            return
        try:
            worker.control.send(_encode(message))
        except BlockingIOError:
            logger.error("%s does not read its control socket; killed", worker.spec.name)
            worker.control = None  # nothing more to say to this process
            worker.kill()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has just died; the restart greets it anew

    async def _keep(self, index: int) -> None:
        """Run one worker again and again until stopped."""
        worker = self.workers[index]
        while True:
            status = await self._run_once(index)
            worker.ready.clear()
            if self.is_stopping:
                return
            if not self._has_started:
                raise UnavailableError(f"{worker.spec.name} ended while the workers were starting ({status})")
            self._on_death(index)
            if not await self._is_to_restart(worker, status):
                return

    async def _is_to_restart(self, worker: Worker, status: str) -> bool:
        """Back off; False when stopped meanwhile. Raises UnavailableError when there
        were too many restarts.
        """
        now = asyncio.get_running_loop().time()
        deaths = worker.recent_deaths
        deaths.append(now)
        while now - deaths[0] > self._policy.window_s:
            deaths.popleft()
        if len(deaths) > self._policy.tolerated:
            self.kill()
            raise UnavailableError(f"{worker.spec.name} keeps dying (last time: {status})")
        delay_s = self._policy.delay_s(len(deaths))
        worker.restarts += 1
        logger.error("%s ended (%s); restarted in %.2f s", worker.spec.name, status, delay_s)
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def _run_once(self, index: int) -> str:
        """Run one process to its end; returns how that was, for people."""
        worker = self.workers[index]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                worker.process = await _spawn(worker.spec, theirs)
            if self.is_stopping:
                worker.kill()
            worker.control = ours
            if self._greeting is not None:
                self._send(worker, self._greeting())
            await self._listen(index, ours)
            return _describe(await worker.process.wait())
        except UnavailableError as error:
            return str(error)
        finally:
            worker.control = None
            ours.close()

    def _check_ready(self, worker: Worker) -> None:
        if not worker.ready.is_set():
            logger.error("%s was not ready within %g s; killed", worker.spec.name, READY_TIMEOUT_S)
            worker.kill()

    async def _listen(self, index: int, control: socket.socket) -> None:
        worker = self.workers[index]
        deadline = asyncio.get_running_loop().call_later(READY_TIMEOUT_S, self._check_ready, worker)
        pulse = asyncio.create_task(self._feel_pulse(worker))
        try:
            while (message := await _receive(control)) is not None:
                if message.get("type") == "ready":
                    worker.ready.set()
                elif message.get("type") == PONG:
                    worker.unanswered = 0
                else:
                    self._on_message(index, message)
                    continue
                worker.heard_s = asyncio.get_running_loop().time()
        finally:
            deadline.cancel()
            pulse.cancel()

    async def _feel_pulse(self, worker: Worker) -> None:
        """Kill a worker whose event loop stands still: stopped, in a deadlock, or in a loop of its own. One
        that is told to end has its own time limit.
        """
        await worker.ready.wait()
        worker.unanswered = 0
        while not self.is_stopping:
            await asyncio.sleep(BEAT_S)
            if worker.unanswered >= SILENT_BEATS:
                name, silent_s = worker.spec.name, SILENT_BEATS * BEAT_S
                logger.error("%s has not answered for %g s; killed", name, silent_s)
                worker.kill()
                return
            worker.unanswered += 1
            self._send(worker, {"type": PING})


async def _spawn(spec: WorkerSpec, control: socket.socket) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *spec.argv,
            pass_fds=(*spec.pass_fds, control.fileno()),
            env=launch.environment({CONTROL_FD_VARIABLE: str(control.fileno())}),
            start_new_session=True,  # a Ctrl-C at the terminal is for the parent to act on
        )
    except OSError as error:
        raise UnavailableError(f"{spec.argv[0]} cannot be started: {reason(error)}") from None
    except (RuntimeError, MemoryError) as error:  # asyncio waits for a child in a thread of its own
        lacking = lack(error)
        if lacking is None:
            raise
        raise UnavailableError(f"{spec.name} cannot be started: {lacking}") from None


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}, {signal.strsignal(-status)}"


def _encode(message: Message) -> bytes:
    """A message as bytes. ValueError for one that the other side would read only in part."""
    data = json.dumps(message).encode()
    if len(data) > MESSAGE_BYTES:
        raise ValueError(f"a control message of {len(data)} bytes is longer than {MESSAGE_BYTES}")
    return data


async def _receive(control: socket.socket) -> Message | None:
    """The next message; None when the other side is gone."""
    try:
        data = await asyncio.get_running_loop().sock_recv(control, MESSAGE_BYTES)
    except ConnectionResetError:
        return None
    return json.loads(data) if data else None


class ControlChannel:
    """The worker's end of the socket pair."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=int(os.environ[CONTROL_FD_VARIABLE]))
        self._socket.setblocking(False)

    async def listen(self, on_message: Callable[[Message], Awaitable[None] | None]) -> None:
        """Handle the parent's messages until it is gone, then return. What it asks to know whether we live
        is answered here: an event loop that gets to this is alive.
        """
        while (message := await _receive(self._socket)) is not None:
            if message.get("type") == PING:
                self.send({"type": PONG})
                continue
            outcome = on_message(message)
            if outcome is not None:
                await outcome

    def send(self, message: Message) -> None:
        """Tell the parent something. Dropped when the parent is gone: `listen` says so."""
        try:
            self._socket.send(_encode(message))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            logger.warning("the supervisor does not listen; dropped a %s message", message.get("type"))

    def ready(self) -> None:
        """Say that everything is open and work can begin."""
        self.send({"type": "ready"})
