"""A planet's file: what it says, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigError
from core.geo import Position
from edge.lab.planet import spec
from tests.edge.lab.planet.kit import SMALL

SITED = "latitude = 1\nlongitude = 2\n"
LEAST = f'[[city]]\nname = "c"\n{SITED}[[pop]]\nname = "p"\n{SITED}[[region]]\nname = "r"\n{SITED}'


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        spec.parse(text)
    return refused.value.problems


def test_the_built_in_planet_is_what_the_documentation_promises() -> None:
    planet = spec.default()
    assert [(pop.name, pop.hosts) for pop in planet.pops] == [("tokyo", 1), ("frankfurt", 2), ("virginia", 1)]
    assert [(region.hosts, region.processes) for region in planet.regions] == [(1, 2), (1, 2)]
    assert len(planet.cities) >= 3
    assert {pop.redis for pop in planet.pops} <= {redis.name for redis in planet.redis}


def test_what_is_not_said_has_a_default() -> None:
    planet = spec.parse(LEAST)
    assert planet.wan == spec.WanSpec()
    assert planet.planet == spec.SettingsSpec(forwarder="xdp", workers=1)
    (pop,), (region,) = planet.pops, planet.regions
    assert (pop.hosts, pop.uplinks, pop.backbones, pop.shared, pop.redis) == (1, 1, 1, (), None)
    assert (region.hosts, region.processes, region.redis) == (1, 1, None)
    assert (planet.redis, planet.links, planet.passed_on) == ((), (), {})


def test_places_are_cities_then_pops_then_regions() -> None:
    positions = spec.parse(SMALL).positions()
    assert list(positions) == ["city-tokyo", "city-paris", "pop-frankfurt", "pop-tokyo", "region-europe"]
    assert positions["pop-frankfurt"] == Position(50.11, 8.68)


def test_shared_vips_are_named_once_in_the_order_of_the_file() -> None:
    text = LEAST.replace('name = "p"', 'name = "p"\nshared = ["b", "a"]')
    text += f'[[pop]]\nname = "q"\nshared = ["a", "c"]\n{SITED}'
    assert spec.parse(text).shared_vips == ("b", "a", "c")


def test_settings_of_daemons_are_passed_on_as_they_are() -> None:
    planet = spec.parse(f"[relay]\nidle_timeout_s = 7\n[store]\nflow_lease_s = 60\n{LEAST}")
    assert planet.passed_on == {"relay": {"idle_timeout_s": 7}, "store": {"flow_lease_s": 60}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = [", "is no TOML: "),
        ("[[citty]]", "[citty] is not a table; did you mean city?"),
        ("[city]", "city must be written as [[city]]"),
        ("", "there is no [[pop]]: a planet has at least one"),
        ('[[city]]\nname = "Tokyo"', "city[0].name must be 1–12 small letters and digits, a letter first"),
        ('[[city]]\nname = "a-b"', "city[0].name must be 1–12 small letters and digits, a letter first"),
        ("[[city]]\nlatitude = 999", "city[0].latitude must be a number, -90–90 °"),
        ("[[city]]\nlatitude = nan", "city[0].latitude must be a number, -90–90 °"),
        ('[[pop]]\nname = "p"', "pop[0].longitude is missing: the same, east positive"),
        ("[[pop]]\nhost = 2", "pop[0].host is not a setting; did you mean hosts?"),
        ("[[pop]]\nhosts = 0", "pop[0].hosts must be a whole number, 1–8"),
        ("[[pop]]\nuplinks = 3", "pop[0].uplinks must be a whole number, 1–2"),
        ('[planet]\nforwarder = "auto"', "planet.forwarder must be one of xdp | userspace"),
        ("[wan]\nloss = 2", "wan.loss must be a number, 0–1"),
        ('[[link]]\nbetween = ["tokyo", "paris"]', "link[0].between must be the name of a place, such as"),
        ("[relay]\nidle_timeout = 3", "relay.idle_timeout is not a setting; did you mean idle_timeout_s?"),
        ("relay = 3", "relay must be a table"),
    ],
)
def test_a_fault_is_told_with_its_key_and_the_fix(text: str, problem: str) -> None:
    assert any(told.startswith(problem) for told in faults(text)), faults(text)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (f'[[city]]\nname = "c"\n{SITED}', "city[1].name c is used twice"),
        (f'[[pop]]\nname = "q"\nredis = "x"\n{SITED}', "pop[1].redis: there is no [[redis]] x"),
        ('[[redis]]\nname = "x"\nat = "pop-q"', "redis[0].at: there is no pop-q; did you mean pop-p?"),
        ('[[redis]]\nname = "x"\nat = "city-c"', "redis[0].at: there is no city-c"),
        (
            '[[link]]\nbetween = ["city-c", "pop-q"]',
            "link[0].between: there is no pop-q; did you mean pop-p?",
        ),
        (
            f'[[city]]\nname = "d"\n{SITED}[[link]]\nbetween = ["city-c", "city-d"]',
            "link[0].between: no link leads from city to city: one end is a PoP or a region",
        ),
        (
            '[[link]]\nbetween = ["city-c", "pop-p"]\n[[link]]\nbetween = ["pop-p", "city-c"]',
            "link[1].between: that link is in an entry before",
        ),
        (
            "".join(f'[[pop]]\nname = "s{n}"\nshared = ["v{n}"]\n{SITED}' for n in range(17)),
            "pop.shared: 17 names, and at most 16 are supported",
        ),
        (
            "".join(f'[[redis]]\nname = "s{n}"\nat = "pop-p"\n' for n in range(17)),
            "redis: there are 17, and at most 16 are supported",
        ),
    ],
)
def test_a_fault_between_tables_is_told(more: str, problem: str) -> None:
    (told,) = faults(LEAST + more)
    assert told.startswith(problem)


def test_all_faults_are_told_at_once() -> None:
    told = faults("[planet]\nworkers = 0\n[wan]\nseed = -1\n[[city]]\n[relay]\nnothing = 1")
    assert len(told) == 8


def test_a_file_is_named_with_what_is_wrong_in_it(tmp_path: Path) -> None:
    path = tmp_path / "planet.toml"
    with pytest.raises(ConfigError, match=r"planet\.toml: cannot be read: No such file"):
        spec.read(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"planet\.toml: is no text in UTF-8"):
        spec.read(path)
    path.write_text("[wan]\nloss = 2")
    with pytest.raises(ConfigError, match=r"planet\.toml: wan\.loss must be"):
        spec.read(path)
    path.write_text(SMALL)
    assert spec.read(path) == SMALL
