"""What a worker is started with: all that its supervisor has to know of it."""

from __future__ import annotations

from dataclasses import dataclass

from core.service.worker import Fd, WorkerArguments

MODULE = "edge.host.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayArguments(WorkerArguments):
    """Those of a relay's."""

    vip_fds: tuple[Fd, ...]
    counters_fd: Fd
    max_flows: int
    """Its share of the host's."""
