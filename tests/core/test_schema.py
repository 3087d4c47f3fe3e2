"""core.schema: each kind of setting, and tables of them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import schema
from core.addr import Endpoint, IpFamily
from core.schema import Kind, needs_restart, read_table, setting, suggest

GOOD: list[tuple[Kind, object, object]] = [
    (schema.integer(1, 5), 1, 1),
    (schema.integer(1, 5), 5, 5),
    (schema.integer_or("address", -1, 0, 5), 5, 5),
    (schema.integer_or("address", -1, 0, 5), "address", -1),
    (schema.number(0.5, 5), 0.5, 0.5),
    (schema.number(0.5, 5), 5, 5.0),
    (schema.boolean(), False, False),
    (schema.text(), "grüß dich", "grüß dich"),
    (schema.name(), "pop-1.ams_x", "pop-1.ams_x"),
    (schema.choice("a", "b"), "b", "b"),
    (schema.origin(), "*", "*"),
    (schema.origin(), "https://example.com", "https://example.com"),
    (schema.origin(), "http://[::1]:8080", "http://[::1]:8080"),
    (schema.endpoint(), "[2001:DB8::1]:3478", Endpoint("2001:db8::1", 3478)),
    (schema.address(), "192.0.2.1", "192.0.2.1"),
    (schema.network(IpFamily.V4), "10.0.0.0/8", IPv4Network("10.0.0.0/8")),
    (schema.network(IpFamily.V4), "192.0.2.1", IPv4Network("192.0.2.1/32")),
    (schema.network(IpFamily.V6), "2001:db8::/64", IPv6Network("2001:db8::/64")),
    (schema.region(), "https://voice-us.example.com", "https://voice-us.example.com"),
    (schema.region(), "http://[::1]:8080", "http://[::1]:8080"),
    (schema.any_network(), "10.0.0.0/8", IPv4Network("10.0.0.0/8")),
    (schema.any_network(), "2001:db8::1", IPv6Network("2001:db8::1/128")),
    (schema.port_range(), [40000, 40000], (40000, 40000)),
    (schema.port_range(), [1, 65535], (1, 65535)),
    (schema.list_of(schema.integer(0, 9)), [], ()),
    (schema.list_of(schema.integer(0, 9), 1, 2), [3, 1], (3, 1)),
]

BAD: list[tuple[Kind, object, str]] = [
    (schema.integer(1, 5), 0, "whole number, 1–5"),
    (schema.integer(1, 5), 6, "whole number, 1–5"),
    (schema.integer_or("address", -1, 0, 5), -1, 'whole number, 0–5, or "address"'),
    (schema.integer_or("address", -1, 0, 5), "adress", 'whole number, 0–5, or "address"'),
    (schema.integer_or("address", -1, 0, 5), True, 'or "address"'),
    (schema.integer(0, 5), True, "whole number"),
    (schema.integer(0, 5), 1.0, "whole number"),
    (schema.integer(0, 5, "s"), "1", "0–5 s"),
    (schema.number(0.5, 5), 0.4, "a number, 0.5–5"),
    (schema.number(0, 5), float("nan"), "a number"),
    (schema.number(0, 5), float("inf"), "a number"),
    (schema.number(0, 5), False, "a number"),
    (schema.boolean(), "true", "true or false"),
    (schema.boolean(), 1, "true or false"),
    (schema.text(), "", "in quotes"),
    (schema.text(), 7, "in quotes"),
    (schema.text(), "a\0b", "in quotes"),
    (schema.text(), "a\nb", "in quotes"),
    (schema.name(), "two words", "letters, digits"),
    (schema.name(), "x" * 65, "letters, digits"),
    (schema.name(), "pop\n", "letters, digits"),
    (schema.choice("a", "b"), "c", r"a \| b"),
    (schema.choice("a", "b"), ["a"], r"a \| b"),
    (schema.origin(), "https://example.com/", "without a path"),
    (schema.origin(), "example.com", "without a path"),
    (schema.endpoint(), 3478, "in quotes"),
    (schema.endpoint(), "localhost:3478", "not an IP address"),
    (schema.address(), "localhost", "not an IP address"),
    (schema.address(), None, "in quotes"),
    (schema.network(IpFamily.V4), "10.0.0.1/8", "host bits"),
    (schema.network(IpFamily.V4), "2001:db8::/64", "IPv4 prefix"),
    (schema.network(IpFamily.V4), 167772160, "in quotes"),
    (schema.network(IpFamily.V4), "0.0.0.0/0", "multicast"),
    (schema.network(IpFamily.V4), "239.0.0.0/24", "multicast"),
    (schema.network(IpFamily.V6), "::/0", "multicast"),
    (schema.network(IpFamily.V6), "fe80::%eth0/64", "IPv6 prefix"),
    (schema.region(), "https://voice.example/v1", "without a path"),
    (schema.region(), "*", "without a path"),
    (schema.region(), "https://a.example; img-src *", "without a path"),
    (schema.any_network(), "10.0.0.1/8", "host bits"),
    (schema.any_network(), "proxy.example", "a prefix such as"),
    (schema.any_network(), 167772160, "in quotes"),
    (schema.any_network(), "fe80::%eth0/64", "in quotes"),
    (schema.any_network(), "::ffff:10.0.0.0/104", "write IPv4 as IPv4"),
    (schema.port_range(), [40001, 40000], "first"),
    (schema.port_range(), [0, 1], "first"),
    (schema.port_range(), [1, 65536], "first"),
    (schema.port_range(), [True, 5], "first"),
    (schema.port_range(), [1, 2, 3], "first"),
    (schema.port_range(), 40000, "first"),
    (schema.list_of(schema.integer(0, 9)), 3, "an array of"),
    (schema.list_of(schema.integer(0, 9)), [3, 3], "twice"),
    (schema.list_of(schema.integer(0, 9)), [3, "x"], "whole number"),
    (schema.list_of(schema.integer(0, 9), 1, 2), [], "1–2 entries, has 0"),
    (schema.list_of(schema.integer(0, 9), 1, 2), [1, 2, 3], "1–2 entries, has 3"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_what_is_allowed(kind: Kind, value: object, expected: object) -> None:
    parsed = kind.parse(value)
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(("kind", "value", "complaint"), BAD)
def test_what_is_not(kind: Kind, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        kind.parse(value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", [kind for kind, _, _ in GOOD])
@given(value=anything)
def test_any_toml_value_parses_or_is_refused_with_a_sentence(kind: Kind, value: object) -> None:
    try:
        kind.parse(value)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - most values are refused, some are not


@dataclass(frozen=True)
class Table:
    """A table for these tests."""

    needed: int = setting(schema.integer(0, 9), "how many there are")
    spare: int = setting(schema.integer(0, 9), "how many more", default=4)


def read(table: object) -> tuple[Table | None, list[str]]:
    problems: list[str] = []
    return read_table(Table, table, "path", problems), problems


def test_a_table_is_read_with_its_defaults() -> None:
    assert read({"needed": 1}) == (Table(1, 4), [])
    assert read({"needed": 1, "spare": 2}) == (Table(1, 2), [])


def test_all_faults_of_a_table_are_named_at_once() -> None:
    assert read({"spare": 10, "neded": 1, "zzz": 1}) == (
        None,
        [
            "path.neded is not a setting; did you mean needed?",
            "path.zzz is not a setting; known are needed, spare",
            "path.needed is missing: how many there are",
            "path.spare must be a whole number, 0–9",
        ],
    )


@pytest.mark.parametrize("table", [3, "x", None, [], [{}]])
def test_what_is_not_a_table_is_refused(table: object) -> None:
    assert read(table) == (None, ["path must be a table"])


def test_a_hint_is_given_for_what_looks_like_a_slip() -> None:
    assert suggest("relais", ["relay", "token"]) == "did you mean relay?"
    assert suggest(7, ["relay", "token"]) == "known are relay, token"


@dataclass(frozen=True)
class Reloadable:
    """Settings of each kind of reload."""

    fixed: int = setting(schema.integer(0, 9), "fixed", default=0)
    free: int = setting(schema.integer(0, 9), "free", default=0, reloadable=True)
    relays: int = setting(schema.integer(0, 9), "relays", default=0, reloadable="relay")


def test_what_no_reload_takes_is_named_when_it_differs() -> None:
    old = Reloadable()
    assert needs_restart(old, old, "relay") == []
    assert needs_restart(old, Reloadable(1, 1, 1), "relay") == ["fixed"]
    assert needs_restart(old, Reloadable(1, 1, 1), "transceiver") == ["fixed", "relays"]
    assert needs_restart(old, Reloadable(free=1), "transceiver") == []
