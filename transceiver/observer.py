"""What the parts of a transceiver report, as series. `transceiver.host` keeps count of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from core.service.metrics import OTHER, Series, counter, histogram


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
    BACKEND_GONE = "backend_gone"
    """The backend says that it cannot go on; see `BackendLoss` for what had happened."""


class BackendLoss(StrEnum):
    """Why a call has lost a backend over the network, or found none; a metric label."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """It answered, but not with a WebSocket; or there is no key for it."""
    SILENT = "silent"
    """Connected, and no event came."""
    CLOSED = "closed"
    NO_PONG = "no_pong"
    GARBAGE = "garbage"
    """Too much of what came was no event."""
    TOO_BIG = "too_big"
    STALLED = "stalled"
    """It does not read what it is sent."""
    CRASHED = "crashed"
    """What it sent found a mistake of ours, which the log has."""


class Stage(StrEnum):
    """What a call's set-up consists of, in that order; a metric label."""

    SIGNALING = "signaling"
    ICE = "ice"
    DTLS = "dtls"
    AUDIO = "audio"


class TurnStage(StrEnum):
    """What the time from a caller's last word to the answer consists of, in that order; a metric label."""

    NETWORK = "network"
    JITTER_BUFFER = "jitter_buffer"
    END_OF_TURN = "end_of_turn"
    BACKEND = "backend"
    PACING = "pacing"
    WAY_OUT = "way_out"


class TurnOutcome(StrEnum):
    """Whether an answer came within 300 ms; a metric label."""

    WITHIN = "within"
    OVER = "over"


class Withheld(StrEnum):
    """What was not sent to an address that has not answered; a metric label."""

    HANDSHAKE = "handshake"
    CALL = "call"
    """Audio, reports and events."""


class PathCheck(StrEnum):
    """What became of checks of our own; a metric label."""

    SENT = "sent"
    ANSWERED = "answered"


SETUP = histogram(
    "voxpop_transceiver_session_setup_seconds",
    "Time of each stage of a call's set-up: signaling from offer to answer, then ice until the first check, "
    "dtls until the keys, audio until the first authenticated media.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 30.0),
    stage=Stage,
)
TURN_LATENCY = histogram(
    "voxpop_transceiver_turn_latency_seconds",
    "From the end of the caller's speech to the first audio of the answer. Buckets lie close together around "
    "300 ms, beyond which talking does not feel like talking.",
    buckets=(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0),
)
TURN_STAGE = histogram(
    "voxpop_transceiver_turn_stage_seconds",
    "Stages of the time from a caller's last word to the first audio of the answer (docs/budget.md): network "
    "and way_out have half the round trip each, where it is known. What is not known of a turn is not in it.",
    buckets=(0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0),
    stage=TurnStage,
)
TURNS = counter(
    "voxpop_transceiver_turns_total",
    "Answered turns, by whether the sum of their stages is within 300 ms or over. Turns that a backend tells "
    "apart are not in it: when the caller fell silent, only the backend knows.",
    outcome=TurnOutcome,
)
SESSIONS_MADE = counter(
    "voxpop_transceiver_sessions_made_total",
    "Sessions that were made, by the API of their client: realtime, which includes WHIP, or live.",
    api=("realtime", "live", OTHER),
)
SESSIONS_ENDED = counter(
    "voxpop_transceiver_sessions_ended_total", "Sessions that ended, by reason.", reason=(*EndReason, OTHER)
)
BACKEND_LOST = counter(
    "voxpop_transceiver_backend_losses_total",
    "Connections of calls to their backend over the network that were lost, by reason.",
    reason=BackendLoss,
)
DATAGRAMS_WITHHELD = counter(
    "voxpop_transceiver_datagrams_withheld_total",
    "Datagrams that were not sent, as the client had not shown that it hears us at the address: of a "
    "handshake, or of a call, audio and events.",
    kind=Withheld,
)
PATH_CHECKS = counter(
    "voxpop_transceiver_path_checks_total",
    "Checks of our own, by which a client shows that it hears us at an address: sent, or answered.",
    result=PathCheck,
)
EVENTS: tuple[Series, ...] = (
    SETUP,
    TURN_LATENCY,
    TURN_STAGE,
    TURNS,
    SESSIONS_MADE,
    SESSIONS_ENDED,
    BACKEND_LOST,
    DATAGRAMS_WITHHELD,
    PATH_CHECKS,
)
"""What `count` and `observe` take. To report something new, declare it here and call one of them. Refusals
are in `transceiver.host.catalogue`, since the parts above own their reasons.
"""


class Observer(Protocol):
    """Called at events and refusals; counts of good packets are plain integers read at scrape time."""

    def count(self, event: Series, *row: str) -> None:
        """One more of a counter of `EVENTS`; `row` has a value for each of its labels."""

    def observe(self, event: Series, value: float, *row: str) -> None:
        """A measure for a histogram of `EVENTS`, in its unit."""

    def packet_refused(self, reason: str) -> None:
        """A datagram, or a message in one, that was refused, by the reason enum that says why."""

    def request_refused(self, reason: str) -> None:
        """An HTTP request that was refused, by reason."""

    def setup_stage(self, stage: str, seconds: float) -> None:
        """The end of a `Stage`."""
        self.observe(SETUP, seconds, stage)

    def turn(self, seconds: float) -> None:
        """End of the caller's speech → first frame of the answer."""
        self.observe(TURN_LATENCY, seconds)

    def session_ended(self, reason: str) -> None:
        """Once for every session, with an `EndReason`."""
        self.count(SESSIONS_ENDED, reason)


class NullObserver(Observer):
    """For callers and tests that measure by other means."""

    def count(self, event: Series, *row: str) -> None:
        """Ignored."""

    def observe(self, event: Series, value: float, *row: str) -> None:
        """Ignored."""

    def packet_refused(self, reason: str) -> None:
        """Ignored."""

    def request_refused(self, reason: str) -> None:
        """Ignored."""
