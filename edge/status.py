"""What is known of the relay of this host, for whoever shows it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import StrEnum

from core.addr import Endpoint
from core.service.supervisor import Supervisor
from edge.counters import Counters
from edge.xdp_host import XdpHost


class State(StrEnum):
    """Whether this PoP takes calls."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


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
    state: State = State.STARTING
    reloads: int = 0
    failed_reloads: int = 0
    loaded_at_s: float = 0.0
    """When the configuration in use was read, Unix time."""
    why_not_xdp: str | None = None
    """Where the forwarder is not `xdp`."""
    fast_path: XdpHost | None = None

    def summary(self) -> dict[str, object]:
        """What /healthz and /readyz say."""
        why_not = {} if self.why_not_xdp is None else {"why_not_xdp": self.why_not_xdp}
        modes = {} if self.fast_path is None else {"interfaces": dict(self.fast_path.modes)}
        return {
            "pop": self.pop,
            "forwarder": self.forwarder,
            **why_not,
            **modes,
            "state": self.state,
            "workers": sum(worker.ready.is_set() for worker in self.supervisor.workers),
            "flows": sum(counters.get("flows") for counters in self.counters),
            "vips": [str(vip) for vip in self.vips],
        }
