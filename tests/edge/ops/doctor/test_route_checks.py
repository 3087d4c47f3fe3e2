"""What the doctor says of a host's routing: the real one, with two uplinks, whose faults the test makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf.net import netns
from edge.host.dataplane import load_plan
from edge.ops.doctor import route_checks
from edge.ops.doctor.checks import Check, Status
from tests.edge.kit import eventually
from tests.edge.uplinks_scene import UPLINKS, Uplinks
from tests.edge.xdp_scene import BACKBONES, VIPS, Pop

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]
OK, NOTE, FAILED = Status.OK, Status.NOTE, Status.FAILED


class Host:
    """A PoP host on which nothing runs."""

    def __init__(self, scene: Uplinks) -> None:
        self.scene = scene
        self.pop = Pop(scene, dataplane={"interfaces": list(UPLINKS)})

    def ip(self, words: str) -> None:
        self.scene.ip(self.scene.pop, *words.split())

    def examined(self) -> list[Check]:
        self.pop.write_config()
        with netns.inside(self.scene.pop):
            return list(route_checks.check(load_plan(self.pop.config)))

    def says(self, status: Status, name: str, *parts: str) -> bool:
        return any(
            each.status is status and each.name == name and all(part in each.finding for part in parts)
            for each in self.examined()
        )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    scene = Uplinks(tmp_path)
    with scene:
        yield Host(scene)


def test_each_route_is_shown_with_its_legs(host: Host) -> None:
    host.scene.use(host.scene.pop, (0, 1), (1, 3))
    host.ip("route add unreachable 10.66.0.0/16")
    found = host.examined()
    assert [each for each in found if each.status is not OK] == []
    assert host.says(
        OK, "route 0.0.0.0/0 of table main",
        "via 10.255.0.1 dev up0: followed; via 10.255.10.1 dev up1 weight 3: followed",
    )  # fmt: skip
    assert host.says(OK, "route ::/0 of table main", "dev up0: followed", "dev up1 weight 3: followed")
    assert host.says(OK, "route 10.66.0.0/16 of table main", "refuses")
    assert host.says(OK, "routing", f"from {BACKBONES[0]}, {VIPS[0].host}", "main, default")


def test_a_leg_that_takes_no_flow_is_named_with_the_reason(host: Host) -> None:
    route = "route 0.0.0.0/0 of table main"
    host.scene.cut(0)
    eventually(lambda: host.says(NOTE, route, "dev up0: is down", "dev up1: followed"), "the carrier is lost")
    host.ip("neigh replace 10.255.10.1 dev up1 nud failed")
    assert host.says(NOTE, route, "dev up1: its router does not answer")
    host.pop.dataplane["interfaces"] = ["up0"]
    assert host.says(NOTE, route, "dev up1: not among dataplane.interfaces")


def test_rules_and_their_tables_are_shown(host: Host) -> None:
    host.scene.route_by_source(0, 1)
    assert host.says(OK, "routing", f"from {VIPS[0].host}", "100, main, default")
    assert host.says(OK, "routing", f"from {BACKBONES[0]}", "200, main, default")
    assert host.says(OK, "route 0.0.0.0/0 of table 100", "via 10.255.0.1 dev up0: followed")
    host.ip("route add 10.0.0.0/8 dev up0 table 300")
    assert host.says(OK, "routing", "IPv4 table 300 has 1 routes, and no rule that leads our packets there")


@pytest.mark.parametrize(
    ("commands", "status", "words"),
    [
        (["rule add pref 9 sport 53 lookup 100"], NOTE, "the IPv4 rule 9 chooses by sport 53-53"),
        (["route add 10.0.0.0/8 via 10.255.0.1 tos 0x10"], NOTE, "is for tos 0x10 alone"),
        (
            ["route add 10.0.0.0/8 nexthop dev up0 nexthop dev up1"],
            NOTE,
            "the route to 10.0.0.0/8 of table 254 has legs without a router: the first alone is taken",
        ),
        (
            ["rule add pref 9 from 192.0.2.11 lookup 100", "route add default via 10.255.0.1 table 100"],
            FAILED,
            "packets from 192.0.2.11 are routed unlike those from 192.0.2.10",
        ),
    ],
    ids=["a rule", "a type of service", "legs to a link", "backbone addresses"],
)
def test_what_is_not_followed_is_named(host: Host, commands: list[str], status: Status, words: str) -> None:
    host.pop.dataplane["backbone"] = [*BACKBONES, "192.0.2.11"]
    assert not any("not followed" in each.finding for each in host.examined())
    for command in commands:
        host.ip(command)
    (found,) = [each for each in host.examined() if "not followed" in each.finding]
    assert (found.status, words in found.finding) == (status, True)
    assert found.fix


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("ipv4/fib_multipath_hash_policy", "is spread by addresses alone"),
        ("ipv6/conf/up1/ignore_routes_with_linkdown", "goes by up1 also while that is without a carrier"),
    ],
    ids=["hash policy", "links that are down"],
)
def test_settings_that_two_uplinks_want_are_asked_for(host: Host, path: str, words: str) -> None:
    netns.set_option(host.scene.pop, f"net/{path}", 0)
    (found,) = [each for each in host.examined() if each.status is NOTE]
    assert words in found.finding
    assert found.fix.startswith("`sysctl net.ipv")
    host.scene.use(host.scene.pop, (1,))
    assert not [each for each in host.examined() if each.status is NOTE], "with one leg they do not matter"
