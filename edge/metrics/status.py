"""What is known of the relay of this host, for whoever shows it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from core.addr import Endpoint
from core.service.daemon import Lifecycle
from core.service.heartbeats import Heartbeats
from core.service.supervisor import Supervisor
from core.store.base import StoreReason
from edge.nexthops.unfollowed import Unfollowed
from edge.relay.clocks import HostClocks
from edge.relay.counters import Counters
from edge.relay.emergency import Emergency

if TYPE_CHECKING:
    from ebpf.tables import Tables


class NextHopCounts(Sized, Protocol):
    """How many next hops there are."""

    @property
    def usable(self) -> int:
        """Of them, how many have an adjacency."""

    @property
    def unfollowed(self) -> Sequence[Unfollowed]:
        """What of this host's routing is not followed."""


class FastPathStatus(Protocol):
    """What is shown of a fast path that carries this relay's flows."""

    @property
    def tables(self) -> Tables:
        """The pinned maps."""

    @property
    def modes(self) -> Mapping[str, str]:
        """`native` or `generic`, by interface that runs the program."""

    @property
    def interfaces(self) -> Sequence[str]:
        """Those that are to run it."""

    @property
    def problems(self) -> Sequence[str]:
        """Why this host is not fit for calls, for people."""

    @property
    def nexthops(self) -> NextHopCounts:
        """Routers and hosts on our links."""

    @property
    def emergency(self) -> Emergency:
        """Whether of strangers only valid tokens pass."""


@dataclass(slots=True)
class HostStatus:
    """One relay: what it was started as, and where its numbers are."""

    pop: str
    forwarder: str
    vips: tuple[Endpoint, ...]
    flow_capacity: list[int]
    """By worker, like the next two."""
    counters: list[Counters]
    sockets: list[list[socket.socket]]
    """[worker][VIP]"""
    supervisor: Supervisor
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    why_not_xdp: str | None = None
    """Where the forwarder is not `xdp`."""
    fast_path: FastPathStatus | None = None
    clocks: HostClocks = field(default_factory=HostClocks)
    """Of the transceiver hosts that ask."""
    store: str | None = None
    """Where the store is, for people; None without one."""
    heartbeats: Heartbeats | None = None

    @property
    def flows(self) -> int:
        """Those that are carried."""
        return sum(counters.get("flows") for counters in self.counters)

    def summary(self, now_ns: int) -> dict[str, object]:
        """What /healthz and /readyz say."""
        why_not = {} if self.why_not_xdp is None else {"why_not_xdp": self.why_not_xdp}
        modes = {} if self.fast_path is None else {"interfaces": dict(self.fast_path.modes)}
        problems = [] if self.fast_path is None else list(self.fast_path.problems)
        off = {host: round(ahead_s) for host, ahead_s in self.clocks.off(now_ns).items()}
        return {
            "pop": self.pop,
            "forwarder": self.forwarder,
            **why_not,
            **modes,
            **({"problems": problems} if problems else {}),
            **self._emergency_summary(),
            **({"clocks_ahead_s": off} if off else {}),
            "state": self.lifecycle.state,
            "workers": self.supervisor.ready,
            "flows": self.flows,
            "capacity": sum(self.flow_capacity),
            "vips": [str(vip) for vip in self.vips],
            **({} if self.store is None else {"store": self._store_summary(self.store)}),
        }

    def _emergency_summary(self) -> dict[str, object]:
        cause = None if self.fast_path is None else self.fast_path.emergency.cause
        return {} if cause is None else {"emergency": cause}

    def _store_summary(self, where: str) -> dict[str, object]:
        reasons = [
            str(reason)
            for reason in StoreReason
            if any(counters.get("store_trouble", reason) for counters in self.counters)
            or (self.heartbeats is not None and self.heartbeats.trouble is reason)
        ]
        if reasons:
            return {"where": where, "state": "degraded", "reasons": reasons}
        return {"where": where, "state": "well"}
