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
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import UnavailableError

logger = logging.getLogger(__name__)

Message = Mapping[str, object]
MESSAGE_BYTES = 65536
READY_TIMEOUT_S = 30.0
RESTART_DELAY_S = (0.05, 5.0)
"""First delay, doubled per restart up to the second."""
RESTARTS_TOLERATED = 10
RESTART_WINDOW_S = 60.0
"""More restarts of one worker than that in this time, and the whole service gives up loudly."""
CONTROL_FD_VARIABLE = "VOXPOP_CONTROL_FD"


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How one worker is started: its command, and the open sockets that it inherits by number."""

    name: str
    argv: Sequence[str]
    pass_fds: Sequence[int] = ()


@dataclass(slots=True)
class Worker:
    """One worker slot, whichever process fills it."""

    spec: WorkerSpec
    process: asyncio.subprocess.Process | None = None
    control: socket.socket | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    restarts: int = 0
    recent_deaths: collections.deque[float] = field(
        default_factory=lambda: collections.deque(maxlen=RESTARTS_TOLERATED)
    )


class Supervisor:
    """Starts workers, restarts dead ones, passes messages. `run` returns when all have been stopped."""

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        on_message: Callable[[int, Message], None] = lambda index, message: None,
        greeting: Callable[[], Message] | None = None,
    ) -> None:
        """`greeting` makes the first message of every worker, such as its keys; `on_message` takes
        what workers say other than `ready`.
        """
        self.workers = [Worker(spec) for spec in specs]
        self._on_message = on_message
        self._greeting = greeting
        self.is_stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every worker and wait until all are ready. Raises UnavailableError."""
        self._tasks = [
            asyncio.create_task(self._keep(index), name=worker.spec.name)
            for index, worker in enumerate(self.workers)
        ]
        ready = asyncio.create_task(self._all_ready())
        try:
            await asyncio.wait(
                {ready, *self._tasks}, timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
            for task in self._tasks:
                if task.done():
                    await task  # raises what ended it
            if not ready.done():
                raise UnavailableError(f"the workers were not ready within {READY_TIMEOUT_S:g} s")
        finally:
            ready.cancel()

    async def _all_ready(self) -> None:
        for worker in self.workers:
            await worker.ready.wait()

    async def wait(self) -> None:
        """Return when the workers were stopped; raise UnavailableError when one cannot be kept up."""
        await asyncio.gather(*self._tasks)

    def broadcast(self, message: Message) -> None:
        """Send a message to every live worker; one that does not read is killed, and so restarted."""
        for worker in self.workers:
            self._send(worker, message)

    async def stop(self, message: Message, timeout_s: float) -> None:
        """Send `message`, wait until the workers have exited, kill those that have not in time."""
        self.is_stopping = True
        self.broadcast(message)
        exits = [w.process.wait() for w in self.workers if w.process is not None]
        try:
            await asyncio.wait_for(asyncio.gather(*exits), timeout_s)
        except TimeoutError:
            logger.warning("workers still busy after %g s are ended now", timeout_s)
        self.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def kill(self) -> None:
        """End every worker at once."""
        self.is_stopping = True
        for worker in self.workers:
            if worker.process is not None and worker.process.returncode is None:
                worker.process.kill()

    def _send(self, worker: Worker, message: Message) -> None:
        if worker.control is None:
            return
        try:
            worker.control.send(json.dumps(message).encode())
        except BlockingIOError:
            logger.error("%s does not read its control socket; killed", worker.spec.name)
            if worker.process is not None:
                worker.process.kill()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has just died; the restart greets it anew

    async def _keep(self, index: int) -> None:
        """Run one worker again and again until stopped."""
        worker = self.workers[index]
        loop = asyncio.get_running_loop()
        while True:
            status = await self._run_once(index)
            worker.ready.clear()
            if self.is_stopping:
                return
            now = loop.time()
            deaths = worker.recent_deaths
            if len(deaths) == RESTARTS_TOLERATED and now - deaths[0] < RESTART_WINDOW_S:
                self.kill()
                raise UnavailableError(f"{worker.spec.name} keeps dying (last exit status {status})")
            deaths.append(now)
            recent = sum(now - death < RESTART_WINDOW_S for death in deaths)
            delay = min(RESTART_DELAY_S[0] * 2 ** (recent - 1), RESTART_DELAY_S[1])
            worker.restarts += 1
            logger.error("%s ended with status %s; restarted in %.2f s", worker.spec.name, status, delay)
            await asyncio.sleep(delay)

    async def _run_once(self, index: int) -> int:
        worker = self.workers[index]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                worker.process = await asyncio.create_subprocess_exec(
                    *worker.spec.argv,
                    pass_fds=(*worker.spec.pass_fds, theirs.fileno()),
                    env={**os.environ, CONTROL_FD_VARIABLE: str(theirs.fileno())},
                    start_new_session=True,  # a Ctrl-C at the terminal is for the parent to act on
                )
            worker.control = ours
            if self._greeting is not None:
                self._send(worker, self._greeting())
            await self._listen(index, ours)
            return await worker.process.wait()
        finally:
            worker.control = None
            ours.close()

    async def _listen(self, index: int, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(control, MESSAGE_BYTES)
            except ConnectionResetError:
                return
            if not data:
                return
            message = json.loads(data)
            if message.get("type") == "ready":
                self.workers[index].ready.set()
            else:
                self._on_message(index, message)


class ControlChannel:
    """The worker's end of the socket pair."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=int(os.environ[CONTROL_FD_VARIABLE]))
        self._socket.setblocking(False)

    async def listen(self, on_message: Callable[[Message], Awaitable[None] | None]) -> None:
        """Handle the parent's messages until it is gone, then return."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, MESSAGE_BYTES)
            except ConnectionResetError:
                return
            if not data:
                return
            outcome = on_message(json.loads(data))
            if outcome is not None:
                await outcome

    def send(self, message: Message) -> None:
        """Tell the parent something. Dropped when the parent is gone: `listen` says so."""
        try:
            self._socket.send(json.dumps(message).encode())
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            logger.warning("the supervisor does not listen; dropped a %s message", message.get("type"))

    def ready(self) -> None:
        """Say that everything is open and work can begin."""
        self.send({"type": "ready"})
