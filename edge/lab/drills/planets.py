"""Small planets for drills: no more than one needs, so that what is measured is not the machine."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import UnavailableError
from edge.lab.drills.stage import PATIENT
from edge.lab.plan import table
from edge.lab.planet.layout import interface_to
from edge.lab.planet.planet import City, Pop

PLACES: Mapping[str, tuple[float, float]] = {
    "berlin": (52.52, 13.40),
    "frankfurt": (50.11, 8.68),
    "amsterdam": (52.37, 4.90),
    "europe": (53.35, -6.26),
    "america": (39.96, -83.00),
}
"""Latitude and longitude; Europe's region is in Dublin, America's in Ohio."""
LAST_RESORT = 1_000_000_000
"""Metric of a route that is used when there is no other."""


def city(name: str) -> str:
    """Where callers are."""
    return _table("city", name)


def pop(name: str, **more: object) -> str:
    """A PoP; `more` as in the file of a planet."""
    return _table("pop", name, **more)


def region(name: str, **more: object) -> str:
    """A region."""
    return _table("region", name, **more)


def redis(name: str, at: str) -> str:
    """A store, behind the router of a PoP or a region."""
    return table("[[redis]]", {"name": name, "at": at})


def planet(*tables: str) -> str:
    """All of a file."""
    return "\n".join((*tables, table("[transceiver]", PATIENT)))


def _table(kind: str, name: str, **more: object) -> str:
    latitude, longitude = PLACES[name]
    return table(f"[[{kind}]]", {"name": name, "latitude": latitude, "longitude": longitude, **more})


def blackhole(city: City, pop: Pop) -> None:
    """Packets of a city for a PoP's VIPs go there also while there is no route: as in the Internet, nobody
    tells a client that they are lost.
    """
    for vip in pop.vips:
        prefix = f"{vip.host}/{8 * vip.family.address_bytes}"
        words = ["ip", f"-{vip.family}", "route", "add", prefix, "dev", interface_to(pop.name)]
        done = city.run([*words, "metric", str(LAST_RESORT)])
        if done.returncode != 0:
            raise UnavailableError(f"{' '.join(words)}: {done.stderr}")
