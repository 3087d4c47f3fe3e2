"""What a worker is started with: all that its supervisor has to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.service.worker import Fd, WorkerArguments

MODULE = "transceiver.host.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransceiverArguments(WorkerArguments):
    """Those of a transceiver's."""

    udp_fds: tuple[Fd, ...]
    http_fd: Fd
    sibling_fd: Fd
    ledger_fd: Fd
    """Memory that all processes of the host share."""
    folder: Path
    """Where the siblings' sockets are."""
