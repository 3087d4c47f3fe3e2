"""transceiver.caller.steering: what our own servers write is read, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.caller.steering import (
    MAX_CHARS,
    SOURCES,
    WHYS,
    SteeredPop,
    SteeringReport,
    describe,
    parse_steering_untrusted,
)
from transceiver.steering.choice import Choice, Named, Why
from transceiver.steering.evidence import Source

NEAREST = '"nrt";source=database;why=nearest;km=12, "fra";km=9302'


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("why", Why)
@pytest.mark.parametrize("kms", [(None,), (12.4, None), (0.0, 9302.0)], ids=["one", "near", "two"])
def test_what_a_server_writes_is_read(source: Source, why: Why, kms: tuple[float | None, ...]) -> None:
    pops = tuple(Named(f"pop-{number}.x", (), km) for number, km in enumerate(kms))
    read = parse_steering_untrusted(Choice(source, why, pops).header)
    told = [SteeredPop(pop.id, None if pop.km is None else round(pop.km)) for pop in pops]
    assert read == SteeringReport(source, why, told)


def test_every_reason_has_words() -> None:
    assert set(WHYS) == set(Why)
    assert set(SOURCES) == {*Source} - {Source.DEFAULT}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (NEAREST, "nrt (nearest by our address, 12 km), then fra (9302 km)"),
        ('"near";source=default;why=order, "far"', "near (first of the configuration), then far"),
        ('"x";source=new;why=other', "x"),
        ('"x"', "x"),
        ('"x";km=1.2.3', "x"),
    ],
)
def test_it_is_told_in_words(header: str, words: str) -> None:
    read = parse_steering_untrusted(header)
    assert read is not None
    assert describe(read) == words


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nrt",
        '"nrt',
        '""',
        '"a" "b"',
        '"a",',
        '"a";km',
        '"\x1b[2J"',
        NEAREST + "\n",
        '"a", ' * 200 + '"a"',
    ],
)
def test_anything_else_is_nothing(text: str | None) -> None:
    assert parse_steering_untrusted(text) is None


@given(st.text(alphabet='"a;=,. km1', max_size=MAX_CHARS + 10))
def test_any_text_may_come(text: str) -> None:
    read = parse_steering_untrusted(text)
    assert read is None or (read.pops and describe(read))
