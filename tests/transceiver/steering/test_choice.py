"""transceiver.steering.choice: which two of a few PoPs in the world, for whom, and why."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint
from core.geo import Position, distance_km
from tests.transceiver.steering.places import AMSTERDAM, FRANKFURT, NEW_YORK, OSAKA, TOKYO
from transceiver.steering.choice import POPS_NAMED, Candidate, Choice, Why, choose
from transceiver.steering.evidence import NO_EVIDENCE, Evidence, Source
from transceiver.steering.fitness import Fitness

PLACES = {"fra": FRANKFURT, "ams": AMSTERDAM, "nyc": NEW_YORK, "nrt": TOKYO}
IN_OSAKA = Evidence(Source.LOCATION_HEADER, None, OSAKA)
IN_AMSTERDAM = Evidence(Source.DATABASE, None, AMSTERDAM)
THROUGH_TOKYO = Evidence(Source.POP_HEADER, "nrt", TOKYO)
BUSY, RETURNED, FULL = Fitness.BUSY, Fitness.RETURNED, Fitness.FULL
OUT = "out"


def world(**states: object) -> list[Candidate]:
    """fra, ams, nyc and nrt; each fit, or with a Fitness, or OUT."""
    return [
        Candidate(
            pop,
            (Endpoint(f"192.0.2.{number}", 3478),),
            position,
            is_usable=states.get(pop) is not OUT,
            fitness=state if isinstance(state := states.get(pop), Fitness) else Fitness.FIT,
        )
        for number, (pop, position) in enumerate(PLACES.items(), 1)
    ]


def chosen(choice: Choice | None) -> tuple[list[str], Why]:
    assert choice is not None
    return [pop.id for pop in choice.pops], choice.why


@pytest.mark.parametrize(
    ("evidence", "states", "pops", "why"),
    [
        (IN_OSAKA, {}, ["nrt", "ams"], Why.NEAREST),
        (IN_AMSTERDAM, {}, ["ams", "fra"], Why.NEAREST),
        (THROUGH_TOKYO, {}, ["nrt", "ams"], Why.NEAREST),
        (NO_EVIDENCE, {}, ["fra", "ams"], Why.ORDER),
        # Busy: another one is taken within 1000 km.
        (IN_AMSTERDAM, {"ams": BUSY}, ["fra", "ams"], Why.LOAD),
        (IN_OSAKA, {"nrt": BUSY}, ["nrt", "ams"], Why.NEAREST),
        (NO_EVIDENCE, {"fra": BUSY}, ["fra", "ams"], Why.ORDER),
        # Full: any other one.
        (IN_OSAKA, {"nrt": FULL}, ["ams", "fra"], Why.LOAD),
        (THROUGH_TOKYO, {"nrt": FULL}, ["ams", "fra"], Why.LOAD),
        (NO_EVIDENCE, {"fra": FULL}, ["ams", "nyc"], Why.LOAD),
        (IN_OSAKA, dict.fromkeys(PLACES, FULL), ["nrt", "ams"], Why.NEAREST),
        # Out, or only just back.
        (IN_OSAKA, {"nrt": OUT}, ["ams", "fra"], Why.HEALTH),
        (IN_OSAKA, {"nrt": RETURNED}, ["ams", "fra"], Why.HEALTH),
        (IN_OSAKA, {"fra": OUT, "ams": OUT, "nyc": OUT}, ["nrt"], Why.NEAREST),
        (IN_AMSTERDAM, {"fra": OUT, "ams": OUT}, ["nyc", "nrt"], Why.HEALTH),
        (IN_OSAKA, {"nrt": RETURNED, "fra": FULL, "ams": OUT, "nyc": OUT}, ["nrt", "fra"], Why.NEAREST),
        (THROUGH_TOKYO, {"nrt": OUT}, ["ams", "fra"], Why.HEALTH),
        (NO_EVIDENCE, {"fra": OUT}, ["ams", "nyc"], Why.HEALTH),
    ],
)
def test_who_is_led_where(evidence: Evidence, states: dict[str, object], pops: list[str], why: Why) -> None:
    choice = choose(world(**states), evidence)
    assert chosen(choice) == (pops, why)
    assert choice is not None
    assert choice.source is evidence.source


def test_with_no_usable_pop_there_is_no_choice() -> None:
    assert choose(world(**dict.fromkeys(PLACES, OUT)), IN_OSAKA) is None
    assert choose([], IN_OSAKA) is None


def test_without_places_the_order_of_the_configuration_counts() -> None:
    placeless = [dataclasses.replace(each, position=None) for each in world()]
    assert chosen(choose(placeless, IN_OSAKA)) == (["fra", "ams"], Why.ORDER)
    through = Evidence(Source.POP_HEADER, "nyc", None)
    assert chosen(choose(placeless, through)) == (["nyc", "fra"], Why.NEAREST)


def test_a_pop_without_a_place_comes_after_those_that_have_one() -> None:
    pops = world()
    pops[0] = dataclasses.replace(pops[0], position=None)
    assert chosen(choose(pops, IN_AMSTERDAM)) == (["ams", "nyc"], Why.NEAREST)
    assert chosen(choose(pops[:2], IN_AMSTERDAM)) == (["ams", "fra"], Why.NEAREST)


def test_the_pop_that_was_come_through_is_before_its_neighbour_in_the_same_place() -> None:
    twin = dataclasses.replace(world()[3], id="hnd")
    assert chosen(choose([twin, *world()], THROUGH_TOKYO)) == (["nrt", "hnd"], Why.NEAREST)


def test_a_shared_vip_is_named_once() -> None:
    anycast = Endpoint("203.0.113.1", 3478)
    pops = [dataclasses.replace(each, vips=(anycast, *each.vips)) for each in world()]
    choice = choose(pops, IN_OSAKA)
    assert choice is not None
    assert [vip.host for vip in choice.vips] == ["203.0.113.1", "192.0.2.4", "192.0.2.2"]


def test_the_header_says_it_in_structured_fields() -> None:
    choice = choose(world(), IN_OSAKA)
    assert choice is not None
    km = [round(distance_km(OSAKA, place)) for place in (TOKYO, AMSTERDAM)]
    assert choice.header == f'"nrt";source=location_header;why=nearest;km={km[0]}, "ams";km={km[1]}'
    choice = choose(world(**dict.fromkeys(("fra", "ams", "nyc"), OUT)), NO_EVIDENCE)
    assert choice is not None
    assert choice.header == '"nrt";source=default;why=health'


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.text("abcdef", min_size=1, max_size=3),
        st.just((Endpoint("192.0.2.1", 3478),)),
        st.none() | st.builds(Position, st.floats(-90, 90), st.floats(-180, 180)),
        is_usable=st.booleans(),
        fitness=st.sampled_from(Fitness),
    ),
    max_size=8,
    unique_by=lambda candidate: candidate.id,
)
EVIDENCE = st.just(NO_EVIDENCE) | st.builds(
    Evidence,
    st.just(Source.DATABASE),
    st.none(),
    st.builds(Position, st.floats(-90, 90), st.floats(-180, 180)),
)


@given(CANDIDATES, EVIDENCE)
def test_what_holds_for_every_choice(candidates: list[Candidate], evidence: Evidence) -> None:
    choice = choose(candidates, evidence)
    usable = {each.id: each for each in candidates if each.is_usable}
    assert (choice is None) == (not usable)
    if choice is None:
        return
    named = [pop.id for pop in choice.pops]
    assert len(named) == len(set(named)) == min(POPS_NAMED, len(usable))
    assert usable.keys() >= set(named), "nobody is led to a PoP that takes no calls"
    left = [each for each in usable.values() if each.id not in named]
    for pop, each in ((usable[pop], each) for pop in named for each in left):
        if each.fitness is Fitness.FIT:
            assert pop.fitness <= BUSY, "one that is full or only just back stands behind every fit one"
        if each.fitness is pop.fitness and None not in (each.position, pop.position, evidence.position):
            assert away(pop, evidence) <= away(each, evidence), "of those equally fit the nearest"


def away(candidate: Candidate, evidence: Evidence) -> float:
    assert candidate.position is not None
    assert evidence.position is not None
    return distance_km(candidate.position, evidence.position)
