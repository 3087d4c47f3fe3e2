"""What tables say beyond their keys."""

from __future__ import annotations

import pytest

from core.addr import Endpoint
from core.config import PopSettings


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        (50.11, 8.68, (50.11, 8.68)),
        (0.0, 0.0, (0.0, 0.0)),
        (None, 8.68, None),
        (50.11, None, None),
        (None, None, None),
    ],
)
def test_a_pop_has_a_place_where_both_degrees_are_told(
    latitude: float | None, longitude: float | None, place: tuple[float, float] | None
) -> None:
    pop = PopSettings("fra", (Endpoint("192.0.2.1", 3478),), None, latitude, longitude)
    assert pop.place == place
