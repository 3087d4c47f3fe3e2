"""`voxpop transceiver`: opens the sockets of a host, keeps its workers running, shows their numbers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from core.errors import ConfigError, UnavailableError
from core.service.build import VERSION
from core.service.daemon import Daemon, join
from core.service.drain import Load
from core.service.exhausted import reason
from core.service.heartbeats import open_heartbeats
from core.service.supervisor import Message
from core.service.tasks import until_one_ends
from core.service.worker import Fd, spec
from core.store.heartbeat import Heartbeat, encode
from core.store.keys import HostKind
from core.store.open import open_guarded
from core.store.registry import Beat
from transceiver.host.address import own_host
from transceiver.host.arguments import MODULE, TransceiverArguments
from transceiver.host.locations import LocationShelf
from transceiver.host.metrics import HostStatus, host_exposition
from transceiver.host.pop_reports import PopReports
from transceiver.host.region_watch import PAUSE_S as REGIONS_PAUSE_S
from transceiver.host.region_watch import RegionWatch
from transceiver.host.settings import (
    CARRIES,
    COUNT,
    OLDEST_NS,
    POPS,
    REGIONS,
    WorkerSettings,
    listen_addresses,
)
from transceiver.host.settings import load as load_settings
from transceiver.host.sockets import open_sockets
from transceiver.host.status_client import StatusClient
from transceiver.signaling.ledger import SlotBook, map_ledger, open_memory
from transceiver.signaling.siblings import socket_path
from transceiver.steering.choice import POPS_NAMED

logger = logging.getLogger(__name__)

NOTHING = Load(0)
SCRAPE_TIMEOUT = aiohttp.ClientTimeout(total=2.0)


class TransceiverService(Daemon[WorkerSettings]):
    """One host's transceiver, from start to end."""

    name = "transceiver"
    work = "calls"
    stop_margin_s = 5.0
    """To say goodbye to the calls that remain, so that it is heard."""

    def __init__(self, config_path: Path, log_level: str, log_format: str, folder: Path) -> None:
        """Reads the configuration and opens the sockets. `folder` is an empty directory that only this
        user can enter. Raises ConfigError, UnavailableError.
        """
        self._shelf = LocationShelf(folder)
        load = partial(load_settings, locate=own_host, shelf=self._shelf, slots=SlotBook(), ours=True)
        loaded = load(config_path)
        self._keep_locations(loaded.settings)
        transceiver = loaded.settings.transceiver
        cpus = sorted(os.sched_getaffinity(0))
        count = _count(loaded.settings, len(cpus), config_path)
        self._folder = folder
        self._addresses = listen_addresses(loaded.settings)
        self._sockets = open_sockets(self._addresses, transceiver.port, transceiver.http, folder, count)
        self._ledger_fd = open_memory(count)
        self._ledger = map_ledger(self._ledger_fd, count, 0)
        arguments = [
            TransceiverArguments(
                name=f"transceiver-{index}",
                index=index,
                count=count,
                cpu=cpus[index % len(cpus)],
                log_level=log_level,
                log_format=log_format,
                udp_fds=tuple(Fd(s.fileno()) for s in sockets.udp),
                http_fd=Fd(sockets.http.fileno()),
                sibling_fd=Fd(sockets.siblings.fileno()),
                ledger_fd=Fd(self._ledger_fd),
                folder=folder,
            )
            for index, sockets in enumerate(self._sockets)
        ]
        super().__init__(config_path, load, loaded, [spec(MODULE, a) for a in arguments])
        self._client = StatusClient()
        self._pops = self._open_heartbeats()
        self._regions = RegionWatch(transceiver.other_regions, self._client)
        self._is_folder_missed = False
        self._carried = [NOTHING] * count
        self._lost = [0] * count

    @property
    def tables(self) -> Iterable[str]:
        """See Daemon."""
        return "transceiver", "store", "quotas"

    def _open_heartbeats(self) -> PopReports:
        """Our own, and those of PoPs; with a breaker each, as rights to write and to read differ."""
        config, secrets, store = self.started_as.config, self.started_as.store_secrets, None
        self.heartbeats = open_heartbeats(config.store, secrets, HostKind.TRANSCEIVER, self._beat)
        if config.store is not None:
            store = open_guarded(config.store, secrets, "the heartbeats of PoPs")
        return PopReports(config.pops, self.started_as.keyring, store, self._client)

    def _beat(self, now_s: float) -> Beat:
        """What this host says of itself."""
        own, settings = self.started_as.transceiver, self.loaded.settings
        room = own.max_sessions * len(self._sockets)
        state, taken = self.host_state, self.carried().left
        heartbeat = Heartbeat(int(now_s * 1000), state, taken, room, VERSION)
        name = f"{own.cluster}:{own.host}:{own.port}".encode()
        value = encode(heartbeat, HostKind.TRANSCEIVER.heartbeat_key(name), settings.keyring)
        return Beat(name, value, now_s)

    def ready_line(self) -> str:
        """Where calls are taken, and what answers name."""
        settings, last = self.started_as.transceiver, len(self._sockets) - 1
        access = "open to this machine" if settings.open else "API key needed"
        return (
            f"ready: calls at http://{settings.http} ({access}), {len(self._sockets)} processes on "
            f"{' and '.join(self._addresses)} UDP {settings.port}–{settings.port + last}, "
            f"answers name {self._named}, metrics on {settings.metrics}"
        )

    @property
    def _named(self) -> str:
        pops = len(self.loaded.settings.config.pops)
        return join(self.loaded.settings.vips) if pops <= POPS_NAMED else f"{POPS_NAMED} of {pops} PoPs"

    def summary(self) -> Mapping[str, object]:
        """See Daemon."""
        return {
            "state": self.lifecycle.state,
            "processes": self.supervisor.ready,
            **self.drain_summary(),
        }

    async def exposition(self) -> bytes:
        """The workers' numbers, and what the supervisor knows of them."""
        texts = await asyncio.gather(*(self._scrape(index) for index in range(len(self._sockets))))
        expositions = {index: text for index, text in enumerate(texts) if text is not None}
        restarts = [worker.restarts for worker in self.supervisor.workers]
        lifecycle, locations = self.lifecycle, self.loaded.settings.locations
        status = HostStatus(
            state=lifecycle.state,
            restarts=restarts,
            reloads=lifecycle.reloads,
            pops=self._pops,
            lost=self._lost,
            regions=self._regions.states,
            locations_age_s=math.nan if locations is None else time.time() - locations.built_s,
            drain_until_s=lifecycle.drain_until_s,
            heartbeats=self.heartbeats,
        )
        return host_exposition(expositions, status)

    async def _scrape(self, index: int) -> str | None:
        connector = aiohttp.UnixConnector(str(socket_path(self._folder, index)))
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=SCRAPE_TIMEOUT) as client,
                client.get("http://process/metrics") as response,
            ):
                return await response.text() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    def greeting(self) -> Message:
        """With what is known of the PoPs and of the other regions."""
        return {**super().greeting(), **self._surroundings}

    @property
    def _surroundings(self) -> Message:
        return {POPS: self._pops.encoded, REGIONS: self._regions.ready}

    def adopted(self) -> None:
        """Other PoPs and regions are asked from now on, and another database may be in use."""
        self._pops.replace(self.loaded.settings.config.pops, self.loaded.settings.keyring)
        self._regions.replace(self.loaded.settings.transceiver.other_regions)
        self._keep_locations(self.loaded.settings)

    def _keep_locations(self, settings: WorkerSettings) -> None:
        self._shelf.keep(None if settings.locations is None else settings.locations.name)

    def _is_ready(self) -> bool:
        if not self._folder.exists() and not self._is_folder_missed:
            self._is_folder_missed = True
            logger.error("%s is gone: processes cannot reach each other any more; restart", self._folder)
        return super()._is_ready() and not self._is_folder_missed

    async def _watch_pops(self) -> None:
        """Ask until cancelled. Workers are told each time: one of them may have been replaced."""
        while True:
            await asyncio.sleep(self._pops.pause_s)
            await self._pops.ask()
            if self._pops.encoded:
                self._tell_of_pops()

    async def _watch_regions(self) -> None:
        """The same at a pace of their own: it is not their fault that a PoP is asked more often."""
        while True:
            await asyncio.sleep(REGIONS_PAUSE_S)
            await self._regions.ask()
            if self._regions.states:
                self._tell_of_pops()

    def _tell_of_pops(self) -> None:
        self.supervisor.broadcast({"type": POPS, **self._surroundings})

    def hear(self, index: int, message: Message) -> None:
        """Workers say how many calls they have."""
        if message["type"] == CARRIES:
            count: Any = message[COUNT]
            oldest_ns: Any = message[OLDEST_NS]
            self._carried[index] = Load(count, oldest_ns)

    def mourn(self, index: int) -> None:
        """The calls of a worker die with it."""
        self._ledger.clear(index)
        lost, self._carried[index] = self._carried[index].left, NOTHING
        self._lost[index] += lost
        if lost:
            logger.error("%d calls were lost with transceiver-%d", lost, index)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The sockets are open, and the PoPs asked. The first answers are there before the first call."""
        await asyncio.gather(self._pops.ask(), self._regions.ask())
        watching = asyncio.create_task(until_one_ends(self._watch_pops(), self._watch_regions()))
        beating = contextlib.nullcontext() if self.heartbeats is None else self.heartbeats.beating()
        try:
            async with beating:
                yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._pops.close()
            await self._client.close()
            os.close(self._ledger_fd)
            for sockets in self._sockets:
                for opened in (*sockets.udp, sockets.http, sockets.siblings):
                    opened.close()

    def restarts(self, now: WorkerSettings) -> list[str]:
        """Sessions are in the cluster as it was at the start, and on the backend as it was."""
        found = super().restarts(now)
        started = self.started_as
        if now.transceiver.cluster == started.transceiver.cluster and now.cluster != started.cluster:
            found.append(f"[[cluster]] {now.cluster.id}")
        return found + started.backend.changes(now.backend)

    def carried(self) -> Load:
        """What the workers have told of."""
        oldest = [load.oldest_ns for load in self._carried if load.oldest_ns is not None]
        return Load(sum(load.left for load in self._carried), min(oldest, default=None), is_dated=True)


def _count(settings: WorkerSettings, cpus: int, config_path: Path) -> int:
    """How many workers. Raises ConfigError when the cluster has not so many ports."""
    transceiver, cluster = settings.transceiver, settings.cluster
    count = transceiver.processes or cpus
    if transceiver.port + count - 1 > cluster.port_last:
        ports = f"UDP ports {transceiver.port}–{transceiver.port + count - 1}"
        raise ConfigError(
            [
                f"{config_path}: transceiver.processes: {count} processes need {ports}, "
                f"but cluster {cluster.id} ends at {cluster.port_last}"
            ]
        )
    return count


def run(config_path: Path, log_level: str, log_format: str) -> int:
    """The verb `voxpop transceiver`. Its Unix sockets live in a directory that only this user can enter."""
    with runtime_folder() as folder:

        async def serve() -> int:
            return await TransceiverService(config_path, log_level, log_format, Path(folder)).run()

        return asyncio.run(serve())


def runtime_folder() -> tempfile.TemporaryDirectory[str]:
    """Where systemd wants it: it may name several directories, of which the first will do. Raises
    UnavailableError.
    """
    parent = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None
    try:
        return tempfile.TemporaryDirectory(prefix="voxpop-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        where = parent or tempfile.gettempdir()
        raise UnavailableError(
            f"{where}: no directory for sockets can be made there: {reason(error)}"
        ) from None
