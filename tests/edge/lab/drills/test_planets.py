"""Small planets are good files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.lab.drills import anycast, planets, pop_cut_off, rolling_deploy, transceiver_drain, uplink_cut
from edge.lab.planet import lifecycle, spec

TEXTS = {
    "anycast": anycast.TEXT,
    "pop cut off": pop_cut_off.TEXT,
    "rolling deploy": rolling_deploy.TEXT,
    "transceiver drained": transceiver_drain.TEXT,
    "uplink cut": uplink_cut.TEXT,
}


@pytest.mark.parametrize("name", TEXTS)
def test_they_have_no_fault(name: str) -> None:
    assert spec.parse(TEXTS[name]).pops


def test_values_are_written_as_toml_has_them() -> None:
    text = planets.planet(
        planets.city("berlin"),
        planets.pop("frankfurt", hosts=2, shared=["any"], redis="europe"),
        planets.region("europe", processes=3),
        planets.redis("europe", "pop-frankfurt"),
    )
    (pop,) = spec.parse(text).pops
    assert (pop.hosts, pop.shared, pop.redis) == (2, ("any",), "europe")
    assert spec.parse(text).regions[0].processes == 3


@pytest.mark.netns
@pytest.mark.slow
def test_a_client_is_not_told_that_the_way_to_a_pop_is_gone(tmp_path: Path) -> None:
    text = planets.planet(planets.city("berlin"), planets.pop("frankfurt"), planets.region("europe"))
    with lifecycle.running(text, f"b{os.getpid()}", start=False) as planet:
        city, pop = planet.city("berlin"), planet.pop("frankfurt")
        planets.blackhole(city, pop)
        for vip in pop.vips:
            assert city.way_to(vip.host) == "frankfurt"
