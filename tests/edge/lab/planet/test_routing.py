"""What BIRD is told in each place, by its own parser; and where a kernel's routes lead."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf.net import netns
from edge.lab.planet import programs, routing
from edge.lab.planet.layout import CitySite, Layout
from tests.edge.lab.planet.kit import default, largest, small


def accepted(text: str, folder: Path) -> bool:
    path = folder / "bird.conf"
    path.write_text(text)
    return subprocess.run([programs.find("bird"), "-p", "-c", str(path)], check=False).returncode == 0


@pytest.mark.parametrize("layout", [small(), largest()], ids=["small", "largest"])
def test_bird_takes_what_each_kind_of_place_says(layout: Layout, tmp_path: Path) -> None:
    assert not accepted("protocol nothing {}", tmp_path)
    for site in (layout.cities[0], layout.pops[-1], layout.pops[-1].hosts[-1], layout.regions[-1]):
        text = routing.configuration(layout, site)
        assert text is not None
        assert accepted(text, tmp_path), site.name
    assert routing.configuration(layout, layout.redis[0]) is None
    assert routing.configuration(layout, layout.transceiver_hosts[0]) is None


def test_a_city_prefers_the_pop_behind_the_faster_link() -> None:
    layout = default()
    delays = {link.other("city-tokyo"): link.delay_ms for link, _ in layout.links_of("city-tokyo")}
    text = routing.configuration(layout, layout.site("city-tokyo"))
    assert text is not None
    sessions = re.findall(r"protocol bgp (\w+) .*?bgp_local_pref = (\d+)", text, re.DOTALL)
    preferences = {name.replace("_", "-"): int(preference) for name, preference in sessions}
    assert preferences.keys() == delays.keys()
    assert sorted(preferences, key=preferences.__getitem__) == sorted(
        delays, key=delays.__getitem__, reverse=True
    )


def test_as_numbers_are_private_and_nobody_elses() -> None:
    layout = largest()
    numbers: list[str] = []
    for router in layout.routers:
        text = routing.configuration(layout, router)
        assert text is not None
        numbers += set(re.findall(r"local as (\d+)", text))
    assert len(numbers) == len(set(numbers)) == len(layout.routers)
    assert all(64512 <= int(number) <= 65534 for number in numbers)


def test_what_is_withheld_is_announced_no_more(tmp_path: Path) -> None:
    layout = small()
    pop = layout.pops[0]
    prefixes = tuple(text for pair in pop.announced for text in pair.with_lengths)
    text = routing.configuration(layout, pop, prefixes)
    assert text is not None
    assert text != routing.configuration(layout, pop)
    assert accepted(text, tmp_path)


ROUTES = (
    *("link add name near type veth peer name far", "link set near up", "link set far up"),
    *("addr add 10.0.0.1/24 dev near", "addr add fd00::1/64 dev near nodad"),
    *("route add 10.7.0.0/16 via 10.0.0.2", "route add 10.7.0.0/16 via 10.0.0.8 metric 50"),
    "route add 10.7.7.0/24 proto bird nexthop via 10.0.0.3 nexthop via 10.0.0.4",
    *("route add unreachable 10.7.8.0/24", "route add 10.7.7.7 via 10.0.0.9 table 77"),
    *("route add 10.9.0.0/16 via inet6 fe80::2 dev near", "-6 route add fd07::/48 via fd00::2"),
)


@pytest.fixture
def city() -> Iterator[CitySite]:
    """One with a few routes, of which the kernel chooses."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace")
    site = small(f"r{os.getpid()}").cities[0]
    netns.create(site.namespace)
    try:
        for words in ROUTES:
            subprocess.run(["ip", "-n", site.namespace, *words.split()], check=True)
        yield site
    finally:
        netns.remove(site.namespace)


@pytest.mark.netns
def test_next_hops_are_those_of_the_kernel(city: CitySite) -> None:
    def hops(address: str) -> list[tuple[str, str | None]]:
        return [(hop.interface, hop.gateway) for hop in routing.next_hops(city, address)]

    assert hops("10.7.0.1") == [("near", "10.0.0.2")]
    assert hops("10.7.7.7") == [("near", "10.0.0.3"), ("near", "10.0.0.4")]
    assert hops("10.7.8.1") == []
    assert hops("fd07::1") == [("near", "fd00::2")]
    assert hops("10.9.0.1") == [("near", "fe80::2")]
    assert hops("10.0.0.77") == [("near", None)]
    assert hops("11.0.0.1") == []
