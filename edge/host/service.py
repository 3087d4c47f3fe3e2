"""`voxpop relay`: the parent process, which opens the sockets and keeps the workers up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core.clocks import describe
from core.config import Config
from core.errors import UnavailableError
from core.service.admin.path import EMERGENCY_PATH
from core.service.admin.server import Switch
from core.service.build import VERSION
from core.service.daemon import Daemon, join
from core.service.drain import Load
from core.service.heartbeats import Heartbeats, open_heartbeats, own_name
from core.service.privileges import Capability
from core.service.sockets import kernel_drops
from core.service.supervisor import Message
from core.service.tasks import until_one_ends
from core.service.worker import Fd, spec
from core.store.base import Place
from core.store.heartbeat import PopHeartbeat, encode
from core.store.keys import HostKind
from core.store.registry import Beat
from ebpf.errors import HeldError
from edge.host.arguments import MODULE, RelayArguments
from edge.host.capabilities import RELAY
from edge.host.settings import XDP, WorkerSettings, load
from edge.host.sockets import open_vips, reserve_descriptors
from edge.metrics import relay as metrics
from edge.metrics.status import HostStatus
from edge.nexthops.messages import RESOLVE
from edge.relay.counters import create

if TYPE_CHECKING:
    from edge.host.emergency import EmergencyKeeper
    from edge.host.fastpath import XdpHost

logger = logging.getLogger(__name__)


class RelayService(Daemon[WorkerSettings]):
    """One relay, from start to end."""

    name = "relay"
    work = "flows"
    stop_margin_s = 1.0
    status_headers: ClassVar[Mapping[str, str]] = {"Access-Control-Allow-Origin": "*"}
    """Pages of any origin may read the state, to show which PoP carries their call."""

    def __init__(self, config_path: Path, log_level: str, log_format: str) -> None:
        """Reads the configuration and opens the sockets. Raises ConfigError, UnavailableError."""
        read = partial(load, ours=True)
        loaded = read(config_path)
        relay = loaded.settings.relay
        cpus = sorted(os.sched_getaffinity(0))
        shares = share_flows(relay.max_flows, relay.workers or min(len(cpus), relay.max_flows))
        self._fast_path, why_not = choose_forwarder(loaded.settings.config)
        if self._fast_path is None:
            reserve_descriptors(relay.max_flows, shares[0])
        sockets = open_vips(relay.vips, len(shares))
        counters = [create() for _ in shares]
        arguments = [
            RelayArguments(
                name=f"relay-{index}",
                index=index,
                count=len(shares),
                cpu=cpus[index % len(cpus)],
                log_level=log_level,
                log_format=log_format,
                vip_fds=tuple(Fd(s.fileno()) for s in sockets[index]),
                counters_fd=Fd(counters[index][1]),
                max_flows=share,
            )
            for index, share in enumerate(shares)
        ]
        super().__init__(config_path, read, loaded, [spec(MODULE, a) for a in arguments])
        self.heartbeats = self._open_heartbeats()
        self.status = HostStatus(
            pop=relay.pop,
            forwarder="userspace" if self._fast_path is None else "xdp",
            why_not_xdp=why_not,
            fast_path=self._fast_path,
            vips=relay.vips,
            flow_capacity=shares,
            counters=[c for c, _ in counters],
            sockets=sockets,
            supervisor=self.supervisor,
            lifecycle=self.lifecycle,
            store=None if loaded.settings.config.store is None else str(loaded.settings.config.store.url),
            heartbeats=self.heartbeats,
        )
        self._emergency = None if self._fast_path is None else self._keep_emergency(self._fast_path)

    def _keep_emergency(self, fast_path: XdpHost) -> EmergencyKeeper:
        # Here alone, as with the fast path.
        from edge.host.emergency import EmergencyKeeper
        from edge.host.emergency_hook import EmergencyHook

        relay, sockets = self.started_as.relay, self.status.sockets
        who = {"VOXPOP_POP": relay.pop, "VOXPOP_VIPS": ",".join(map(str, relay.vips))}
        return EmergencyKeeper(
            fast_path.emergency,
            fast_path.tables,
            lambda: sum(kernel_drops(opened) for group in sockets for opened in group),
            EmergencyHook(who),
        )

    @property
    def switches(self) -> Mapping[str, Switch]:
        """The emergency level, where there is a fast path."""
        return {} if self._emergency is None else {EMERGENCY_PATH: self._emergency}

    def _open_heartbeats(self) -> Heartbeats | None:
        settings, relay = self.started_as, self.started_as.relay
        own = settings.config.pop(relay.pop)
        if settings.config.store is not None and own is not None and set(own.vips) - set(relay.vips):
            logger.warning(
                "relay.vips are others than the vips of [[pop]] %s: right where addresses are translated on "
                "the way here, and a fault elsewhere",
                relay.pop,
            )
        return open_heartbeats(settings.config.store, settings.store_secrets, HostKind.POP, self._beat)

    def _beat(self, now_s: float) -> Beat:
        """What this host says of itself. Its place stands in the [[pop]] of its own name, if it has one, and
        the VIPs that clients know it by, where they are translated on the way.
        """
        relay, settings, status = self.started_as.relay, self.loaded.settings, self.status
        own = settings.config.pop(relay.pop)
        place, vips = (None, relay.vips) if own is None else (own.place, own.vips)
        name = f"{relay.pop}:{relay.host or own_name()}".encode()
        heartbeat = PopHeartbeat(
            int(now_s * 1000), self.host_state, status.flows, sum(status.flow_capacity), VERSION,
            status.forwarder, place, vips,
        )  # fmt: skip
        value = encode(heartbeat, HostKind.POP.heartbeat_key(name), settings.keyring)
        member = None if place is None else Place(relay.pop.encode(), place[1], place[0])
        return Beat(name, value, now_s, member)

    @property
    def tables(self) -> Iterable[str]:
        """[dataplane] where the fast path is in use."""
        return ("relay", "store") if self._fast_path is None else ("relay", "dataplane", "store")

    @property
    def rights(self) -> Collection[Capability]:
        """See Daemon."""
        return () if self._fast_path is None else RELAY

    def ready_line(self) -> str:
        """Where it listens, and what for."""
        settings = self.started_as
        relay = settings.relay
        return (
            f"PoP {relay.pop} is ready: VIPs {join(relay.vips)}, forwarder {self.status.forwarder}, "
            f"{len(self.status.counters)} workers, {relay.max_flows} flows, "
            f"keys {join(settings.keyring.key_ids)}, clusters {join(sorted(settings.config.clusters))}, "
            f"metrics on {relay.metrics}"
        )

    def summary(self) -> Mapping[str, object]:
        """See Daemon."""
        return {**self.status.summary(time.monotonic_ns()), **self.drain_summary()}

    def asked_at(self, host: str, date: str) -> None:
        """A transceiver host asks how we are, and says what time it has: see Daemon."""
        now_ns, clocks = time.monotonic_ns(), self.status.clocks
        clusters = self.loaded.settings.config.clusters.values()
        news = clocks.hear_untrusted(host, date, clusters, time.time(), now_ns)
        if news:
            farthest, ahead_s = next(iter(clocks.off(now_ns).items()))
            logger.error(
                "the clock of transceiver host %s is %s ours: its tokens are dated by it and judged by ours, "
                "so its calls may never connect; set both by NTP. /healthz lists every such host",
                farthest,
                describe(ahead_s),
            )
        elif news is False:
            logger.info("the clocks of all transceiver hosts that ask agree with ours again")

    async def exposition(self) -> bytes:
        """See Daemon."""
        return metrics.render(self.status, time.monotonic_ns())

    def greeting(self) -> Message:
        """The configuration, and where the tables of the fast path are."""
        if self._fast_path is None:
            return super().greeting()
        return {**super().greeting(), XDP: self._fast_path.message}

    def hear(self, index: int, message: Message) -> None:
        """Workers ask for next hops."""
        if message["type"] == RESOLVE and self._fast_path is not None:
            self._fast_path.answer(message, self.supervisor.broadcast)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Heartbeats are written, and the fast path is kept up to date."""
        beating = contextlib.nullcontext() if self.heartbeats is None else self.heartbeats.beating()
        async with beating, self._fast_path_kept():
            yield

    @contextlib.asynccontextmanager
    async def _fast_path_kept(self) -> AsyncIterator[None]:
        if self._fast_path is None or self._emergency is None:
            yield
            return
        self.adopted()
        await self._fast_path.start()
        kept = self._fast_path.run(self.supervisor.broadcast), self._emergency.run()
        following = asyncio.create_task(until_one_ends(*kept))
        following.add_done_callback(self._fast_path_ended)
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait({following})
        if not following.cancelled():
            following.result()

    def _fast_path_ended(self, following: asyncio.Task[None]) -> None:
        """Without it there is nothing to serve: end, with an exit status by which a unit starts us anew."""
        if not following.cancelled():
            logger.error("the fast path cannot be kept, so this relay ends: %s", following.exception())
            self.supervisor.kill()

    def _is_ready(self) -> bool:
        """A host that does not run the program everywhere carries no calls."""
        return super()._is_ready() and not (self._fast_path is not None and self._fast_path.problems)

    def adopted(self) -> None:
        """Tell the fast path too."""
        if self._fast_path is None or self._emergency is None:
            return
        settings = self.loaded.settings
        dataplane = settings.config.dataplane or self._fast_path.plan.settings
        has_store = settings.config.store is not None
        self._fast_path.configure(settings.keyring, dataplane, has_store=has_store)
        self._emergency.hook.path = dataplane.emergency_hook
        self._emergency.tell()

    def carried(self) -> Load:
        """Flows by the counters. When they began is not kept: a flow is as young as its client's address."""
        return Load(self.status.flows)


