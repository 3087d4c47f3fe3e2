"""Rules as the kernel follows them: it is asked itself, in a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import pytest

from core.addr import IpFamily
from ebpf.ids import VipId
from ebpf.net import netns
from ebpf.net.netlink import AsyncIPRoute
from ebpf.net.rules import FR_ACT_NOP, FR_ACT_TO_TBL, Rule
from ebpf.net.snapshot import Network, read_network
from edge.nexthops.fib import Gateway, Legs, RouteTarget
from edge.nexthops.policy import Lookup, Refusal, steps, unread
from edge.nexthops.views import Sources, unfollowed, views_of

V4, V6 = IpFamily.V4, IpFamily.V6
SOURCES = {V4: ("198.51.100.1", "198.51.100.2", "192.0.2.10"), V6: ("2001:db8:f::1", "2001:db8:f::2")}
LINKS = ("one", "two")
SEEDS = range(12)
"""Of what is drawn; the same in every run."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"voxpop-p{os.getpid()}"
    netns.create(name)
    try:
        commands = []
        for number, link in enumerate(LINKS, 1):
            commands += [
                f"link add {link} type veth peer name far{number}",
                f"link set {link} up",
                f"link set far{number} up",
                f"addr add 192.0.2{number}.1/24 dev {link}",
                f"addr add 2001:db8:2{number}::1/64 dev {link} nodad",
            ]
        for family, hosts in SOURCES.items():
            commands += [f"addr add {host}/{8 * family.address_bytes} dev lo" for host in hosts]
        ip(name, commands)
        yield name
    finally:
        netns.remove(name)


def ip(name: str, commands: Sequence[str], *options: str) -> None:
    words = ["ip", *options, "-n", name, "-batch", "-"]
    subprocess.run(words, input="\n".join(commands), text=True, check=True)


def look(name: str) -> Network:
    async def run() -> Network:
        async with AsyncIPRoute() as route:
            return await read_network(route)

    with netns.inside(name):
        return asyncio.run(run())


def gateway(family: IpFamily, link: str, host: int) -> str:
    number = LINKS.index(link) + 1
    return f"192.0.2{number}.{host}" if family is V4 else f"2001:db8:2{number}::{host:x}"


def drawn_routes(draw: random.Random, family: IpFamily, tables: Sequence[str]) -> list[str]:
    """Commands that add routes to nested prefixes, of one leg each, so that the kernel's answer is sure."""
    prefixes = {
        V4: ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"],
        V6: ["::/0", "2001:db8:1::/48", "2001:db8:1:2::/64"],
    }[family]
    found = []
    for table, prefix in itertools.product(tables, prefixes):
        kind = draw.choice(["via", "via", "none", "none", "throw", "unreachable", "blackhole"])
        if kind == "via":
            link = draw.choice(LINKS)
            to = f"{prefix} via {gateway(family, link, draw.randint(2, 9))} dev {link}"
            source = f" from {SOURCES[V6][0]}" if family is V6 and draw.random() < 0.3 else ""
            found.append(f"route add {to.replace(' via', source + ' via')} table {table}")
        elif kind != "none":
            found.append(f"route add {kind} {prefix} table {table}")
    return found


def drawn_rules(draw: random.Random, family: IpFamily, tables: Sequence[str]) -> list[str]:
    """Commands that add rules of every kind that is followed."""
    found = []
    priorities = sorted(draw.sample(range(10, 1000), 6))
    for n, priority in enumerate(priorities):
        inverted = draw.random() < 0.25
        selectors = [f"from {draw.choice(SOURCES[family])}"] if draw.random() < 0.5 else []
        if draw.random() < 0.3:
            selectors.append(draw.choice(["fwmark 0x5", "fwmark 0x0/0x5", "fwmark 0x0"]))
        if draw.random() < 0.2:
            selectors.append(draw.choice(["iif one", "iif lo", "oif two", "ipproto udp", "ipproto tcp"]))
        if draw.random() < 0.3 and not inverted:
            selectors.append("to 10.1.0.0/16" if family is V4 else "to 2001:db8:1::/48")
        action = f"lookup {draw.choice(tables)}"
        if draw.random() < 0.2:
            action += f" suppress_prefixlength {draw.choice([0, 8, 48])}"
        elif draw.random() < 0.2:
            action = draw.choice(["unreachable", "prohibit", "nop"])
        elif draw.random() < 0.25 and n + 2 < len(priorities) and not any("to " in s for s in selectors):
            action = f"goto {priorities[n + 2]}"
        words = " ".join(selectors) or "from all"
        found.append(f"rule add {'not ' * inverted}{words} pref {priority} {action}")
    # A rule that is gone to must be there before the one that goes to it.
    return sorted(found, key=lambda words: "goto" in words)


