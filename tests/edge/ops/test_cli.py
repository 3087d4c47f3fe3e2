"""What operators type, and what they read."""

from __future__ import annotations

import argparse

import pytest

from edge.ops.doctor.checks import Check, failed, note, ok
from edge.ops.doctor.examine import render as render_checks
from edge.ops.flow_query import Idle, parse_idle, parse_side
from edge.ops.flows import _limit
from edge.ops.render import duration, quantity, table
from voxpop import build_parser


@pytest.mark.parametrize(
    ("text", "prefix", "port"),
    [
        ("192.0.2.0/24", "192.0.2.0/24", None),
        ("192.0.2.7/24", "192.0.2.0/24", None),
        ("192.0.2.1", "192.0.2.1/32", None),
        ("192.0.2.1:3478", "192.0.2.1/32", 3478),
        ("2001:db8::/32", "2001:db8::/32", None),
        ("2001:db8::1", "2001:db8::1/128", None),
        ("[2001:db8::1]:3478", "2001:db8::1/128", 3478),
    ],
)
def test_sides(text: str, prefix: str, port: int | None) -> None:
    side = parse_side(text)
    assert (str(side.prefix), side.port) == (prefix, port)


@pytest.mark.parametrize("text", ["", "here", "192.0.2.1:", "192.0.2.1:99999", "[2001:db8::1", "1.2.3:4"])
def test_what_is_no_side(text: str) -> None:
    with pytest.raises(ValueError, match="is no address, prefix or ADDRESS:PORT"):
        parse_side(text)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (">30s", Idle(True, 30 * 10**9)),
        ("< 500ms", Idle(False, 500 * 10**6)),
        (">1.5m", Idle(True, 90 * 10**9)),
        (">2h", Idle(True, 7200 * 10**9)),
    ],
)
def test_idle_bounds(text: str, bound: Idle) -> None:
    assert parse_idle(text) == bound


@pytest.mark.parametrize("text", ["30s", ">30", ">s", "=3s", ">-3s"])
def test_what_is_no_idle_bound(text: str) -> None:
    with pytest.raises(ValueError, match="is no bound"):
        parse_idle(text)


def test_limits() -> None:
    assert (_limit("0"), _limit("7")) == (None, 7)
    with pytest.raises(argparse.ArgumentTypeError):
        _limit("-1")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (42.7, "42s"), (190, "3m10s"), (18120, "5h02m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (812.4, "812"), (1234, "1.2k"), (256_000, "256k"), (3.4e6, "3.4M"), (5.6e9, "5.6G")],
)
def test_quantities(number: float, text: str) -> None:
    assert quantity(number) == text


def test_a_table_is_in_line() -> None:
    text = table(("NAME", "N"), [("a", 5), ("longer", 1234)], right=frozenset({1}))
    assert text.splitlines() == ["NAME       N", "a          5", "longer  1234"]


def test_a_report_says_what_to_do() -> None:
    checks: list[Check] = [
        ok("one", "fine"),
        note("two", "so so", "think"),
        failed("three", "broken", "mend it"),
    ]
    assert render_checks(checks).splitlines() == [
        "ok      one: fine",
        "note    two: so so",
        "        → think",
        "FAILED  three: broken",
        "        → mend it",
        "3 checks, 1 failed",
    ]


@pytest.mark.parametrize(
    "argv",
    [
        ["flows", "list", "--client", "x"],
        ["flows", "count", "--idle", "3"],
        ["stats", "--config", "a", "--pin-dir", "b"],
    ],
)
def test_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(argv)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
