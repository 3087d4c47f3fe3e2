"""What makes a daemon of workers: signals, reload, drain, status, readiness, and an end that is clean.

A daemon is a supervisor of workers with a table in the configuration. `starting` becomes `ready` when every
worker is, and `draining` with the first SIGTERM; only a ready one is to get new work.

    SIGHUP   read the configuration and the keys again: all of it is adopted, or nothing
    SIGTERM  drain, for as long as the configuration says; a second one ends at once
    SIGINT   end at once
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar, cast

from core.addr import Endpoint
from core.config import Config, restarts
from core.errors import ConfigError
from core.service.handover import Loaded, WorkerSettings
from core.service.metrics.daemon import OUTCOMES
from core.service.metrics.daemon import State as State
from core.service.status_http import Status, serve
from core.service.supervisor import Message, Supervisor, WorkerSpec

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


class DaemonSettings(Protocol):
    """What the table of every daemon has."""

    @property
    def metrics(self) -> Endpoint:
        """Where the status is served."""

    @property
    def drain_timeout_s(self) -> float:
        """How long a drain may take."""


S = TypeVar("S", bound=WorkerSettings)


class Daemon(ABC, Generic[S]):
    """One daemon, from start to end. A subclass says what its workers do."""

    name: ClassVar[str]
    """Also of its table in the configuration, and of `reloadable` settings that it alone takes."""
    work: ClassVar[str]
    """What it carries, in the plural."""
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
        self.supervisor = Supervisor(specs, self.hear, self.greeting, on_death=self.mourn)
        self._stop_wanted = asyncio.Event()
        self._end_wanted = asyncio.Event()
        self._is_interrupted = False

    # --- what a subclass says -------------------------------------------------------------------------

    @property
    def tables(self) -> Iterable[str]:
        """Those of the configuration that it lives by."""
        return (self.name,)

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
    async def drain(self, timeout_s: float) -> None:
        """Have the workers take no new work; return when they have none left, or it is time. May be
        cancelled.
        """

    @abstractmethod
    async def end(self) -> None:
        """Have the workers end, whatever they carry."""

    def asked_at(self, host: str, date: str) -> None:
        """Somebody at `host` asked for /readyz, and dated the request (RFC 9110 §6.6.1)."""

    def greeting(self) -> Message:
        """The first message of a worker, and that of a reload."""
        return self.loaded.message

    def hear(self, index: int, message: Message) -> None:
        """What worker `index` says."""

    def mourn(self, index: int) -> None:
        """Worker `index` has died, and will be replaced."""

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """What is there as long as the workers are."""
        return contextlib.nullcontext()

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
        runner = await serve(status, self._own(self.started_as.config).metrics, f"{self.name}.metrics")
        try:
            async with self.running():
                await self.supervisor.start()
                if not self.supervisor.is_stopping:
                    self.lifecycle.state = State.READY
                    logger.info("%s", self.ready_line())
                    await self._until_ended()
        finally:
            await runner.cleanup()
        return EXIT_INTERRUPTED if self._is_interrupted else EXIT_OK

    def _own(self, config: Config) -> DaemonSettings:
        return cast(DaemonSettings, getattr(config, self.name))

    def _is_ready(self) -> bool:
        return self.lifecycle.state is State.READY

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
        if not self._end_wanted.is_set():
            draining = asyncio.create_task(self.drain(self._own(self.loaded.settings.config).drain_timeout_s))
            cut_short = asyncio.create_task(self._end_wanted.wait())
            try:
                await asyncio.wait({draining, cut_short}, return_when=asyncio.FIRST_COMPLETED)
                if draining.done():
                    draining.result()
            finally:
                draining.cancel()
                cut_short.cancel()
                await asyncio.gather(draining, cut_short, return_exceptions=True)
        await self.end()

    def _terminate(self) -> None:
        if self.lifecycle.state is not State.READY:
            before = "it was ready" if self.lifecycle.state is State.STARTING else "the drain was over"
            logger.warning("ended before %s", before)
            self._end()
            return
        self.lifecycle.state = State.DRAINING
        logger.info(
            "draining: no new %s, existing ones are carried for up to %g s; a second signal ends at once",
            self.work,
            self._own(self.loaded.settings.config).drain_timeout_s,
        )
        self._stop_wanted.set()

    def _interrupt(self) -> None:
        self._is_interrupted = True
        self._end()

    def _end(self) -> None:
        if self.lifecycle.state is State.STARTING:
            self.supervisor.kill()
        self.lifecycle.state = State.DRAINING
        self._end_wanted.set()
        self._stop_wanted.set()

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
