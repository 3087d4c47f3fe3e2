"""The WAN of a planet: what its process is told, and its links by their ends."""

from __future__ import annotations

import pytest

from edge.lab.planet import links
from edge.lab.planet.planet import Planet
from edge.lab.planet.speaker import until
from tests.edge.lab.planet.kit import small
from tests.reach import reaches


def test_the_process_is_told_of_each_link_both_ends_and_how_it_is() -> None:
    layout = small("x")
    told = {link.name: link for link in links.of_process(layout)}
    assert len(told) == len(layout.links)
    link = told["city-tokyo--pop-frankfurt"]
    one, other = link.ends
    assert (one.place, one.namespace, one.interface) == ("city-tokyo", "voxpop-x-city-tokyo", "p-frankfurt")
    assert (other.place, other.namespace, other.interface) == (
        *("pop-frankfurt", "voxpop-x-pop-frankfurt", "c-tokyo"),
    )
    assert link.conditions.delay_ms == layout.links[0].delay_ms


@pytest.mark.netns
@pytest.mark.slow
def test_a_link_is_cut_slowed_and_restored_by_its_ends(planet: Planet) -> None:
    city, host = planet.city("tokyo"), planet.transceiver("europe/1")
    link = planet.wan.link("region-europe", "city-tokyo")
    assert link is planet.wan.link("city-tokyo", "region-europe")
    assert len(planet.wan.links("city-tokyo")) == 3
    assert len(planet.wan.links()) == 9
    assert reaches(city.namespace, host.namespace, host.addresses[0])
    link.set(delay_ms=3, loss=1.0, sender="city-tokyo")
    assert link.state()["city-tokyo"].conditions.loss == 1.0
    assert link.state()["region-europe"].conditions.loss == 0.0
    assert not reaches(city.namespace, host.namespace, host.addresses[1])
    link.set(delay_ms=link.plan.delay_ms, loss=0.0)
    link.cut()
    until(lambda: link.state()["city-tokyo"].is_cut, "it is cut")
    assert city.way_to(host.addresses[0]) is None or not reaches(
        city.namespace, host.namespace, host.addresses[0]
    )
    link.restore()
    until(lambda: reaches(city.namespace, host.namespace, host.addresses[0]), "it carries again")
