"""What a server says of the PoPs that its answer names: `Voxpop-Steering` (docs/steering.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = "Voxpop-Steering"
MAX_CHARS = 512
MAX_POPS = 8
_PARAMETERS = r"(?:;[a-z]{1,16}=[a-z0-9_.]{1,32}){0,8}"
_POP = re.compile(rf'"([A-Za-z0-9_.-]{{1,64}})"({_PARAMETERS})')
_LIST = re.compile(rf"{_POP.pattern}(?:, ?{_POP.pattern}){{0,{MAX_POPS - 1}}}")
WHYS = {
    "nearest": "nearest",
    "order": "first of the configuration",
    "load": "another is full",
    "health": "another is out",
}
SOURCES = {
    "pop_header": "by the PoP that the request came through",
    "location_header": "by where the CDN saw us",
    "database": "by our address",
}


@dataclass(frozen=True, slots=True)
class SteeredPop:
    """A PoP that the answer names."""

    pop: str
    km: float | None
    """From us, as far as the server knows."""


@dataclass(frozen=True, slots=True)
class SteeringReport:
    """Where the server sends us, and why."""

    source: str | None
    """What told where we are."""
    why: str | None
    """Why the first PoP is the first."""
    pops: list[SteeredPop]


def parse_steering_untrusted(text: str | None) -> SteeringReport | None:
    """The value of the header, a List of RFC 9651; None for none, and for what is not such a one."""
    if text is None or len(text) > MAX_CHARS or _LIST.fullmatch(text) is None:
        return None
    named = [(pop, _parameters(rest)) for pop, rest in _POP.findall(text)]
    first = named[0][1]
    pops = [SteeredPop(pop, _km(parameters.get("km"))) for pop, parameters in named]
    return SteeringReport(first.get("source"), first.get("why"), pops)


def describe(steering: SteeringReport) -> str:
    """`nrt (nearest by our address, 12 km), then fra (9302 km)`."""
    words = []
    for number, each in enumerate(steering.pops):
        why = WHYS.get(steering.why or "") if number == 0 else None
        source = SOURCES.get(steering.source or "") if number == 0 else None
        reason = " ".join(filter(None, (why, source)))
        about = ", ".join(filter(None, (reason, None if each.km is None else f"{each.km:.0f} km")))
        words.append(f"{each.pop} ({about})" if about else each.pop)
    return ", then ".join(words)


def _parameters(text: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in text.split(";")[1:])


def _km(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
