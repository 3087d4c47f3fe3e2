"""Which links there are between places, and how long they take."""

from __future__ import annotations

import pytest

from core.geo import distance_km
from edge.lab.planet import spec
from edge.lab.planet.wan_links import plan_links
from tests.edge.lab.planet.kit import SMALL


def test_all_places_are_linked_but_cities_with_each_other() -> None:
    planet = spec.parse(SMALL)
    ends = [link.ends for link in plan_links(planet)]
    cities, others = ["city-tokyo", "city-paris"], ["pop-frankfurt", "pop-tokyo", "region-europe"]
    wanted = {(city, other) for city in cities for other in others}
    wanted |= {
        ("pop-frankfurt", "pop-tokyo"),
        ("pop-frankfurt", "region-europe"),
        ("pop-tokyo", "region-europe"),
    }
    assert len(ends) == len(set(ends))
    assert set(ends) == wanted
    assert [link.number for link in plan_links(planet)] == list(range(len(ends)))


def test_light_takes_its_time_and_so_does_access() -> None:
    planet = spec.parse(f"[wan]\nkm_per_ms = 100\ndetour = 2\naccess_ms = 7\n{SMALL}")
    links = {link.name: link for link in plan_links(planet)}
    at = planet.positions()
    km = distance_km(at["pop-frankfurt"], at["region-europe"])
    assert links["pop-frankfurt--region-europe"].delay_ms == pytest.approx(km / 100 * 2, abs=1e-3)
    assert links["city-tokyo--pop-tokyo"].delay_ms == 7
    far = links["city-tokyo--pop-frankfurt"]
    assert far.delay_ms == pytest.approx(far.km / 100 * 2 + 7, abs=1e-3)
    assert far.other("city-tokyo") == "pop-frankfurt"
    assert far.other("pop-frankfurt") == "city-tokyo"


def test_a_link_may_differ_in_any_part_and_in_either_order_of_its_ends() -> None:
    text = f"""[wan]
jitter_ms = 3
loss = 0.01
{SMALL}
[[link]]
between = ["pop-tokyo", "city-tokyo"]
delay_ms = 33
[[link]]
between = ["city-paris", "pop-frankfurt"]
loss = 0.5
jitter_ms = 0
"""
    links = {link.name: link for link in plan_links(spec.parse(text))}
    tokyo, paris = links["city-tokyo--pop-tokyo"], links["city-paris--pop-frankfurt"]
    assert (tokyo.delay_ms, tokyo.jitter_ms, tokyo.loss) == (33, 3, 0.01)
    assert (paris.delay_ms > 2, paris.jitter_ms, paris.loss) == (True, 0, 0.5)
