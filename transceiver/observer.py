"""What the parts of a transceiver report. `transceiver.metrics` turns it into Prometheus series."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class EndReason(StrEnum):
    """Why a session has ended; a metric label."""

    HANGUP = "hangup"
    REMOTE_CLOSED = "remote_closed"
    NEVER_ARRIVED = "never_arrived"
    SILENT = "silent"
    TOO_LONG = "too_long"
    DTLS_FAILED = "dtls_failed"
    DRAINED = "drained"
    CRASHED = "crashed"
    """Audio path or backend raised: a mistake of ours, which the log has."""


class Observer(Protocol):
    """Called at events and refusals; counts of good packets are plain integers read at scrape time."""

    def setup_stage(self, stage: str, seconds: float) -> None:
        """`signaling` (offer in → answer out), `ice` (answer → first check), `dtls` (first check →
        keys), `audio` (keys → first authenticated media).
        """

    def turn(self, seconds: float) -> None:
        """End of the caller's speech → first frame of the answer."""

    def session_ended(self, reason: str) -> None:
        """Once for every session, with an `EndReason`."""

    def packet_refused(self, reason: str) -> None:
        """A datagram, or a message in one, that was refused, by the reason enum that says why."""

    def request_refused(self, reason: str) -> None:
        """An HTTP request that was refused, by reason."""


class NullObserver:
    """For callers and tests that measure by other means."""

    def setup_stage(self, stage: str, seconds: float) -> None:
        """Ignored."""

    def turn(self, seconds: float) -> None:
        """Ignored."""

    def session_ended(self, reason: str) -> None:
        """Ignored."""

    def packet_refused(self, reason: str) -> None:
        """Ignored."""

    def request_refused(self, reason: str) -> None:
        """Ignored."""
