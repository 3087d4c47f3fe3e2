"""What a backend that is a process of its own shows: its clients, their events, and what an answer takes."""

from __future__ import annotations

import itertools
from enum import StrEnum
from typing import Final

from core.service.metrics import OTHER, Recorder, Series, counter, exposition, gauge, histogram
from core.service.metrics.exposition import plain
from core.service.metrics.reference import Section


class End(StrEnum):
    """Why a connection is over."""

    LEFT = "the client left"
    HUNG_UP = "the session has ended"
    TOO_SLOW = "the client does not read what it is sent"
    CRASHED = "the session has failed"
    DRAINED = "the server is being stopped"


STAGES: Final = ("end_of_turn", "recognition", "reply", "speech")
"""Of an answer. A backend that measures others is shown under `other`."""

SESSIONS = gauge("voxpop_backend_sessions", "Sessions of clients that are open.")
SESSIONS_ENDED = counter(
    "voxpop_backend_sessions_ended_total",
    "Sessions that ended, by why: their client left, or read too slowly; the backend hung up, or raised, "
    "which the log has; the process was stopped.",
    end=tuple(end.name.lower() for end in End),
)
EVENTS = counter(
    "voxpop_backend_events_total",
    "Events of clients, and those for them. Dropped are those for a client that does not read, which is "
    "given up then.",
    direction=("received", "sent", "dropped"),
)
ERRORS = counter(
    "voxpop_backend_errors_total",
    "Errors that clients were told, by code.",
    code=(
        *("invalid_event", "invalid_value", "unknown_event", "invalid_event_for_transport"),
        *(f"item_{verb}_invalid_item_id" for verb in ("retrieve", "delete", "truncate")),
        *("item_create_invalid_previous_item_id", "item_not_found"),
        *("conversation_already_has_active_response", "response_cancel_not_active"),
        *("input_audio_buffer_commit_empty", "session_crashed", "server_shutting_down", OTHER),
    ),
)
REFUSALS = counter(
    "voxpop_backend_refusals_total",
    "Requests for a session that were refused, by the code of the answer.",
    code=("invalid_api_key", "foreign_origin", "unsupported_parameter", "server_full", "server_draining"),
)
STAGE = histogram(
    "voxpop_backend_stage_seconds",
    "What each stage of an answer took, of backends that say so, such as the clerk: from the caller's last "
    "speech to the end of the turn, then to its words, to the reply, to the first audio of it.",
    buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0),
    stage=(*STAGES, OTHER),
)
RECORDED: tuple[Series, ...] = (SESSIONS_ENDED, EVENTS, ERRORS, REFUSALS, STAGE)
SECTION = Section(
    "Backends as processes",
    "Shown by `voxpop backend` at `--metrics`, beside the series of its process.",
    (SESSIONS, *RECORDED),
)


class Metrics:
    """Of one process."""

    def __init__(self) -> None:
        self._recorder = Recorder(RECORDED)

    def ended(self, end: End) -> None:
        """A session is over."""
        self._recorder.count(SESSIONS_ENDED, end.name.lower())

    def event(self, direction: str) -> None:
        """One more of those of `EVENTS`."""
        self._recorder.count(EVENTS, direction)

    def error(self, code: object) -> None:
        """A client was told an error."""
        self._recorder.count(ERRORS, str(code))

    def refused(self, code: str) -> None:
        """A client did not become one."""
        self._recorder.count(REFUSALS, code)

    def stage(self, name: str, seconds: float) -> None:
        """A part of an answer took so long."""
        self._recorder.observe(STAGE, seconds, name)

    def exposition(self, sessions: int) -> bytes:
        """The text format of Prometheus."""
        own = exposition.recorded(self._recorder)
        return exposition.render(
            itertools.chain(exposition.of_this_process(), [plain(SESSIONS, sessions)], own)
        )
