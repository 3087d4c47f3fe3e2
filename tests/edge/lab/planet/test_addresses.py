"""The addresses of a planet: whatever its size, nobody has another's."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise

import pytest

from core.addr import parse_address
from edge.lab.planet import addresses, spec
from edge.lab.planet.addresses import Pair

CITIES, POPS, REGIONS, SHARED = (
    range(1, most + 1) for most in (spec.MAX_CITIES, spec.MAX_POPS, spec.MAX_REGIONS, spec.MAX_SHARED_VIPS)
)
HOSTS, UPLINKS, REDIS = range(1, spec.MAX_HOSTS + 1), range(2), range(1, spec.MAX_REDIS + 1)
TRANSCEIVERS = range(1, spec.MAX_TRANSCEIVER_HOSTS + 1)


def prefixes() -> Iterator[Pair]:
    """Everything that a place announces."""
    yield from map(addresses.clients, CITIES)
    yield from map(addresses.vips, POPS)
    yield from map(addresses.shared_vips, SHARED)
    yield from map(addresses.pop_backbone, POPS)
    yield from map(addresses.region_backbone, REGIONS)


def in_pop(pop: int) -> Iterator[Pair]:
    for uplink in UPLINKS:
        yield addresses.pop_router(pop, uplink)
        yield from (addresses.pop_host(pop, host, uplink) for host in HOSTS)
    yield from (addresses.pop_redis(pop, number) for number in REDIS)
    for host in HOSTS:
        yield from addresses.pop_backbones(pop, host, spec.MAX_BACKBONES)


def in_region(region: int) -> Iterator[Pair]:
    yield addresses.region_router(region)
    yield from (addresses.region_redis(region, number) for number in REDIS)
    yield from (addresses.region_host(region, host) for host in TRANSCEIVERS)


def is_in(pair: Pair, around: Pair) -> bool:
    whole = [ip_network(text) for text in around.with_lengths]
    return all(ip_address(each) in network for each, network in zip(pair.both, whole, strict=True))


@pytest.mark.parametrize("of_family", [0, 1], ids=["ipv4", "ipv6"])
def test_no_two_places_announce_the_same(of_family: int) -> None:
    networks = [ip_network(pair.with_lengths[of_family]) for pair in prefixes()]
    ends = sorted((int(network[0]), int(network[-1])) for network in networks)
    assert all(last < first for (_, last), (first, _) in pairwise(ends))
    test_net, documentation = IPv4Network("198.18.0.0/15"), IPv6Network("2001:db8::/32")
    private, unique_local = IPv4Network("10.0.0.0/8"), IPv6Network("fc00::/7")
    ranges = ((test_net, private), (documentation, unique_local))[of_family]
    assert all(any(network.subnet_of(each) for each in ranges) for network in networks)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [1, spec.MAX_REGIONS])
def test_who_is_in_a_pop_or_a_region_has_an_address_of_its_own(number: int) -> None:
    for pairs, around in (
        (list(in_pop(number)), addresses.pop_backbone(number)),
        (list(in_region(number)), addresses.region_backbone(number)),
    ):
        texts = [text for pair in pairs for text in pair.both]
        assert len(texts) == len(set(texts))
        assert all(is_in(pair, around) for pair in pairs)
        assert addresses.pop_service(number) not in texts


def test_who_talks_on_a_network_is_on_it() -> None:
    for uplink in UPLINKS:
        router = addresses.pop_router(3, uplink)
        lan = [ip_network(text, strict=False) for text in router.with_lengths]
        for host in HOSTS:
            pair = addresses.pop_host(3, host, uplink)
            assert [ip_network(text, strict=False) for text in pair.with_lengths] == lan
    lans = [
        {ip_network(t, strict=False) for t in addresses.pop_router(3, uplink).with_lengths}
        for uplink in UPLINKS
    ]
    assert not lans[0] & lans[1]


def test_transceiver_hosts_are_numbered_in_their_cluster() -> None:
    cluster = [ip_network(text) for text in addresses.region_cluster(2).with_lengths]
    for host in TRANSCEIVERS:
        pair = addresses.region_host(2, host)
        assert [str(network[host - 1]) for network in cluster] == list(pair.both)


def test_texts_are_spelled_as_sockets_spell_them() -> None:
    pairs = [
        *prefixes(),
        *in_pop(1),
        *in_region(1),
        *map(addresses.client, CITIES),
        *map(addresses.vip, POPS),
    ]
    for pair in pairs:
        assert [parse_address(text) for text in pair.both] == list(pair.both)


def test_vips_and_clients_are_in_what_is_announced_for_them() -> None:
    assert all(is_in(addresses.client(n), addresses.clients(n)) for n in CITIES)
    assert all(is_in(addresses.vip(n), addresses.vips(n)) for n in POPS)
    assert all(is_in(addresses.shared_vip(n), addresses.shared_vips(n)) for n in SHARED)
    assert addresses.link_local(0) != addresses.link_local(1)
    assert all(ip_address(addresses.link_local(end)).is_link_local for end in (0, 1))
    (ipv4, ipv6) = addresses.vip(1).endpoints(3478)
    assert (str(ipv4), str(ipv6)) == ("198.19.1.1:3478", "[2001:db8:f01::1]:3478")
