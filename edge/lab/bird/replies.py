"""What BIRD answers on its control socket, read without I/O.

A reply is lines of a four-digit code and `-` or, in its last line, a blank; a line that begins with a blank
has the code of the one before (doc/reply_codes of BIRD). Codes from 8000 on are refusals.

The texts are tables for people, which this reads as BIRD 2.0 writes them: whatever does not look like that is
a BirdError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from core.errors import UnavailableError

MAX_REPLY_BYTES = 8 * 1024 * 1024
MAX_SHOWN = 80
FIRST_REFUSAL = 8000


class BirdError(UnavailableError):
    """BIRD refuses, cannot be reached, or says what is not understood; a sentence."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a reply."""

    code: int
    text: str


class ReplyReader:
    """Cuts a stream into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[Line] = []
        self._bytes = 0

    def feed_untrusted(self, data: bytes) -> Iterator[list[Line]]:
        """The replies that end in these bytes. Raises BirdError, after which it is of no more use."""
        self._rest += data
        self._bytes += len(data)
        if self._bytes > MAX_REPLY_BYTES:
            raise BirdError(f"BIRD's reply is longer than {MAX_REPLY_BYTES} bytes")
        while b"\n" in self._rest:
            raw, _, self._rest = self._rest.partition(b"\n")
            if self._is_last(raw.decode(errors="replace")):
                lines, self._lines, self._bytes = self._lines, [], len(self._rest)
                yield lines

    def _is_last(self, text: str) -> bool:
        if text.startswith(" ") and self._lines:
            self._lines.append(Line(self._lines[-1].code, text[1:]))
            return False
        found = _CODE.fullmatch(text)
        if found is None:
            raise BirdError(f"BIRD said {text[:MAX_SHOWN]!r}, which is no line of a reply")
        self._lines.append(Line(int(found["code"]), found["text"]))
        return found["more"] == " "


_CODE = re.compile(r"(?P<code>[0-9]{4})(?P<more>[ -])(?P<text>.*)")


def check(lines: Sequence[Line]) -> None:
    """Raises BirdError with what BIRD says where it refuses."""
    refusals = [line.text for line in lines if line.code >= FIRST_REFUSAL]
    if refusals:
        raise BirdError(f"BIRD: {'; '.join(refusals)}")


@dataclass(frozen=True, slots=True)
class Protocol:
    """A row of `show protocols`."""

    name: str
    kind: str
    """`BGP`, `Static` and so on."""
    is_up: bool
    info: str
    """Of BGP the state of the session, `Established` or what it waits for."""


@dataclass(frozen=True, slots=True)
class BfdSession:
    """A row of `show bfd sessions`."""

    address: str
    interface: str
    is_up: bool


@dataclass(frozen=True, slots=True)
class NextHop:
    """One of a route."""

    address: str | None
    """None of what is on the link itself."""
    interface: str


@dataclass(frozen=True, slots=True)
class Route:
    """One of `show route`."""

    prefix: str
    protocol: str
    """Whose it is, by its name in the configuration."""
    is_best: bool
    next_hops: tuple[NextHop, ...]
    """None of what leads nowhere, such as `unreachable`."""


def read_protocols_untrusted(lines: Sequence[Line]) -> dict[str, Protocol]:
    """Of `show protocols`, by name. Raises BirdError."""
    found = {}
    for text in _rows(lines, 1002):
        words = text.split(maxsplit=5)
        if len(words) < 5:
            raise _strange(text)
        info = words[5].strip() if len(words) > 5 else ""
        found[words[0]] = Protocol(words[0], words[1], words[3] == "up", info)
    return found


def read_bfd_untrusted(lines: Sequence[Line]) -> list[BfdSession]:
    """Of `show bfd sessions`. Raises BirdError."""
    found = []
    for text in _rows(lines, 1020):
        if text.endswith(":") or text.startswith("IP address"):
            continue
        words = text.split()
        if len(words) < 3 or not _is_address(words[0]):
            raise _strange(text)
        found.append(BfdSession(words[0], words[1], words[2] == "Up"))
    return found


_ROUTE = re.compile(
    r"(?P<prefix>\S+)? +(?P<kind>[a-z]+) \[(?P<protocol>\S+) [^\]]*\](?P<best> \*)?(?: \([0-9/?-]+\)).*"
)
_NEXT_HOP = re.compile(r"\t(?:via (?P<address>\S+) on|dev) (?P<interface>\S+).*")


def read_routes_untrusted(lines: Sequence[Line]) -> list[Route]:
    """Of `show route`, of all tables in it, in its order. Raises BirdError."""
    found: list[Route] = []
    prefix = None
    for text in _rows(lines, 1007):
        if text.startswith("Table "):
            prefix = None
        elif (hop := _NEXT_HOP.fullmatch(text)) is not None and found:
            found[-1] = _with_next_hop(found[-1], hop["address"], hop["interface"])
        elif (row := _ROUTE.fullmatch(text)) is not None and (prefix := row["prefix"] or prefix) is not None:
            if not _is_prefix(prefix):
                raise _strange(text)
            found.append(Route(prefix, row["protocol"], row["best"] is not None, ()))
        else:
            raise _strange(text)
    return found


def _with_next_hop(route: Route, address: str | None, interface: str) -> Route:
    hops = (*route.next_hops, NextHop(address, interface))
    return Route(route.prefix, route.protocol, route.is_best, hops)


def _rows(lines: Sequence[Line], code: int) -> Iterator[str]:
    """The rows of a table, without those of other codes, empty ones, and blanks at their ends."""
    check(lines)
    return (line.text.rstrip() for line in lines if line.code == code and line.text.strip())


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_prefix(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _strange(text: str) -> BirdError:
    return BirdError(f"BIRD said {text[:MAX_SHOWN]!r}, which is not understood")
