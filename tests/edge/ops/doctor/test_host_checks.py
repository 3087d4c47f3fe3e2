"""What the doctor says of a host: the real one, in a namespace whose faults the test makes."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from ebpf.net import netns
from edge.host.dataplane import load_plan
from edge.ops.doctor import host_checks
from edge.ops.doctor.checks import Check, Status
from tests.edge.xdp_scene import BACKBONES, VIPS, Pop, Scene

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def examined(pop: Pop) -> dict[str, list[Check]]:
    """The checks by name."""
    pop.write_config()
    found: dict[str, list[Check]] = {}
    with netns.inside(pop.scene.pop):
        for check in host_checks.check(load_plan(pop.config)):
            found.setdefault(check.name, []).append(check)
    return found


def test_a_host_that_could_have_the_fast_path(stopped: Pop) -> None:
    found = examined(stopped)
    for name in ("kernel", "rights", "bpffs", "vips", "backbone", "nat_ports", "listeners"):
        assert [check.status for check in found[name]] == [Status.OK], found[name]
    assert [check.status for check in found["interface pub"]] == [Status.OK, Status.FAILED]
    assert found["interface pub"][0].finding.startswith("virtual")
    assert "MTU 1500" in found["interface pub"][0].finding
    assert found["interface pub"][1].fix == "`voxpop dataplane run`"


def no_link(pop: Pop) -> None:
    pop.dataplane["interfaces"] = ["pub", "eth9"]


def link_down(pop: Pop) -> None:
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "down")


def jumbo(pop: Pop) -> None:
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "mtu", "9000")


def no_ethernet(pop: Pop) -> None:
    pop.dataplane["interfaces"] = ["pub", "lo"]


def no_vip(pop: Pop) -> None:
    pop.scene.ip(pop.scene.pop, "address", "del", f"{VIPS[0].host}/32", "dev", "pub")


def routed_backbone(pop: Pop) -> None:
    pop.scene.ip(pop.scene.pop, "address", "del", f"{BACKBONES[0]}/24", "dev", "bb")


def ephemeral(pop: Pop) -> None:
    pop.dataplane["nat_ports"] = [30000, 50000]


def no_bpffs(pop: Pop) -> None:
    pop.dataplane["pin_dir"] = str(pop.scene.directory / "nowhere")


def listener(pop: Pop) -> None:
    pop.scene.peer(pop.scene.pop, "0.0.0.0", 20001)


FAULTS: dict[str, tuple[Callable[[Pop], None], str, Status, str]] = {
    "no such interface": (no_link, "interface eth9", Status.FAILED, "there is none"),
    "a large MTU": (jumbo, "interface bb", Status.NOTE, "MTU 9000"),
    "an interface of another kind": (no_ethernet, "interface lo", Status.FAILED, "is no Ethernet interface"),
    "a VIP that nobody has": (no_vip, "vips", Status.FAILED, f"{VIPS[0].host}: no interface has it"),
    "a backbone address that is routed here": (routed_backbone, "backbone", Status.NOTE, BACKBONES[0]),
    "NAT ports among ephemeral ones": (ephemeral, "nat_ports", Status.NOTE, "overlap"),
    "no BPF file system": (no_bpffs, "bpffs", Status.FAILED, "is in no BPF file system"),
    "a socket on a NAT port": (listener, "listeners", Status.NOTE, "have ports of the NAT range: 20001"),
    "a link that is down": (link_down, "interface bb", Status.FAILED, "is down"),
}


def test_each_fault_is_found_under_its_name_with_what_to_do(stopped: Pop) -> None:
    before = examined(stopped)
    dataplane = dict(stopped.dataplane)
    for make, name, status, words in FAULTS.values():
        assert not any(words in check.finding for check in before.get(name, []))
        make(stopped)
        found = [check for check in examined(stopped)[name] if words in check.finding]
        assert [check.status for check in found] == [status], name
        assert found[0].fix
        stopped.dataplane = dict(dataplane)


def test_the_scene_is_one_of_its_own(stopped: Pop) -> None:
    """Otherwise the faults were this machine's."""
    assert isinstance(stopped.scene, Scene)
    assert netns.identity(stopped.scene.pop) != netns.identity_of_process(os.getpid())
