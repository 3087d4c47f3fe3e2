"""The network of a lab, made and removed without anything that runs in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ebpf.errors import DataplaneError
from ebpf.net import netns
from edge.lab import network
from edge.lab.plan import LabPlan, Place
from tests.reach import reaches

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def plan() -> Iterator[LabPlan]:
    made = LabPlan(name=f"n{os.getpid()}")
    yield made
    network.remove(made)
    assert not network.is_there(made)


def test_everybody_reaches_whom_they_have_to(plan: LabPlan) -> None:
    assert not network.is_there(plan)
    network.build(plan)
    assert network.is_there(plan)
    client, pop, region = (plan.namespaces[place] for place in (Place.CLIENT, Place.POP, Place.REGION))
    for vip in plan.vips:
        assert reaches(client, pop, vip.host)
    for host in plan.region_hosts:
        assert reaches(pop, region, host)
        assert not reaches(client, region, host), "the region is behind the PoP"
    for host in plan.client_hosts:
        assert reaches(pop, client, host)
    for host in plan.backbone_hosts:
        assert reaches(region, pop, host)


def test_half_of_it_can_be_removed_and_none_of_it_too(plan: LabPlan) -> None:
    network.remove(plan)
    pop = plan.namespaces[Place.POP]
    assert pop is not None
    netns.create(pop)
    assert network.is_there(plan)
    with pytest.raises(DataplaneError, match=f"cannot give the network namespace {pop} its name"):
        network.build(plan)
    network.remove(plan)
    assert not network.is_there(plan)
