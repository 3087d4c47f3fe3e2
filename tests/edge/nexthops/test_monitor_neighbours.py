"""Neighbours of a PoP that an operator has set, that never answer, or that change without a word."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ebpf.net import netns
from edge.nexthops.monitor import CONFIRM_S
from tests.edge.kit import eventually
from tests.edge.xdp_scene import GATEWAYS, Call, Pop, Scene, arrives_up

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

MAC = "02:00:00:00:00:77"
NEW_MAC = "02:00:00:00:77:02"


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    """Nothing runs; the region's MAC is known beforehand, and it answers no ARP."""
    with Scene(tmp_path) as scene, Pop(scene) as pop:
        scene.ip(scene.region, "link", "set", "r0", "address", MAC)
        yield pop


def silence(pop: Pop) -> None:
    """The region answers no more questions for its MAC, neither by ARP nor by neighbour discovery."""
    with netns.inside(pop.scene.region):
        rules = (
            "table netdev quiet {\nchain c {\ntype filter hook ingress device r0 priority 0;\n"
            "arp operation request drop\nicmpv6 type nd-neighbor-solicit drop\n}\n}\n"
        )
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def entries(pop: Pop) -> dict[str, dict[str, object]]:
    """What the kernel has of the routers."""
    listed = subprocess.run(
        ["ip", "-n", pop.scene.pop, "-json", "-details", "neigh", "show", "nud", "all", "dev", "bb"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return {row["dst"]: row for row in json.loads(listed) if row["dst"] in GATEWAYS}


@pytest.mark.parametrize(
    "state",
    [
        ("nud", "permanent"),
        ("nud", "noarp"),
        ("nud", "reachable", "extern_learn"),
        ("nud", "none", "managed"),
    ],
    ids=["permanent", "noarp", "extern_learn", "managed"],
)
def test_what_an_operator_has_set_is_left_alone(pop: Pop, state: tuple[str, ...]) -> None:
    managed = "managed" in state
    if not managed:
        silence(pop)
    for address in GATEWAYS:
        given = () if managed else ("lladdr", MAC)
        pop.scene.ip(pop.scene.pop, "neigh", "replace", address, *given, "dev", "bb", *state)
    before = None if managed else entries(pop)
    pop.succeed("dataplane", "run")
    pop.start()
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    time.sleep(CONFIRM_S + 0.5)
    for call in calls:
        call.exchange(5)
    if before is not None:
        after = entries(pop)
        if "extern_learn" in state:  # how fresh it is, the kernel goes on judging by what it sends itself
            for row in (*before.values(), *after.values()):
                del row["state"]
        assert after == before
    told = subprocess.run(
        ["ip", "-n", pop.scene.pop, "neigh", "show", "nud", "all", "dev", "bb"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    word = state[2] if len(state) > 2 else state[1].upper()
    for address in GATEWAYS:
        (line,) = [line for line in told.splitlines() if line.startswith(f"{address} ")]
        assert word in line


def test_a_neighbour_that_an_operator_sets_while_calls_go_on_stays_set(pop: Pop) -> None:
    pop.succeed("dataplane", "run")
    pop.start()
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    silence(pop)
    for address in GATEWAYS:
        pop.scene.ip(
            pop.scene.pop, "neigh", "replace", address, "lladdr", MAC, "dev", "bb", "nud", "permanent"
        )
    before = entries(pop)
    assert all(row["state"] == ["PERMANENT"] for row in before.values())
    for _ in range(2):
        time.sleep(CONFIRM_S + 0.5)
        for call in calls:
            call.exchange(5)
    assert entries(pop) == before


def test_a_mac_that_was_good_goes_on_being_used_while_nobody_answers_for_it(pop: Pop) -> None:
    pop.succeed("dataplane", "run")
    pop.start()
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    silence(pop)
    for address in GATEWAYS:
        pop.scene.ip(pop.scene.pop, "neigh", "change", address, "dev", "bb", "nud", "probe")
    eventually(  # given up, or asked for anew
        lambda: all("lladdr" not in row for row in entries(pop).values()), "the kernel has lost both MACs"
    )
    for _ in range(2):
        for call in calls:
            call.exchange(5)
        time.sleep(CONFIRM_S)


def test_a_router_whose_mac_changes_without_a_word_is_found_within_three_seconds(pop: Pop) -> None:
    """As another machine that takes an address over: nothing is announced, and the old MAC is nobody's."""
    pop.succeed("dataplane", "run")
    pop.start()
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    for call in calls:
        call.exchange()
    changed_s = time.monotonic()
    pop.scene.ip(pop.scene.region, "link", "set", "r0", "address", NEW_MAC)
    for call in calls:
        eventually(partial(arrives_up, call), "packets go to the new MAC")
    assert time.monotonic() - changed_s < 3
    for call in calls:
        call.exchange(5)
