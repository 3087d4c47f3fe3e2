"""Places on the globe, and how far they are from each other."""

from __future__ import annotations

import math
from typing import NamedTuple

EARTH_RADIUS_KM = 6371.0088
"""The mean of the three axes of WGS 84."""


class Position(NamedTuple):
    """Degrees: north and east are positive."""

    latitude: float
    longitude: float

    @property
    def is_on_globe(self) -> bool:
        """Whether there is such a place; not a number is nowhere."""
        return -90.0 <= self.latitude <= 90.0 and -180.0 <= self.longitude <= 180.0


def distance_km(one: Position, other: Position) -> float:
    """Along the great circle, by the haversine formula: exact to half a percent, as the earth is no ball."""
    north, north_too = math.radians(one.latitude), math.radians(other.latitude)
    turn = math.radians(other.longitude - one.longitude)
    across = math.sin((north_too - north) / 2) ** 2
    along = math.cos(north) * math.cos(north_too) * math.sin(turn / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, across + along)))
