"""What is known of the PoPs: what forwards there, and whether they take calls.

Nothing here asks; `transceiver.host.pop_reports` does, for all processes of a host. A PoP of which nothing is
heard and that nobody can ask, or that has not been asked yet, is taken to be up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.config import PopSettings

UNKNOWN = "unknown"
SILENT = "silent"
STARTING = "starting"
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,15}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Standing(StrEnum):
    """Whether answers name a PoP."""

    UP = "up"
    """It takes calls, or nothing is known against it."""
    DOUBTFUL = "doubtful"
    """It does not answer, or is about to start: its fault, ours or the network's between. Named where no PoP
    is up, since what tells of a PoP must not be what takes its calls away.
    """
    DOWN = "down"
    """It says itself that it takes none, and has not come back since."""


@dataclass(frozen=True, slots=True)
class PopReport:
    """One PoP as it was found. `forwarder` and `state` are the relay's own words, for people."""

    forwarder: str = UNKNOWN
    state: str = UNKNOWN
    standing: Standing = Standing.UP
    load: float | None = None
    """The share of its flows that are taken, 0 to 1 in steps of a thousandth; None where it does not say."""

    def encode(self) -> list[object]:
        """For the control socket."""
        return [self.forwarder, self.state, self.standing, self.load]


NOT_ASKED = PopReport()
REFUSED = PopReport(state=SILENT, standing=Standing.DOUBTFUL)
"""Its host says that nobody listens there."""
UNANSWERED = PopReport(state=SILENT, standing=Standing.DOUBTFUL)
WIDEST = PopReport("x" * 16, "x" * 16, Standing.DOUBTFUL, 0.999)
"""The longest one, encoded."""


def decode_reports(message: Mapping[str, Any]) -> dict[str, PopReport]:
    """The inverse of `PopReport.encode`, by PoP."""
    return {pop: PopReport(f, s, Standing(standing), load) for pop, (f, s, standing, load) in message.items()}


def read_status_untrusted(status: int, body: bytes) -> PopReport:
    """What a relay's /readyz says: 200 takes calls, 503 does not, or not yet; anything else is not a relay's
    answer and says nothing.
    """
    said = _as_object(body)
    state = _word(said.get("state"))
    standing = Standing.UP if status != 503 else Standing.DOUBTFUL if state == STARTING else Standing.DOWN
    load = _load(said.get("flows"), said.get("capacity"))
    return PopReport(_word(said.get("forwarder")), state, standing, load)


def other_pop_untrusted(body: bytes, pop: str) -> str | None:
    """Whose /readyz it is, where it is that of another PoP than was asked; None where it is not, or where a
    relay does not say.
    """
    said = _as_object(body).get("pop")
    return said if isinstance(said, str) and _NAME.fullmatch(said) and said != pop else None


class PopDirectory:
    """The configured PoPs and what was last reported of them."""

    def __init__(self, pops: Sequence[PopSettings], reports: Mapping[str, PopReport] | None = None) -> None:
        self._pops = tuple(pops)
        self._reports = dict(reports or {})

    def replace(self, pops: Sequence[PopSettings]) -> None:
        """Take a reloaded configuration."""
        self._pops = tuple(pops)

    def learn(self, reports: Mapping[str, PopReport]) -> None:
        """Take the latest reports, by PoP; one that is not among them is not known any more."""
        self._reports = dict(reports)

    def listing(self) -> list[dict[str, object]]:
        """`{id, vips, forwarder, state}` of each PoP."""
        return [
            {
                "id": pop.id,
                "vips": [str(vip) for vip in pop.vips],
                "forwarder": self._report(pop).forwarder,
                "state": self._report(pop).state,
            }
            for pop in self._pops
        ]

    def usable(self, among: Iterable[PopSettings]) -> tuple[PopSettings, ...]:
        """Those that answers may name, in their order: all that are up, or else those in doubt."""
        pops = tuple(among)
        for standing in (Standing.UP, Standing.DOUBTFUL):
            found = tuple(pop for pop in pops if self._report(pop).standing is standing)
            if found:
                return found
        return ()

    def _report(self, pop: PopSettings) -> PopReport:
        return self._reports.get(pop.id, NOT_ASKED)


def _as_object(body: bytes) -> dict[str, object]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _load(flows: object, capacity: object) -> float | None:
    """None for what no relay can mean; a few flows too many are a full relay's, whose workers count apart."""
    match flows, capacity:
        case int(), int() if bool not in (type(flows), type(capacity)) and 0 <= flows < 2 * capacity:
            return round(min(1.0, flows / capacity), 3)
    return None


def _word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else UNKNOWN
