"""Settings declared once, in a dataclass: type, range, default, effect. The rest follows from that.

`read_table` turns a TOML table into such a dataclass and gathers every fault, each a sentence that
names the dotted key and the fix; `docs/configuration.md` is written from the same declarations.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar, cast

from core.addr import Endpoint, IpFamily, IPNetwork, parse_address, parse_endpoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """How one TOML value becomes a setting: `parse` raises ValueError with the rest of a sentence."""

    parse: Callable[[object], object]
    words: str
    """What is allowed, for people: `1–65535`."""


def setting(kind: Kind, help_text: str, *, reloadable: bool | str = False, **default: object) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A dataclass field that `read_table` understands. Without `default` the key must be given.

    `reloadable`: whether a daemon that runs takes a new value when it reads the file again; a daemon's
    name where only that one does.
    """
    metadata = {"kind": kind, "help": help_text, "reloadable": reloadable}
    return dataclasses.field(metadata=metadata, **cast(dict[str, Any], default))


def integer(low: int, high: int, unit: str = "") -> Kind:
    """A whole number in a range, both ends included."""
    words = f"{low}–{high}{' ' + unit if unit else ''}"

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number, {words}")
        return value

    return Kind(parse, words)


def integer_or(word: str, stands_for: int, low: int, high: int, unit: str = "") -> Kind:
    """A whole number in a range, or one word, which becomes a number outside of it."""
    plain = integer(low, high, unit)

    def parse(value: object) -> int:
        if value == word:
            return stands_for
        try:
            number = plain.parse(value)
        except ValueError:
            raise ValueError(f'must be a whole number, {plain.words}, or "{word}"') from None
        assert isinstance(number, int)
        return number

    return Kind(parse, f'{plain.words}, or "{word}"')


def number(low: float, high: float, unit: str = "") -> Kind:
    """A number in a range, both ends included."""
    words = f"{low:g}–{high:g}{' ' + unit if unit else ''}"

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"must be a number, {words}")
        return float(value)

    return Kind(parse, words)


def boolean() -> Kind:
    """A switch."""

    def parse(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    return Kind(parse, "true or false")


def text(words: str = "text") -> Kind:
    """A string that is not empty and has no control characters."""
    return pattern(words, r"[^\x00-\x1f\x7f]+")


def pattern(words: str, regular_expression: str) -> Kind:
    """A string that matches as a whole; `words` say what that comes to."""
    compiled = re.compile(regular_expression)

    def parse(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"must be {words}, in quotes")
        return value

    return Kind(parse, words)


def name() -> Kind:
    """A name that can be a metric label, a header value and a part of a key."""
    return pattern("a name of 1–64 letters, digits, '-', '_' or '.'", r"[A-Za-z0-9_.-]{1,64}")


def origin() -> Kind:
    """A web origin (RFC 6454), or the star that means all."""
    words = 'an origin such as https://example.com, without a path, or "*"'
    return pattern(words, r"\*|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


def region() -> Kind:
    """The origin of another region's signaling, as callers reach it."""
    words = "a URL such as https://voice-us.example.com, without a path"
    return pattern(words, r"https?://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


def choice(*options: str) -> Kind:
    """One of a few words."""
    words = " | ".join(options)

    def parse(value: object) -> str:
        if value not in options:
            raise ValueError(f"must be one of {words}")
        return str(value)

    return Kind(parse, words)


def endpoint() -> Kind:
    """ADDRESS:PORT."""

    def parse(value: object) -> Endpoint:
        if not isinstance(value, str):
            raise ValueError("must be ADDRESS:PORT, in quotes")
        return parse_endpoint(value)

    return Kind(parse, "ADDRESS:PORT")


def address() -> Kind:
    """An IP address without a port."""

    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("must be an IP address, in quotes")
        return parse_address(value)

    return Kind(parse, "IP address")


def network(family: IpFamily) -> Kind:
    """A unicast prefix of one family, without host bits."""
    of_family = IPv4Network if family is IpFamily.V4 else IPv6Network
    multicast = of_family("224.0.0.0/4" if family is IpFamily.V4 else "ff00::/8")
    example = "192.0.2.0/24" if family is IpFamily.V4 else "2001:db8::/64"
    words = f"an IPv{family} prefix such as {example}"

    def parse(value: object) -> IPv4Network | IPv6Network:
        if not isinstance(value, str) or "%" in value:
            raise ValueError(f"must be {words}, in quotes")
        try:
            prefix = of_family(value)
        except ValueError as error:
            raise ValueError(f"must be {words} ({error})") from None
        if prefix.overlaps(multicast):
            raise ValueError(f"must be {words}; {prefix} has multicast addresses in it")
        return prefix

    return Kind(parse, f"IPv{family} prefix")


def any_network() -> Kind:
    """A prefix of either family, without host bits."""
    words = "a prefix such as 192.0.2.0/24 or 2001:db8::/64"

    def parse(value: object) -> IPNetwork:
        if not isinstance(value, str) or "%" in value:
            raise ValueError(f"must be {words}, in quotes")
        try:
            prefix = ip_network(value)
        except ValueError as error:
            raise ValueError(f"must be {words} ({error})") from None
        if isinstance(prefix, IPv6Network) and prefix.network_address.ipv4_mapped is not None:
            raise ValueError(f"must be {words}; write IPv4 as IPv4")
        return prefix

    return Kind(parse, "prefix")


def port_range() -> Kind:
    """[first, last], both ends included."""
    words = "[first, last] UDP port, 1–65535"

    def parse(value: object) -> tuple[int, int]:
        match value:
            case [int(first), int(last)] if bool not in (type(first), type(last)):
                if 0 < first <= last < 65536:
                    return first, last
        raise ValueError(f"must be {words}, the first not above the last")

    return Kind(parse, words)


def list_of(kind: Kind, at_least: int = 0, at_most: int = 64) -> Kind:
    """An array without repetitions."""

    def parse(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be an array of {kind.words}")
        if not at_least <= len(value) <= at_most:
            raise ValueError(f"must have {at_least}–{at_most} entries, has {len(value)}")
        items = tuple(kind.parse(item) for item in value)
        if len(set(items)) != len(items):
            raise ValueError("lists an entry twice")
        return items

    return Kind(parse, f"array of {at_least}–{at_most}: {kind.words}")


def read_table(declared: type[T], table: object, path: str, problems: list[str]) -> T | None:
    """A dataclass from a TOML table. Faults are appended to `problems`; None when there were any."""
    if not isinstance(table, Mapping):
        problems.append(f"{path} must be a table")
        return None
    before = len(problems)
    fields = {f.name: f for f in dataclasses.fields(cast(Any, declared)) if "kind" in f.metadata}
    problems += [
        f"{path}.{key} is not a setting; {suggest(key, fields)}" for key in table if key not in fields
    ]
    values: dict[str, object] = {}
    for key, field in fields.items():
        if key in table:
            try:
                values[key] = field.metadata["kind"].parse(table[key])
            except ValueError as error:
                problems.append(f"{path}.{key} {error}")
        elif is_required(field):
            problems.append(f"{path}.{key} is missing: {field.metadata['help']}")
    return None if len(problems) > before else declared(**values)


def suggest(wrong: object, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known."""
    near = difflib.get_close_matches(str(wrong), list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def needs_restart(old: T, new: T, daemon: str) -> list[str]:
    """The settings that differ and that a reload of this daemon does not take, by name."""
    return [
        field.name
        for field in dataclasses.fields(cast(Any, old))
        if field.metadata["reloadable"] not in (True, daemon)
        and getattr(old, field.name) != getattr(new, field.name)
    ]


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether a declared setting has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
