"""`voxpop transceiver`: opens the sockets of a host, keeps its processes running, shows their numbers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
from dataclasses import fields
from pathlib import Path

import aiohttp
from aiohttp import web

from core.config import TransceiverSettings
from core.errors import ConfigError, UnavailableError
from core.service.metrics.exposition import CONTENT_TYPE
from core.service.supervisor import Message, Supervisor, WorkerSpec
from transceiver.host.metrics import HostStatus, host_exposition
from transceiver.host.settings import DRAIN, DRAINED, STOP, listen_addresses, load
from transceiver.host.sockets import ProcessSockets, open_sockets
from transceiver.host.worker import WorkerArguments
from transceiver.signaling.siblings import socket_path

logger = logging.getLogger(__name__)

RELOADABLE = frozenset({"api_keys_file", "cors_origins", "drain_timeout_s"})
SCRAPE_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
STOP_MARGIN_S = 5.0
"""What processes get, past the drain, to say goodbye to the sessions that remain."""
EXIT_OK = 0
EXIT_INTERRUPTED = 130


class TransceiverService:
    """One host's transceiver, from start to end."""

    def __init__(self, config_path: Path, log_level: str, log_format: str, folder: Path) -> None:
        """Reads the configuration and opens the sockets. `folder` is an empty directory that only this
        user can enter. Raises ConfigError, UnavailableError.
        """
        self._config_path = config_path
        self._folder = folder
        self._loaded = load(config_path)
        self._started_as = self._loaded.settings.transceiver
        self._started_with = self._loaded.settings.backend
        cpus = sorted(os.sched_getaffinity(0))
        count = self._count(len(cpus))
        self._addresses = listen_addresses(self._loaded.settings)
        self._sockets = open_sockets(
            self._addresses, self._started_as.port, self._started_as.http, folder, count
        )
        specs = [
            _to_spec(index, count, sockets, folder, cpus[index % len(cpus)], log_level, log_format)
            for index, sockets in enumerate(self._sockets)
        ]
        self._supervisor = Supervisor(specs, self._hear, self._greet)
        self._state = "starting"
        self._reloads = {"done": 0, "refused": 0}
        self._draining: asyncio.Task[None] | None = None
        self._drained: set[int] = set()
        self._all_drained = asyncio.Event()
        self._stop_wanted = asyncio.Event()
        self._is_interrupted = False

    def _greet(self) -> Message:
        """A process that dies in a drain is replaced by one that takes no calls either."""
        return {**self._loaded.message, "is_draining": self._state == "draining"}

    def _count(self, cpus: int) -> int:
        settings, cluster = self._started_as, self._loaded.settings.cluster
        count = settings.processes or cpus
        if settings.port + count - 1 > cluster.port_last:
            ports = f"UDP ports {settings.port}–{settings.port + count - 1}"
            raise ConfigError(
                [
                    f"{self._config_path}: transceiver.processes: {count} processes need {ports}, "
                    f"but cluster {cluster.id} ends at {cluster.port_last}"
                ]
            )
        return count

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status; raises UnavailableError."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._ctrl_c)
        runner = await self._serve_status()
        try:
            await self._supervisor.start()
            if not self._supervisor.is_stopping:
                self._say_ready()
                await self._work()
        finally:
            await runner.cleanup()
            for sockets in self._sockets:
                for opened in (*sockets.udp, sockets.http, sockets.siblings):
                    opened.close()
        return EXIT_INTERRUPTED if self._is_interrupted else EXIT_OK

    def _say_ready(self) -> None:
        self._state = "ready"
        settings, port, last = self._started_as, self._started_as.port, len(self._sockets) - 1
        logger.info(
            "ready: calls at http://%s (%s), %d processes on %s UDP %d–%d, answers name %s, metrics on %s",
            settings.http, "open to this machine" if settings.open else "API key needed",
            len(self._sockets), " and ".join(self._addresses), port, port + last,
            ", ".join(map(str, self._loaded.settings.vips)), settings.metrics,
        )  # fmt: skip

    async def _work(self) -> None:
        """Until told to stop, or until the processes cannot be kept up."""
        running = asyncio.create_task(self._supervisor.wait())
        stop = asyncio.create_task(self._stop_wanted.wait())
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self._stop_wanted.is_set():
            await self._supervisor.stop({"type": STOP}, STOP_MARGIN_S)
        if self._draining is not None:
            self._draining.cancel()
        await running

    async def _drain(self, timeout_s: float) -> None:
        """Every process goes on serving until none has calls: requests about a call may come to any."""
        self._supervisor.broadcast({"type": DRAIN})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_drained.wait(), timeout_s)
        self._stop_wanted.set()

    def _hear(self, index: int, message: Message) -> None:
        if message["type"] == DRAINED:
            self._drained.add(index)
            if len(self._drained) == len(self._sockets):
                self._all_drained.set()

    def _terminate(self) -> None:
        if self._state != "ready":
            logger.warning("ended before the drain was over")
            self._interrupt()
            return
        self._state = "draining"
        timeout_s = self._loaded.settings.transceiver.drain_timeout_s
        logger.info(
            "draining: no new calls, existing ones are carried for up to %g s; a second signal ends at once",
            timeout_s,
        )
        self._draining = asyncio.create_task(self._drain(timeout_s))

    def _ctrl_c(self) -> None:
        self._is_interrupted = True
        self._interrupt()

    def _interrupt(self) -> None:
        if self._state == "starting":
            self._supervisor.kill()
        self._state = "draining"
        self._stop_wanted.set()

    def reload(self) -> None:
        """Read configuration and keys again; all of it is adopted, or, if anything is wrong, nothing."""
        try:
            loaded = load(self._config_path)
        except ConfigError as error:
            self._reloads["refused"] += 1
            for problem in error.problems:
                logger.error("reload refused, the old configuration stays: %s", problem)
            return
        for field in fields(TransceiverSettings):
            new = getattr(loaded.settings.transceiver, field.name)
            if field.name not in RELOADABLE and new != getattr(self._started_as, field.name):
                logger.warning("transceiver.%s has changed, which takes a restart", field.name)
        for key in self._started_with.changes(loaded.settings.backend):
            logger.warning("%s has changed, which takes a restart", key)
        self._loaded = loaded
        self._supervisor.broadcast(loaded.message)
        self._reloads["done"] += 1
        logger.info("reloaded: keys %s", ", ".join(map(str, loaded.settings.keyring.key_ids)))

    async def _serve_status(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        endpoint = self._started_as.metrics
        try:
            await web.TCPSite(runner, endpoint.host, endpoint.port).start()
        except OSError as error:
            await runner.cleanup()
            raise UnavailableError(
                f"transceiver.metrics: cannot listen on {endpoint}: {os.strerror(error.errno or 0)}"
            ) from None
        return runner

    async def _metrics(self, request: web.Request) -> web.Response:
        texts = await asyncio.gather(*(self._scrape(index) for index in range(len(self._sockets))))
        expositions = {index: text for index, text in enumerate(texts) if text is not None}
        restarts = [worker.restarts for worker in self._supervisor.workers]
        body = host_exposition(expositions, HostStatus(self._state, restarts, dict(self._reloads)))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

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

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response(self._summary())

    async def _readyz(self, request: web.Request) -> web.Response:
        return web.json_response(self._summary(), status=200 if self._state == "ready" else 503)

    def _summary(self) -> dict[str, object]:
        ready = sum(worker.ready.is_set() for worker in self._supervisor.workers)
        return {"state": self._state, "processes": ready}


def _to_spec(
    index: int, count: int, sockets: ProcessSockets, folder: Path, cpu: int, log_level: str, log_format: str
) -> WorkerSpec:
    arguments = WorkerArguments(
        index=index,
        count=count,
        udp_fds=tuple(s.fileno() for s in sockets.udp),
        http_fd=sockets.http.fileno(),
        sibling_fd=sockets.siblings.fileno(),
        folder=folder,
        cpu=cpu,
        log_level=log_level,
        log_format=log_format,
    )
    return WorkerSpec(f"transceiver-{index}", arguments.to_argv(), sockets.fds)


def run(config_path: Path, log_level: str, log_format: str) -> int:
    """The verb `voxpop transceiver`. Its Unix sockets live in a directory that only this user can enter."""
    with tempfile.TemporaryDirectory(prefix="voxpop-", dir=os.environ.get("RUNTIME_DIRECTORY")) as folder:

        async def serve() -> int:
            return await TransceiverService(config_path, log_level, log_format, Path(folder)).run()

        return asyncio.run(serve())