@needs_root
@pytest.mark.netns
@pytest.mark.parametrize("family", [*IpFamily])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_address_goes_where_the_kernel_would_send_it(
    namespace: str, seed: int, family: IpFamily
) -> None:
    draw = random.Random(1000 * family + seed)
    tables = ["main", "100", "1000"]
    ip(namespace, drawn_routes(draw, family, tables) + drawn_rules(draw, family, tables), f"-{family}")
    network = look(namespace)
    sources = Sources({VipId(n): host for n, host in enumerate(SOURCES[family], 1)}, {})
    views = views_of(network, sources)
    assert not list(unfollowed(network, sources, views, lambda _: True)), "all of it is followed"
    targets = {
        V4: ["9.9.9.9", "10.9.9.9", "10.1.9.9", "10.1.2.9", "192.0.21.77", "192.0.22.77"],
        V6: ["2600::1", "2001:db8:1:9::9", "2001:db8:1:2::9", "2001:db8:21::77"],
    }[family]
    for (vip_id, source), target in itertools.product(sources.vips.items(), targets):
        rows = views.intervals[family][views.downstream[vip_id]]
        found = next(lead for start, lead in reversed(rows) if start <= int(ip_address(target)))
        assert described(found, network) == asked(namespace, source, target), (source, target)


def described(target: RouteTarget, network: Network) -> tuple[str, str | None] | None:
    assert not isinstance(target, Legs)
    if target is None:
        return None
    link = network.links[target.link].name
    return (link, target.host) if isinstance(target, Gateway) else (link, None)


def asked(namespace: str, source: str, target: str) -> tuple[str, str | None] | None:
    """(interface, router or None) of the kernel's own answer; None where it refuses."""
    words = ["ip", "-n", namespace, "-json", "route", "get", target, "from", source, "ipproto", "udp"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return None
    (row,) = json.loads(result.stdout)
    return None if row.get("type") else (row["dev"], row.get("gateway"))


def rule(priority: int, table: int = 254, **changes: object) -> Rule:
    return Rule(V4, priority, FR_ACT_TO_TBL, table, 0)._replace(**changes)  # type: ignore[arg-type]


def test_the_usual_rules_come_to_the_main_table() -> None:
    usual = [rule(0, 255), rule(32766, 254), rule(32767, 253)]
    assert steps(usual, V4, "192.0.2.1") == (Lookup(254), Lookup(253)), "local leads out by no interface"
    assert steps([], V4, "192.0.2.1") == (Lookup(254),), "of a kernel without rules"
    assert steps(usual, V6, "2001:db8::1") == (Lookup(254),), "nor has it any of this family"


@pytest.mark.parametrize(
    "what", ["uidrange 0-5", "sport 3478-3478", "tos 0x10", "a selector that is not known here"]
)
def test_what_is_chosen_by_something_else_is_passed_over_and_named(what: str) -> None:
    other = rule(100, 7, others=(what,))
    assert steps([other, rule(32766)], V4, "192.0.2.1") == (Lookup(254),)
    assert unread(other) == (what,)


def test_l3mdev_rules_are_for_packets_of_vrfs_alone() -> None:
    """So they are followed by passing them over."""
    l3mdev = rule(1000, 0, is_l3mdev=True)
    assert steps([l3mdev, rule(32766)], V4, "192.0.2.1") == (Lookup(254),)
    assert not unread(l3mdev)


def test_a_refusal_is_a_step_and_nop_is_none() -> None:
    rules = [rule(1, action=FR_ACT_NOP), rule(2, action=7), rule(3)]
    assert steps(rules, V4, "192.0.2.1") == (Refusal(), Lookup(254))
