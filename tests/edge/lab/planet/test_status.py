"""What is said of a planet."""

from __future__ import annotations

from edge.lab.planet import status
from edge.lab.planet.status import BgpStatus, PlanetPlaceStatus, PlanetStatus
from edge.lab.processes import Process
from edge.lab.status import InterfaceStatus, PlaceStatus
from tests.edge.lab.planet.kit import small


def test_a_planet_that_is_not_there_has_places_that_are_gone() -> None:
    found = status.examine(small("nowhere"))
    assert len(found.places) == 11
    assert not any(place.status.exists for place in found.places)
    assert {place.bgp for place in found.places} == {None}
    lines = status.render(found).splitlines()
    assert lines[0] == "lab nowhere, a planet: call europe/1 http://10.2.1.128:8080 from a city"
    assert lines[1].split() == [
        *("city-tokyo", "client", "198.18.1.1,", "client", "2001:db8:c01::1"),
        *("namespace", "voxpop-nowhere-city-tokyo", "is", "gone"),
    ]


def test_for_people_there_is_a_line_for_each_place_and_each_process() -> None:
    nic = InterfaceStatus("eth0", "02", 1500, False, ["10.1.1.2"], "native")
    place = PlaceStatus(
        "pop-a-1", "voxpop-x-pop-a-1", True, [nic], [Process(77, "voxpop relay " + "x" * 200)]
    )
    told = PlanetStatus("x", "/x/planet.toml", {}, [PlanetPlaceStatus(["10.1.1.2"], BgpStatus(2, 1), place)])
    _, line, process = status.render(told).splitlines()
    assert line.split() == [
        *("pop-a-1", "10.1.1.2", "XDP", "native", "on", "eth0,", "eth0", "down,", "BGP", "1/2"),
    ]
    assert process.startswith("    77        voxpop relay xxx")
    assert len(process) < 110
    assert told.as_json()["places"] == [
        {
            "place": "pop-a-1",
            "namespace": "voxpop-x-pop-a-1",
            "exists": True,
            "about": ["10.1.1.2"],
            "interfaces": [
                {
                    "name": "eth0",
                    "mac": "02",
                    "mtu": 1500,
                    "is_up": False,
                    "addresses": ["10.1.1.2"],
                    "xdp": "native",
                }
            ],
            "processes": [{"pid": 77, "command": "voxpop relay " + "x" * 200}],
            "bgp": {"sessions": 2, "established": 1},
        }
    ]
