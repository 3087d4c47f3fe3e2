"""What is behind a planet's routers: it dies, comes back, is cut off, and says how it is."""

from __future__ import annotations

import pytest

from core.errors import UnavailableError
from edge.lab.planet.planet import Planet
from edge.lab.planet.speaker import until
from tests.edge.lab.planet.test_planet import call

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_a_host_that_dies_is_left_and_one_that_comes_back_is_found(planet: Planet) -> None:
    pop, host, other = planet.pop("frankfurt"), planet.host("frankfurt/1"), planet.host("frankfurt/2")
    vip = pop.vips[0].host
    host.kill()
    assert host.processes() == []
    assert host.relay.pid is None
    until(lambda: pop.next_hops(vip) == [other.uplinks[0][0]], "BFD has told the router")
    assert not host.is_announced()
    assert call(planet.city("paris"))["pop"] == "frankfurt"
    host.revive()
    assert host.is_announced()
    assert len(pop.next_hops(vip)) == 2
    assert host.flows() == []
    assert host.relay.is_ready()


def test_a_cable_that_is_pulled_is_found_by_bfd_alone(planet: Planet) -> None:
    host = planet.host("frankfurt/2")
    host.cut()
    until(lambda: not host.is_announced(), "BFD has told the router")
    assert host.relay.is_ready()
    host.restore()
    host.until_announced()


def test_a_host_withdraws_by_itself(planet: Planet) -> None:
    pop, host = planet.pop("frankfurt"), planet.host("frankfurt/1")
    host.withdraw()
    until(lambda: len(pop.next_hops(pop.vips[0].host)) == 1, "one host is left")
    assert host.relay.is_ready()
    host.announce()
    host.until_announced()


def test_flows_and_counters_are_those_of_the_fast_path(planet: Planet) -> None:
    host = planet.host("tokyo/1")
    before = host.counters()
    call(planet.city("tokyo"))
    client = planet.city("tokyo").addresses
    assert any(flow["client"].rpartition(":")[0].strip("[]") in client for flow in host.flows())
    assert host.counters()["forward_upstream"] > before.get("forward_upstream", 0)
    host.attach()
    assert any(flow["client"].rpartition(":")[0].strip("[]") in client for flow in host.flows()), "they stay"


def test_a_transceiver_host_dies_and_comes_back(planet: Planet) -> None:
    host = planet.transceiver("europe/1")
    host.kill()
    assert host.processes() == []
    refused = planet.city("tokyo").run(["curl", "-s", "-m", "2", f"http://{host.signaling}/readyz"])
    assert refused.returncode != 0
    host.revive()
    assert planet.city("tokyo").run(["curl", "-s", f"http://{host.signaling}/readyz"]).returncode == 0


def test_a_redis_is_reached_over_the_wan_and_can_be_anything_but_well(planet: Planet) -> None:
    redis, host = planet.redis("europe"), planet.host("frankfurt/1")
    words = ["timeout", "5", "redis-cli", "-h", redis.at.host, "PING"]
    assert host.run(words).stdout.strip() == "PONG"
    assert redis.command("SET", "a", "1") == "OK"
    with pytest.raises(UnavailableError, match=r"redis-europe: "):
        redis.command("AUTH", "nonsense", "nobody", "of", "this", "name")
    redis.pause(100)
    assert redis.command("GET", "a") == "1", "what is asked meanwhile is answered later"
    redis.stop_responding()
    assert host.run(words).returncode != 0
    redis.go_on()
    assert host.run(words).stdout.strip() == "PONG"
    redis.kill()
    assert host.run(words).returncode != 0
    redis.start()
    assert redis.command("GET", "a") == "", "it is empty"


def test_how_a_host_is_can_be_asked_for_from_all_over_the_planet(planet: Planet) -> None:
    for host in planet.hosts:
        asked = planet.region("europe").run(["curl", "-s", f"http://{host.status_at}/readyz"])
        assert '"ready"' in asked.stdout
        assert host.relay.health()["state"] == "ready"
    for pop in planet.layout.pops:
        asked = planet.transceiver("europe/1").run(["curl", "-s", f"http://{pop.status}/readyz"])
        assert '"ready"' in asked.stdout, "at whichever host is well"
