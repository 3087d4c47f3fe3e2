"""A planet that is up: who calls is answered by the PoP that is near, and everything is found by its name."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from core.addr import Endpoint
from core.errors import UnavailableError
from edge.lab.planet.hosts import RelayHost
from edge.lab.planet.planet import City, Planet
from edge.lab.planet.speaker import until
from tests.sound import speech, write_wav
from transceiver.media import SAMPLE_RATE

pytestmark = [pytest.mark.netns, pytest.mark.slow]

OWN, SHARED = 0, 2
"""Where among its VIPs a PoP has its own of IPv4, and that which it shares; those of IPv6 come after each."""


SAID = speech()[: SAMPLE_RATE * 3 // 4]
"""A word is enough."""


def call(city: City) -> dict[str, object]:
    """What `voxpop call --json` prints of a call that was answered."""
    said = city.directory / "said.wav"
    write_wav(said, SAID)
    done = city.run(["voxpop", "call", city.url("europe"), "--json", "--wav", str(said)])
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize(
    ("city", "pop", "other"), [("tokyo", "tokyo", "frankfurt"), ("paris", "frankfurt", "tokyo")]
)
def test_a_call_goes_through_the_pop_that_is_near_by_xdp(
    planet: Planet, city: str, pop: str, other: str
) -> None:
    log = planet.transceiver("europe/1").transceiver.log
    before, logged = {name: carried(planet, name) for name in planet.pops}, len(log())
    assert call(planet.city(city))["pop"] == pop
    after = {name: carried(planet, name) for name in planet.pops}
    # 0.75 s of speech and as much of its echo, 50 packets a second each way
    assert after[pop] - before[pop] > 75
    assert after[other] - before[other] < 25, "a check now and then keeps the second warm"
    assert re.search(rf"led to PoP {pop} \(database, nearest, \d+ km\), else {other} \(", log()[logged:])


def carried(planet: Planet, pop: str) -> int:
    counts = [host.counters() for host in planet.pop(pop).hosts]
    return sum(each.get("forward_upstream", 0) + each.get("forward_downstream", 0) for each in counts)


def test_a_call_takes_ipv6_where_a_city_has_no_way_by_ipv4(planet: Planet) -> None:
    city, pop = planet.city("tokyo"), planet.pop("tokyo")
    vips = {vip.host for each in planet.pops.values() for vip in each.vips if ":" not in vip.host}
    route = ["ip", "-n", city.namespace, "route"]
    for vip in vips:
        subprocess.run([*route, "add", "blackhole", f"{vip}/32"], check=True)
    try:
        assert call(city)["vip"] in (str(pop.vips[OWN + 1]), str(pop.vips[SHARED + 1]))
    finally:
        for vip in vips:
            subprocess.run([*route, "del", "blackhole", f"{vip}/32"], check=True)


def test_links_take_as_long_as_they_say(planet: Planet) -> None:
    """A round trip is no shorter than light takes."""
    city, link = planet.city("paris"), planet.wan.link("pop-frankfurt", "city-paris")
    assert connect_ms(city, planet) >= 2 * planet.wan.link("city-paris", "region-europe").plan.delay_ms
    state = link.state()
    assert state.keys() == {"city-paris", "pop-frankfurt"}
    assert state["city-paris"].conditions.delay_ms == link.plan.delay_ms


def connect_ms(city: City, planet: Planet) -> float:
    host = planet.transceiver("europe/1")
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{time_connect}", f"http://{host.signaling}/readyz"]
    return float(city.run(command).stdout) * 1000


def test_flows_of_a_pop_are_spread_over_its_hosts(planet: Planet) -> None:
    pop = planet.pop("frankfurt")
    for version, vip in ((0, pop.vips[OWN]), (1, pop.vips[OWN + 1])):
        assert pop.next_hops(vip.host) == sorted(host.uplinks[0][version] for host in pop.hosts)


DATAGRAMS, PORT = 64, 9
"""One from each of so many ports: that all go to one of two hosts is as likely as 63 heads in a row."""


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
def test_a_clients_ports_are_spread_over_the_hosts_and_each_stays_with_one(
    planet: Planet, version: int
) -> None:
    city, pop = planet.city("paris"), planet.pop("frankfurt")
    vip = pop.vips[OWN + version]
    with contextlib.ExitStack() as stack:
        ears = [stack.enter_context(listening(host, vip)) for host in pop.hosts]
        with city.inside():
            mouths = [stack.enter_context(socket.socket(vip.af, socket.SOCK_DGRAM)) for _ in range(DATAGRAMS)]
        for turn in range(2):
            for number, mouth in enumerate(mouths):
                mouth.sendto(bytes([turn, number]), (vip.host, PORT))
        heard = [hear(ears) for _ in range(2 * DATAGRAMS)]
    by_port = {number: {ear for ear, _, told in heard if told == number} for number in range(DATAGRAMS)}
    assert all(len(ears) == 1 for ears in by_port.values())
    assert len(set.union(*by_port.values())) == 2


def listening(host: RelayHost, vip: Endpoint) -> socket.socket:
    with host.inside():
        ear = socket.socket(vip.af, socket.SOCK_DGRAM)
    ear.bind((vip.host, PORT))
    return ear


def hear(ears: Sequence[socket.socket]) -> tuple[int, int, int]:
    """Which ear has heard the next datagram, and what."""
    ready, _, _ = select.select(ears, [], [], 10)
    assert ready, "a datagram is lost"
    turn, number = ready[0].recv(2)
    return ears.index(ready[0]), turn, number


def test_a_shared_vip_leads_to_the_next_pop_when_the_nearest_vanishes(planet: Planet) -> None:
    city, near = planet.city("paris"), planet.pop("frankfurt")
    vips = [vip.host for vip in near.vips[SHARED:]]
    assert [city.way_to(vip) for vip in vips] == ["frankfurt", "frankfurt"]
    assert [planet.city("tokyo").way_to(vip) for vip in vips] == ["tokyo", "tokyo"]
    near.cut_off()
    for vip in vips:
        until(partial(leads, city, vip, "tokyo"), f"the way to {vip} leads to Tokyo")
    assert city.way_to(near.vips[OWN].host) is None
    near.rejoin()
    for vip in vips:
        until(partial(leads, city, vip, "frankfurt"), f"the way to {vip} leads back")


def leads(city: City, vip: str, pop: str) -> bool:
    return city.way_to(vip) == pop


def test_a_pop_withdraws_and_announces_while_it_goes_on(planet: Planet) -> None:
    city, near = planet.city("paris"), planet.pop("frankfurt")
    vip = near.vips[SHARED].host
    near.withdraw()
    until(partial(leads, city, vip, "tokyo"), "the way leads to Tokyo")
    assert all(host.relay.is_ready() for host in near.hosts)
    assert len(near.next_hops(vip)) == 2
    near.announce()
    until(partial(leads, city, vip, "frankfurt"), "the way leads back")


def test_keys_are_rotated_without_a_call_that_fails(planet: Planet) -> None:
    key_id = planet.rotate_keys()
    for host in planet.hosts:
        host.relay.reload()
    planet.transceiver("europe/1").transceiver.reload()
    assert key_id == 2
    assert call(planet.city("tokyo"))["pop"] == "tokyo"


@pytest.mark.parametrize(
    ("find", "complaint"),
    [
        (lambda planet: planet.city("tokio"), "there is no city tokio; did you mean tokyo?"),
        (lambda planet: planet.pop("x"), "there is no PoP x; known are frankfurt, tokyo"),
        (lambda planet: planet.host("frankfurt/3"), "there is no host of frankfurt 3"),
        (lambda planet: planet.host("frankfurt"), "there is no host of frankfurt "),
        (lambda planet: planet.transceiver("asia/1"), "there is no region asia"),
        (lambda planet: planet.redis("x"), "there is no Redis x"),
        (lambda planet: planet.city("tokyo").url("europe", 2), "there is no host of europe 2"),
        (
            lambda planet: planet.wan.link("city-tokyo", "city-paris"),
            "there is no link between city-tokyo and",
        ),
    ],
    ids=["city", "pop", "host", "no number", "transceiver", "redis", "url", "link"],
)
def test_what_is_not_there_is_named(planet: Planet, find: Callable[[Planet], object], complaint: str) -> None:
    with pytest.raises(UnavailableError, match=re.escape(complaint)):
        find(planet)


def test_every_place_has_a_namespace_of_its_own(planet: Planet) -> None:
    places = planet.places()
    assert len({place.namespace for place in places.values()}) == len(places) == 10
    assert all(name == place.name for name, place in places.items())
    assert len(planet.children()) == 1 + 8 + 7 + 1, "WAN; BIRDs; daemons; Redis"
