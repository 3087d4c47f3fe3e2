"""What the relay's /readyz says of it, as one word."""

from __future__ import annotations

import json
from enum import StrEnum

from core.service.metrics.daemon import State

OK, UNAVAILABLE = 200, 503
MAX_BODY_BYTES = 65_536


class Outcome(StrEnum):
    """What came of asking once."""

    READY = "ready"
    DRAINING = "draining"
    """It takes no new flows, because somebody has said so."""
    STARTING = "starting"
    UNFIT = "unfit"
    """It would take flows, but its host cannot carry them: an interface has lost the fast path, say."""
    REFUSED = "refused"
    """No connection: nobody listens."""
    LATE = "late"
    """No whole answer in time."""
    STRANGE = "strange"
    """An answer that no relay gives."""


def read_answer_untrusted(status: int, body: bytes) -> Outcome:
    """The meaning of a response, of whoever listens there."""
    try:
        told = json.loads(body)
        state = told.get("state")
    except (ValueError, RecursionError, AttributeError):
        return Outcome.STRANGE
    known: dict[tuple[int, object], Outcome] = {
        (OK, State.READY): Outcome.READY,
        (UNAVAILABLE, State.DRAINING): Outcome.DRAINING,
        (UNAVAILABLE, State.STARTING): Outcome.STARTING,
        (UNAVAILABLE, State.READY): Outcome.UNFIT,
    }
    return known.get((status, state), Outcome.STRANGE) if isinstance(state, str) else Outcome.STRANGE