def share_flows(max_flows: int, workers: int) -> list[int]:
    """How many flows each worker may carry, the larger shares first; they add up to `max_flows`."""
    share, extra = divmod(max_flows, workers)
    return [share + (index < extra) for index in range(workers)]


def choose_forwarder(config: Config) -> tuple[XdpHost | None, str | None]:
    """The fast path where `relay.forwarder` wants it and it is there; else why it is not there, for people.

    Raises UnavailableError when it is wanted and not there, or another relay's.
    """
    assert config.relay is not None
    wanted = config.relay.forwarder
    if wanted == "userspace":
        return None, None
    try:
        if config.dataplane is None:
            raise UnavailableError("the configuration has no [dataplane]; see docs/dataplane.md")
        # Here alone: it brings numpy and netlink into the process, for which there is no other use.
        from edge.host.dataplane import Plan
        from edge.host.fastpath import XdpHost

        return XdpHost(Plan(config.dataplane, config.relay), has_store=config.store is not None), None
    except HeldError as error:
        raise UnavailableError(f"another relay has the fast path of this host: {error}") from None
    except UnavailableError as error:
        if wanted == "xdp":
            raise UnavailableError(f'relay.forwarder = "xdp": {error}; "auto" takes what there is') from None
        logger.warning("forwarder: userspace, at a multiple of the cost per packet, since %s", error)
        return None, str(error)
