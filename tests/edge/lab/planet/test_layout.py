"""Every place of a planet has names and addresses of its own, whatever the planet's size."""

from __future__ import annotations

import pytest

from core.errors import UnavailableError
from edge.lab.plan import DIRECTORY
from edge.lab.planet import network, spec
from edge.lab.planet.layout import HostSite, Layout, PopSite, RegionSite, TransceiverSite, interface_to
from tests.edge.lab.planet.kit import SMALL, default, largest, small

MOST_CHARACTERS = 15
"""Of an interface's name (linux/if.h)."""


def test_places_are_found_by_their_names() -> None:
    layout = small("x")
    assert [site.name for site in layout.sites()] == [
        *("city-tokyo", "city-paris"),
        *("pop-frankfurt", "pop-frankfurt-1", "pop-frankfurt-2", "pop-tokyo", "pop-tokyo-1"),
        *("region-europe", "region-europe-1", "redis-europe"),
    ]
    site = layout.site("pop-frankfurt-2")
    assert isinstance(site, HostSite)
    assert (site.namespace, site.directory) == (
        "voxpop-x-pop-frankfurt-2",
        DIRECTORY / "x" / "pop-frankfurt-2",
    )
    with pytest.raises(UnavailableError, match=r"lab x has no place pop-frankfurt-3; did you mean pop-f"):
        layout.site("pop-frankfurt-3")


@pytest.mark.parametrize("layout", [default(), largest()], ids=["default", "largest"])
def test_names_are_nobody_elses_and_fit(layout: Layout) -> None:
    names = network.namespaces(layout)
    assert len(names) == len(set(names))
    for router in layout.routers:
        interfaces = [interface_to(link.other(router.name)) for link, _ in layout.links_of(router.name)]
        if isinstance(router, PopSite | RegionSite):
            interfaces += [port for host in router.hosts for port in ports(host)]
            interfaces += [redis.port for redis in layout.redis if redis.behind is router]
        assert len(interfaces) == len(set(interfaces))
        assert all(len(name) <= MOST_CHARACTERS for name in interfaces)


def ports(host: HostSite | TransceiverSite) -> tuple[str, ...]:
    return host.ports if isinstance(host, HostSite) else (host.port,)


def test_both_ends_know_a_link_and_are_different_ends() -> None:
    layout = default()
    for link in layout.links:
        one, other = link.ends
        assert (link, 0) in layout.links_of(one)
        assert (link, 1) in layout.links_of(other)


def test_a_redis_is_behind_the_router_that_its_file_says() -> None:
    europe, america, tokyo = (default().redis_named(name) for name in ("europe", "america", "tokyo"))
    assert europe is not None
    assert america is not None
    assert tokyo is not None
    assert [each.behind.name for each in (europe, america, tokyo)] == [
        *("pop-frankfurt", "pop-virginia", "pop-tokyo")
    ]
    assert len({each.url for each in (europe, america, tokyo)}) == 3
    assert default().redis_named("asia") is None
    assert default().redis_named(None) is None
    layout = small()
    (of_region,) = layout.redis
    assert of_region.behind is layout.regions[0]


def test_vips_of_a_pop_are_its_own_then_those_that_it_shares() -> None:
    frankfurt, tokyo = small().pops
    assert len(frankfurt.vips) == len(tokyo.vips) == 2
    assert frankfurt.vips[0] != tokyo.vips[0]
    assert frankfurt.vips[1] == tokyo.vips[1]
    assert [host.pop for host in frankfurt.hosts] == [frankfurt, frankfurt]


def test_a_redis_that_is_too_far_is_named_with_how_far() -> None:
    far = SMALL.replace('shared = ["any"]\n\n[[region]]', 'shared = ["any"]\nredis = "europe"\n\n[[region]]')
    (told,) = Layout("x", spec.parse(far)).faults()
    assert told == (
        "pop[1].redis: 134 ms to europe and back, where a store is waited for 100 ms: name one that is "
        "nearer, or raise store.timeout_ms"
    )
    assert Layout("x", spec.parse(f"[store]\ntimeout_ms = 200\n{far}")).faults() == []
    assert Layout("x", spec.parse(far.replace('at = "region-europe"', 'at = "pop-tokyo"'))).faults() != []
    assert [layout.faults() for layout in (small(), default())] == [[], []]
