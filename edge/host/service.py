"""`voxpop relay`: the parent process, which opens the sockets and keeps the workers up."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import fields
from pathlib import Path

from core.config import DataplaneSettings, RelaySettings
from core.errors import ConfigError, UnavailableError
from core.service.supervisor import Message, Supervisor, WorkerSpec
from edge.host.dataplane import Plan
from edge.host.fastpath import XdpHost
from edge.host.settings import DRAIN, Loaded, decode, load
from edge.host.sockets import open_vips, reserve_descriptors
from edge.host.status_http import serve
from edge.host.worker import WorkerArguments
from edge.metrics.status import HostStatus, State
from edge.nexthops.messages import RESOLVE
from edge.relay.counters import create

logger = logging.getLogger(__name__)

_RELOADABLE = {"idle_timeout_s", "takeover_silence_s", "drain_timeout_s"}
_RELOADABLE_DATAPLANE = {
    "dscp_upstream", "dscp_downstream", "punt_source_pps", "punt_total_pps", "punt_media_source_pps",
    "punt_media_total_pps",
}  # fmt: skip
EXIT_OK = 0
EXIT_INTERRUPTED = 130


class RelayService:
    """One relay, from start to end."""

    def __init__(self, config_path: Path, log_level: str, log_format: str) -> None:
        """Reads the configuration and opens the sockets. Raises ConfigError, UnavailableError."""
        self._config_path = config_path
        self._loaded = load(config_path)
        relay = self._loaded.relay
        cpus = sorted(os.sched_getaffinity(0))
        shares = share_flows(relay.max_flows, relay.workers or min(len(cpus), relay.max_flows))
        self._fast_path, why_not = choose_forwarder(self._loaded)
        if self._fast_path is None:
            reserve_descriptors(relay.max_flows, shares[0])
        sockets = open_vips(relay.vips, len(shares))
        counters = [create() for _ in shares]
        arguments = [
            WorkerArguments(
                f"relay-{index}", tuple(s.fileno() for s in sockets[index]), counters[index][1],
                (index, len(shares)), share, cpus[index % len(cpus)], log_level, log_format,
            )
            for index, share in enumerate(shares)
        ]  # fmt: skip
        self._supervisor = Supervisor(
            [_to_spec(a) for a in arguments], on_message=self._on_message, greeting=self._greet
        )
        self.status = HostStatus(
            pop=relay.pop,
            forwarder="userspace" if self._fast_path is None else "xdp",
            why_not_xdp=why_not,
            fast_path=self._fast_path,
            vips=relay.vips,
            flow_capacity=shares,
            counters=[c for c, _ in counters],
            sockets=sockets,
            supervisor=self._supervisor,
            loaded_at_s=time.time(),
        )
        self._started_as = relay
        self._is_interrupted = False
        self._drain_wanted = asyncio.Event()

    def _greet(self) -> Message:
        if self._fast_path is None:
            return self._loaded.message
        return {**self._loaded.message, "xdp": self._fast_path.message}

    def _on_message(self, _: int, message: Message) -> None:
        if message["type"] == RESOLVE and self._fast_path is not None:
            self._fast_path.answer(message, self._supervisor.broadcast)

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status; raises UnavailableError."""
        self._handle_signals()
        runner = await serve(self.status, self._started_as.metrics)
        following: asyncio.Task[None] | None = None
        try:
            if self._fast_path is not None:
                self._configure(self._fast_path)
                await self._fast_path.start()
                following = asyncio.create_task(self._fast_path.run(self._supervisor.broadcast))
            await self._supervisor.start()
            if not self._supervisor.is_stopping:
                self.status.state = State.READY
                self._say_ready()
                await self._work()
        finally:
            if following is not None:
                following.cancel()
            await runner.cleanup()
        return EXIT_INTERRUPTED if self._is_interrupted else EXIT_OK

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def _say_ready(self) -> None:
        relay = self._started_as
        logger.info(
            "PoP %s is ready: VIPs %s, forwarder %s, %d workers, %d flows, keys %s, clusters %s, "
            "metrics on %s",
            relay.pop, ", ".join(map(str, relay.vips)), self.status.forwarder, len(self.status.counters),
            relay.max_flows, _join(self._loaded.key_ids), _join(self._loaded.cluster_ids), relay.metrics,
        )  # fmt: skip

    async def _work(self) -> None:
        """Until the workers have ended, after a drain or for good."""
        running = asyncio.create_task(self._supervisor.wait())
        drain = asyncio.create_task(self._drain_wanted.wait())
        await asyncio.wait({running, drain}, return_when=asyncio.FIRST_COMPLETED)
        drain.cancel()
        if self._drain_wanted.is_set():
            await self._supervisor.stop({"type": DRAIN}, self._loaded.relay.drain_timeout_s)
        await running

    def _terminate(self) -> None:
        if self.status.state is not State.READY:
            logger.warning("ended before the drain was over")
            self._supervisor.kill()
            return
        self.status.state = State.DRAINING
        logger.info(
            "draining: no new flows, existing ones are carried for up to %g s; a second signal ends at once",
            self._loaded.relay.drain_timeout_s,
        )
        self._drain_wanted.set()

    def _interrupt(self) -> None:
        self._is_interrupted = True
        self._supervisor.kill()

    def reload(self) -> None:
        """Read configuration and keys again; all of it is adopted, or, if anything is wrong, nothing."""
        try:
            loaded = load(self._config_path)
        except ConfigError as error:
            self.status.failed_reloads += 1
            for problem in error.problems:
                logger.error("reload refused, the old configuration stays: %s", problem)
            return
        for field in fields(RelaySettings):
            if field.name not in _RELOADABLE and (
                getattr(loaded.relay, field.name) != getattr(self._started_as, field.name)
            ):
                logger.warning("relay.%s has changed, which takes a restart", field.name)
        self._loaded = loaded
        if self._fast_path is not None:
            self._warn_of_restart(self._fast_path, loaded)
            self._configure(self._fast_path)
        self._supervisor.broadcast(self._greet())
        self.status.reloads += 1
        self.status.loaded_at_s = time.time()
        logger.info("reloaded: keys %s, clusters %s", _join(loaded.key_ids), _join(loaded.cluster_ids))

    def _configure(self, fast_path: XdpHost) -> None:
        settings = self._loaded.dataplane or fast_path.plan.settings
        fast_path.configure(decode(self._loaded.message).keyring, settings)

    def _warn_of_restart(self, fast_path: XdpHost, loaded: Loaded) -> None:
        for field in fields(DataplaneSettings):
            if field.name not in _RELOADABLE_DATAPLANE and loaded.dataplane is not None:
                new, old = getattr(loaded.dataplane, field.name), getattr(fast_path.plan.settings, field.name)
                if new != old:
                    logger.warning("dataplane.%s has changed, which takes a restart", field.name)


def _to_spec(arguments: WorkerArguments) -> WorkerSpec:
    return WorkerSpec(arguments.name, arguments.to_argv(), (*arguments.vip_fds, arguments.counters_fd))


def _join(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def share_flows(max_flows: int, workers: int) -> list[int]:
    """How many flows each worker may carry, the larger shares first; they add up to `max_flows`."""
    share, extra = divmod(max_flows, workers)
    return [share + (index < extra) for index in range(workers)]


def choose_forwarder(loaded: Loaded) -> tuple[XdpHost | None, str | None]:
    """The fast path where `relay.forwarder` wants it and it is there; else why it is not there, for people.

    Raises UnavailableError when it is wanted and not there.
    """
    wanted = loaded.relay.forwarder
    if wanted == "userspace":
        return None, None
    try:
        if loaded.dataplane is None:
            raise UnavailableError("the configuration has no [dataplane]; see docs/dataplane.md")
        return XdpHost(Plan(loaded.dataplane, loaded.relay)), None
    except UnavailableError as error:
        if wanted == "xdp":
            raise UnavailableError(f'relay.forwarder = "xdp": {error}; "auto" takes what there is') from None
        logger.warning("forwarder: userspace, at a multiple of the cost per packet, since %s", error)
        return None, str(error)
