"""What makes a daemon of workers: signals, reload, drain, status, readiness, and an end that is clean.

A daemon is a supervisor of workers with a table in the configuration. `starting` becomes `ready` when every
worker is, and `draining` with the first SIGTERM, or by the word of an operator, who may take it back; only a
ready one is to get new work.

    SIGHUP   read the configuration and the keys again: all of it is adopted, or nothing
    SIGTERM  drain, for as long as the configuration says, and end; a second one ends at once
    SIGINT   end at once
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar, cast

from core.addr import Endpoint
from core.config import Config, restarts
from core.errors import ConfigError
from core.service.admin.server import AdminSocket, ConflictError, Switch
from core.service.build import VERSION
from core.service.drain import Drain, Load
from core.service.handover import (
    DRAIN,
    DRAIN_NUMBER,
    DRAINED,
    EXPEL,
    IS_EXPELLING,
    STOP,
    UNDRAIN,
    Loaded,
    WorkerSettings,
)
from core.service.heartbeats import Heartbeats
from core.service.metrics.daemon import OUTCOMES
from core.service.metrics.daemon import State as State
from core.service.privileges import Capability, keep_only
from core.service.status_http import Status, serve
from core.service.supervisor import Message, Supervisor, WorkerSpec
from core.service.tasks import beside
from core.service.watchdog import Condition, keep_telling
from core.store.heartbeat import HostState

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_INTERRUPTED = 130
"""As a shell has it for a process that SIGINT ended."""


@dataclass(slots=True)
class Lifecycle:
    """Where a daemon is between start and end."""

    state: State = State.STARTING
    reloads: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    """By outcome."""
    loaded_at_s: float = field(default_factory=time.time)
    """When the configuration in use was read, Unix time."""
    drain_until_s: float = 0.0
    """When the time of the drain is over, Unix time; 0 without one."""


class DaemonSettings(Protocol):
    """What the table of every daemon has."""

    @property
    def metrics(self) -> Endpoint:
        """Where the status is served."""

    @property
    def drain_timeout_s(self) -> float:
        """How long a drain may take."""

    @property
    def admin_socket(self) -> str | None:
        """Where operators reach it; None is the usual place."""


S = TypeVar("S", bound=WorkerSettings)


class Daemon(ABC, Generic[S]):
    """One daemon, from start to end. A subclass says what its workers do."""

    name: ClassVar[str]
    """Also of its table in the configuration, and of `reloadable` settings that it alone takes."""
    work: ClassVar[str]
    """What it carries, in the plural."""
    stop_margin_s: ClassVar[float]
    """What workers get to let go of everything."""
    status_headers: ClassVar[Mapping[str, str]] = {}
    """Of /healthz and /readyz."""

    def __init__(
        self,
        config_path: Path,
        load: Callable[[Path], Loaded[S]],
        loaded: Loaded[S],
        specs: Sequence[WorkerSpec],
    ) -> None:
        """`loaded` is what `load` has returned for the start."""
        self._config_path = config_path
        self._load = load
        self.loaded = loaded
        self.started_as = loaded.settings
        self.lifecycle = Lifecycle()
        self.supervisor = Supervisor(specs, self._hear, self.greeting, on_death=self._mourn)
        self.heartbeats: Heartbeats | None = None
        """Where there is a store: to be opened by the subclass, and kept beating while it is running."""
        self.drain: Drain | None = None
        """The one that is on."""
        self._drains = 0
        self._draining: asyncio.Task[None] | None = None
        self._stop_wanted = asyncio.Event()
        self._end_wanted = asyncio.Event()
        self._is_interrupted = False

    # --- what a subclass says -------------------------------------------------------------------------

    @property
    def tables(self) -> Iterable[str]:
        """Those of the configuration that it lives by."""
        return (self.name,)

    @property
    def switches(self) -> Mapping[str, Switch]:
        """What an operator sets besides drains, by path of the admin socket."""
        return {}

    @abstractmethod
    def ready_line(self) -> str:
        """For the log: what is served where."""

    @abstractmethod
    def summary(self) -> Mapping[str, object]:
        """What /healthz and /readyz say."""

    @abstractmethod
    async def exposition(self) -> bytes:
        """What /metrics says."""

    @abstractmethod
    def carried(self) -> Load:
        """What the workers carry, as far as is known."""

    def asked_at(self, host: str, date: str) -> None:
        """Somebody at `host` asked for /readyz, and dated the request (RFC 9110 §6.6.1)."""

    def greeting(self) -> Message:
        """The first message of a worker, and that of a reload. One that is started in a drain drains too."""
        if self.drain is None:
            return self.loaded.message
        state = {DRAIN_NUMBER: self.drain.number, IS_EXPELLING: self.drain.is_expelling}
        return {**self.loaded.message, **state}

    def hear(self, index: int, message: Message) -> None:
        """What worker `index` says."""

    def mourn(self, index: int) -> None:
        """Worker `index` has died, and will be replaced."""

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """What is there as long as the workers are."""
        return contextlib.nullcontext()

    @property
    def rights(self) -> Collection[Capability]:
        """What it keeps once its sockets are open, and what its workers start with."""
        return ()

    def restarts(self, now: S) -> list[str]:
        """What differs from the start and takes a restart: dotted keys, or tables."""
        return restarts(self.name, self.tables, self.started_as.config, now.config)

    def adopted(self) -> None:
        """`loaded` has changed; the workers are told of it after this."""

    # --- the life of it -------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status; raises UnavailableError."""
        self._handle_signals()
        status = Status(self.exposition, self.summary, self._is_ready, self.status_headers, self.asked_at)
        own = self._own(self.started_as.config)
        server = await serve(status, own.metrics, f"{self.name}.metrics")
        keep_only(self.rights)  # before names are resolved, in threads
        try:
            async with AdminSocket(self, self.name, own.admin_socket, self._config_path), self.running():
                await self.supervisor.start()
                if not self.supervisor.is_stopping:
                    self._enter(State.READY)
                    logger.info("%s", self.ready_line())
                    async with beside(keep_telling(self._condition), "the service manager is told no more"):
                        await self._until_ended()
        finally:
            await server.close()
        return EXIT_INTERRUPTED if self._is_interrupted else EXIT_OK

    def _own(self, config: Config) -> DaemonSettings:
        return cast(DaemonSettings, getattr(config, self.name))

    def _is_ready(self) -> bool:
        return self.lifecycle.state is State.READY and not self._is_interrupted

    def _enter(self, state: State) -> None:
        self.lifecycle.state = state
        if self.heartbeats is not None:
            self.heartbeats.hasten()

    @property
    def host_state(self) -> HostState:
        """For heartbeats."""
        is_unfit = self.lifecycle.state is State.READY and not self._is_ready()
        return HostState.UNFIT if is_unfit else HostState(self.lifecycle.state)

    def _condition(self) -> Condition:
        state, is_fit = self.lifecycle.state, self._is_ready()
        words = f"{state}" if is_fit or state is not State.READY else "not fit to take work"
        left = f", {self.carried().left} {self.work} left" if state is State.DRAINING else ""
        return Condition(
            is_fit, self._stop_wanted.is_set(), f"{VERSION}: {words}{left}", self.supervisor.silent_s
        )

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)

    async def _until_ended(self) -> None:
        """Until the workers have ended: because they were told to, or because they cannot be kept up."""
        running = asyncio.create_task(self.supervisor.wait())
        stopping = asyncio.create_task(self._stop_when_told())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                stopping.result()
            await running
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def _stop_when_told(self) -> None:
        await self._stop_wanted.wait()
        cut_short = asyncio.create_task(self._end_wanted.wait())
        try:
            await asyncio.wait({cut_short, *self._drain_tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (cut_short, *self._drain_tasks):
                task.cancel()
            await asyncio.gather(cut_short, *self._drain_tasks, return_exceptions=True)
        for task in self._drain_tasks:
            if not task.cancelled():
                task.result()
        await self.supervisor.stop({"type": STOP}, self.stop_margin_s)

    @property
    def _drain_tasks(self) -> tuple[asyncio.Task[None], ...]:
        return () if self._draining is None else (self._draining,)

    def _terminate(self) -> None:
        if self.lifecycle.state is State.STARTING or self._stop_wanted.is_set():
            before = "it was ready" if self.lifecycle.state is State.STARTING else "the drain was over"
            logger.warning("ended before %s", before)
            self._end()
            return
        timeout_s = self._own(self.loaded.settings.config).drain_timeout_s
        if self.drain is not None:  # what its operator has said goes on to hold
            timeout_s = min(timeout_s, max(self.drain.rest_s(time.monotonic_ns()), 0.0))
        self._begin_drain(timeout_s).is_last = True
        logger.info(
            "draining: no new %s, existing ones are carried for up to %g s; a second signal ends at once",
            self.work,
            timeout_s,
        )
        self._stop_wanted.set()

    def _interrupt(self) -> None:
        self._is_interrupted = True
        self._end()

    def _end(self) -> None:
        if self.lifecycle.state is State.STARTING:
            self.supervisor.kill()
        # An upgrade starts it anew by SIGINT while its flows are kept: not fit for a moment, and no drain, by
        # which a checker would withdraw the host at once.
        is_brief = self._is_interrupted and self.lifecycle.state is State.READY
        self._enter(State.READY if is_brief else State.DRAINING)
        self._end_wanted.set()
        self._stop_wanted.set()

    # --- drains ---------------------------------------------------------------------------------------

    def start_drain(self, for_s: float | None) -> None:
        """By an operator's word: take no new work, but stay. What is left after `for_s` is ended; None is
        as the configuration says. While one is on already, it gets that much from now. Raises ConflictError.
        """
        if self.lifecycle.state is State.STARTING:
            raise ConflictError(f"the {self.name} is starting: try again when it is ready")
        if self._stop_wanted.is_set():
            raise ConflictError(f"the {self.name} is ending already, by a signal")
        timeout_s = self._own(self.loaded.settings.config).drain_timeout_s if for_s is None else for_s
        self._begin_drain(timeout_s)
        logger.info(
            "draining, as told: no new %s, existing ones (%d) are carried for up to %g s; "
            "`voxpop undrain %s` takes it back",
            self.work,
            self.carried().left,
            timeout_s,
            self.name,
        )

    def undrain(self) -> None:
        """Take new work again. Idempotent. Raises ConflictError once the daemon ends."""
        if self._stop_wanted.is_set():
            raise ConflictError(f"the {self.name} is ending, by a signal, which cannot be taken back")
        if self.drain is None:
            return
        for task in self._drain_tasks:
            task.cancel()
        self.drain = self._draining = None
        self._enter(State.READY)
        self.lifecycle.drain_until_s = 0.0
        self.supervisor.broadcast({"type": UNDRAIN})
        logger.info("drained no more: new %s are taken again", self.work)

    def drain_status(self) -> dict[str, object]:
        """For whoever waits for the end of a drain, or for a key to be known everywhere."""
        load, now_ns, keyring = self.carried(), time.monotonic_ns(), self.loaded.settings.keyring
        drain = None if self.drain is None else self.drain.summary(load, now_ns)
        return {
            "daemon": self.name,
            "work": self.work,
            "state": self.lifecycle.state,
            "left": load.left,
            "drain": drain,
            "keys": {"ids": keyring.key_ids, "mint_with": keyring.mint_with},
        }

    def drain_summary(self) -> Mapping[str, object]:
        """For `summary`: nothing while there is no drain."""
        if self.drain is None:
            return {}
        return {"drain": self.drain.summary(self.carried(), time.monotonic_ns())}

    def _begin_drain(self, timeout_s: float) -> Drain:
        """The drain that is on, or a new one, with that much time from now."""
        now_ns = time.monotonic_ns()
        until_ns = now_ns + int(timeout_s * 1e9)
        self._enter(State.DRAINING)
        self.lifecycle.drain_until_s = time.time() + timeout_s
        if self.drain is not None:
            self.drain.prolong(until_ns)
            return self.drain
        self._drains += 1
        self.drain = Drain(self._drains, len(self.supervisor.workers), now_ns, until_ns)
        self.supervisor.broadcast({"type": DRAIN, DRAIN_NUMBER: self.drain.number})
        self._draining = asyncio.create_task(self._carry_out(self.drain))
        return self.drain

    async def _carry_out(self, drain: Drain) -> None:
        """Wait until nothing is left. When it is time before, what is left is ended: here, or with the
        daemon.
        """
        while not drain.is_done:
            drain.changed.clear()
            rest_s = drain.rest_s(time.monotonic_ns())
            if rest_s <= 0 and (drain.is_last or not drain.is_expelling):
                carried = self.carried()
                logger.warning(
                    "the drain's time is over: what is left is ended (%d %s)", carried.left, self.work
                )
                if drain.is_last:
                    return
                drain.is_expelling = True
                self.supervisor.broadcast({"type": EXPEL})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s if rest_s > 0 else None):
                    await drain.changed.wait()
        logger.info("drained: no %s are left", self.work)

    def _hear(self, index: int, message: Message) -> None:
        if message["type"] != DRAINED:
            self.hear(index, message)
        elif self.drain is not None:
            self.drain.hear(index, message[DRAIN_NUMBER])

    def _mourn(self, index: int) -> None:
        if self.drain is not None:
            self.drain.forget(index)
        self.mourn(index)

    def reload(self) -> None:
        """Read configuration and keys again; all of it is adopted, or, if anything is wrong, nothing."""
        try:
            loaded = self._load(self._config_path)
        except ConfigError as error:
            self.lifecycle.reloads["refused"] += 1
            for problem in error.problems:
                logger.error("reload refused, the old configuration stays: %s", problem)
            return
        for setting in self.restarts(loaded.settings):
            logger.warning("%s has changed, which takes a restart", setting)
        self.loaded = loaded
        self.adopted()
        self.supervisor.broadcast(self.greeting())
        self.lifecycle.reloads["done"] += 1
        self.lifecycle.loaded_at_s = time.time()
        keys, clusters = loaded.settings.keyring.key_ids, sorted(loaded.settings.config.clusters)
        logger.info("reloaded: keys %s, clusters %s", join(keys), join(clusters))


def join(items: Iterable[object]) -> str:
    """For a sentence."""
    return ", ".join(map(str, items))
