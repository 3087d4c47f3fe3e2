"""core.geo, against distances that are known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.geo import EARTH_RADIUS_KM, Position, distance_km
from tests.transceiver.steering.places import AMSTERDAM, FRANKFURT, NEW_YORK, OSAKA, SYDNEY, TOKYO

POSITIONS = st.builds(Position, st.floats(-90, 90), st.floats(-180, 180))
HALF_ROUND_KM = math.pi * EARTH_RADIUS_KM


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        (TOKYO, OSAKA, 397),
        (FRANKFURT, AMSTERDAM, 364),
        (FRANKFURT, NEW_YORK, 6203),
        (TOKYO, SYDNEY, 7823),
        (Position(0, 0), Position(0, 180), HALF_ROUND_KM),
        (Position(90, 0), Position(-90, 77), HALF_ROUND_KM),
        (Position(0, 179.5), Position(0, -179.5), 111),
        (Position(90, 0), Position(90, 123), 0),
    ],
)
def test_known_distances(one: Position, other: Position, km: float) -> None:
    assert distance_km(one, other) == pytest.approx(km, rel=0.005, abs=0.5)


@given(POSITIONS, POSITIONS, POSITIONS)
def test_it_is_a_metric(one: Position, other: Position, third: Position) -> None:
    assert distance_km(one, one) == 0
    assert distance_km(one, other) == pytest.approx(distance_km(other, one), abs=1e-6)
    assert 0 <= distance_km(one, other) <= HALF_ROUND_KM + 1e-6
    # Near the antipodes the formula loses digits: a metre is none too many.
    assert distance_km(one, third) <= distance_km(one, other) + distance_km(other, third) + 1e-3


@pytest.mark.parametrize(
    ("position", "is_there"),
    [
        (Position(90, 180), True),
        (Position(-90, -180), True),
        (Position(999, 0), False),
        (Position(0, 180.001), False),
        (Position(math.nan, 0), False),
        (Position(0, math.nan), False),
        (Position(0, -math.inf), False),
    ],
)
def test_what_is_on_the_globe(position: Position, is_there: bool) -> None:
    assert position.is_on_globe is is_there
