"""Which subnets a lab has, over whatever its machine has and routes."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import IpFamily
from core.errors import UnavailableError
from edge.lab.plan import MAX_LABS, LabPlan
from edge.lab.subnets import Network, Purpose, Subnets, candidates, choose, part

EVERY = [
    (purpose, family, net)
    for purpose in Purpose
    for family, nets in candidates(purpose).items()
    for net in nets
]


def nets(*texts: str) -> list[Network]:
    return [ip_network(text) for text in texts]


@st.composite
def near(draw: st.DrawFn) -> Network:
    """A prefix that holds some of a candidate, or is some of it."""
    _, _, candidate = draw(st.sampled_from(EVERY))
    length = draw(st.integers(0, candidate.max_prefixlen))
    if length <= candidate.prefixlen:
        return candidate.supernet(new_prefix=length)
    number = draw(st.integers(0, candidate.num_addresses - 1))
    return ip_network(f"{candidate[number]}/{length}", strict=False)


def chosen(subnets: Subnets, purpose: Purpose) -> dict[IpFamily, Network]:
    texts = {
        Purpose.BACKBONE: subnets.backbone,
        Purpose.VIPS: subnets.vips,
        Purpose.LINKS: subnets.links,
        Purpose.CLIENTS: subnets.clients,
    }[purpose]
    return dict(zip(IpFamily, map(ip_network, texts), strict=True))


def is_in_the_way(taken: Collection[Network], wanted: Network) -> bool:
    """By the first and the last address of both, and not as the chooser asks."""
    return any(
        net.version == wanted.version
        and net.prefixlen > (1 if net.version == 4 else 3)
        and int(net[0]) <= int(wanted[-1])
        and int(wanted[0]) <= int(net[-1])
        for net in taken
    )


@given(index=st.integers(0, MAX_LABS - 1), taken=st.sets(near(), max_size=30))
def test_it_takes_the_first_that_nothing_is_in_the_way_of(index: int, taken: set[Network]) -> None:
    free = {
        (purpose, family): [net for net in nets if not is_in_the_way(taken, part(purpose, net, index))]
        for purpose in Purpose
        for family, nets in candidates(purpose).items()
    }
    if not all(free.values()):
        with pytest.raises(UnavailableError):
            choose(index, taken)
        return
    subnets = choose(index, taken)
    for purpose in Purpose:
        for family, net in chosen(subnets, purpose).items():
            assert net == free[purpose, family][0]
    plan = LabPlan(index=index, subnets=subnets)
    for link in (plan.client, plan.public, plan.backbone, plan.region):
        for address in link.addresses:
            assert not is_in_the_way(taken, ip_network(address, strict=False))


@pytest.mark.parametrize(
    "taken",
    [
        (),
        ("0.0.0.0/0", "::/0"),
        ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1", "2000::/3"),
        ("10.0.0.0/8", "172.17.0.0/16", "192.168.0.0/16", "fd00::/64", "fe80::/64", "ff00::/8"),
    ],
    ids=["nothing", "default routes", "default routes of VPNs", "what machines have"],
)
def test_where_nothing_is_in_the_way_all_is_as_documented(taken: tuple[str, ...]) -> None:
    assert choose(0, nets(*taken)) == choose(5, nets(*taken)) == Subnets()


def test_a_lab_beside_another_has_the_same_subnets_and_other_addresses() -> None:
    """The first lab's client is the machine: the machine has its addresses, and routes its VIPs."""
    first = LabPlan(index=0, subnets=choose(0, ()), host_is_client=True)
    has = [ip_network(address, strict=False) for address in first.client.addresses]
    routes = [ip_network(vip.host) for vip in first.vips]
    assert choose(1, [*has, *routes]) == first.subnets
    assert choose(0, [*has, *routes]) != first.subnets


@pytest.mark.parametrize("index", [0, MAX_LABS - 1])
def test_no_two_purposes_meet(index: int) -> None:
    """Whichever of them have moved: part() also fails here where a candidate has no room for all labs."""
    parts = [(purpose, net, part(purpose, net, index)) for purpose, _, net in EVERY]
    assert all(net.version == own.version and own[0] in net for _, net, own in parts)
    for (one, net, _), (other, another, _) in combinations(parts, 2):
        assert one == other or net.version != another.version or not net.overlaps(another)


@pytest.mark.parametrize(
    ("purpose", "taken"),
    [
        (purpose, [net for p, f, net in EVERY if (p, f) == (purpose, family)])
        for purpose in Purpose
        for family in IpFamily
    ],
)
def test_where_nothing_is_free_it_says_what_was_looked_at(purpose: Purpose, taken: list[Network]) -> None:
    with pytest.raises(UnavailableError) as refusal:
        choose(0, taken)
    family = taken[0].version
    assert str(refusal.value).startswith(f"no IPv{family} addresses are free for the {purpose} of a lab")
    assert all(str(net) in str(refusal.value) for net in taken)
    assert f"ip -{family} route show table all" in str(refusal.value)
