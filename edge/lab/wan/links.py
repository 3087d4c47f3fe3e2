"""The links of a WAN, by name: what they are, how they are, and a direction of each for each end.

A direction is known by its link and the place that sends. All of it is values: who reads packets and clocks
is `run`.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edge.lab.wan.delay import Conditions, DelayLine


class WanError(ValueError):
    """What was asked of a WAN cannot be; a sentence for people."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a link ends: the TUN device of a place."""

    place: str
    namespace: str
    interface: str


@dataclass(frozen=True, slots=True)
class Link:
    """Two ends, and how it is from the beginning, in both directions."""

    name: str
    ends: tuple[End, End]
    conditions: Conditions = field(default_factory=Conditions)


def dump(links: Iterable[Link]) -> str:
    """For `load`."""
    return json.dumps([asdict(link) for link in links])


def load(text: str) -> list[Link]:
    """The inverse of `dump`. Raises ValueError, TypeError or KeyError for what that did not write."""
    return [
        Link(made["name"], (End(**made["ends"][0]), End(**made["ends"][1])), Conditions(**made["conditions"]))
        for made in json.loads(text)
    ]


@dataclass(frozen=True, slots=True)
class Direction:
    """One of the two of a link."""

    link: Link
    sender: End
    receiver: End
    line: DelayLine


class Wan:
    """All links. `seed` fixes what is lost and how late the rest is, of every direction by itself."""

    def __init__(self, links: Sequence[Link], seed: int = 0) -> None:
        self._of: dict[str, tuple[Direction, Direction]] = {}
        for link in links:
            a, b = link.ends
            if link.name in self._of or a.place == b.place:
                raise WanError(f"link {link.name}: a name for each link, and two places for each")
            self._of[link.name] = _direction(link, a, b, seed), _direction(link, b, a, seed)
        self.directions = [direction for pair in self._of.values() for direction in pair]
        """By their numbers."""
        self._due: list[tuple[int, int]] = []
        """A heap of (due, number of a direction): at least one for the next packet of each, and some more
        for packets that have gone or are not next any more."""

    # --- packets --------------------------------------------------------------------------------------

    def offer(self, number: int, packet: bytes, now_ns: int) -> None:
        """A packet comes, in the direction of that number."""
        line = self.directions[number].line
        before = line.due_ns
        line.offer(packet, now_ns)
        due_ns = line.due_ns
        if due_ns is not None and due_ns != before:
            heapq.heappush(self._due, (due_ns, number))

    def take_due(self, now_ns: int) -> Iterator[tuple[int, list[bytes]]]:
        """(number of the direction, packets) of what is due."""
        while self._due and self._due[0][0] <= now_ns:
            number = heapq.heappop(self._due)[1]
            line = self.directions[number].line
            packets = line.take_due(now_ns)
            if packets and line.due_ns is not None:
                heapq.heappush(self._due, (line.due_ns, number))
            if packets:
                yield number, packets

    @property
    def due_ns(self) -> int | None:
        """When to call `take_due` next, or before; None while nothing is under way."""
        return self._due[0][0] if self._due else None

    # --- control --------------------------------------------------------------------------------------

    def set(self, name: str, sender: str | None, changes: Mapping[str, Any]) -> None:
        """Change some conditions of a link; of one direction where the place that sends is named. Raises
        WanError, and nothing has changed then.
        """
        chosen = self._chosen(name, sender)
        try:
            changed = [replace(direction.line.conditions, **changes) for direction in chosen]
        except (ValueError, TypeError) as error:
            raise WanError(f"link {name}: {error}") from None
        for direction, conditions in zip(chosen, changed, strict=True):
            direction.line.conditions = conditions

    def cut(self, name: str, sender: str | None) -> None:
        """See DelayLine. Raises WanError."""
        for direction in self._chosen(name, sender):
            direction.line.cut()

    def restore(self, name: str, sender: str | None) -> None:
        """See DelayLine. Raises WanError."""
        for direction in self._chosen(name, sender):
            direction.line.restore()

    def state(self) -> dict[str, dict[str, dict[str, object]]]:
        """By link, by the place that sends: conditions, whether it is cut, packets under way, counts."""
        return {
            name: {direction.sender.place: _state(direction.line) for direction in pair}
            for name, pair in self._of.items()
        }

    def _chosen(self, name: str, sender: str | None) -> Sequence[Direction]:
        pair = self._of.get(name)
        if pair is None:
            raise WanError(f"there is no link {name}")
        chosen = [direction for direction in pair if sender in (None, direction.sender.place)]
        if not chosen:
            raise WanError(f"link {name} does not end in {sender}")
        return chosen


def _direction(link: Link, sender: End, receiver: End, seed: int) -> Direction:
    line = DelayLine(link.conditions, f"{seed} {link.name} {sender.place}")
    return Direction(link, sender, receiver, line)


def _state(line: DelayLine) -> dict[str, object]:
    return {
        "conditions": asdict(line.conditions),
        "is_cut": line.is_cut,
        "queued": line.queued,
        "counts": asdict(line.counts),
    }
