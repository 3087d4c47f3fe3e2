"""Callers are led by what PoP hosts say in a real store: none of the PoPs has a `status` to be asked."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.keyring import Keyring
from core.service.files import load_masters
from core.store.heartbeat import TTL_S
from tests.edge.kit import Peer, mint_ufrag, password_of, request
from tests.paths import ROOT
from tests.ports import free_port, free_tcp_port
from tests.processes import end
from tests.redis_server import Server, running
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host

pytestmark = pytest.mark.slow
SDP = {"Content-Type": "application/sdp"}
VIPS = {"near": ["192.0.2.7:3478", "[2001:db8::7]:3478"], "far": ["198.51.100.7:3478"]}
"""As `Host` configures them. The relays listen elsewhere, as behind a gateway that translates addresses."""
HOSTS, UP, LOAD = (f"voxpop_transceiver_pop_{name}{{pop=near}}" for name in ("hosts", "up", "load_ratio"))


@dataclass
class Relay:
    """A PoP host."""

    config: Path
    process: subprocess.Popen[bytes]
    vip: Endpoint

    def verb(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "voxpop", *arguments, "--config", str(self.config)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=30)

    def take_a_flow(self, host: Host) -> None:
        keyring = Keyring(*load_masters(host.folder / "keys.toml"))
        ufrag = mint_ufrag(host.udp, host=0, cluster=1, keyring=keyring)
        client = Peer()
        client.send(request(ufrag, password_of(ufrag, keyring)), self.vip)
        client.close()


class Fleet:
    """A transceiver host, PoP hosts, and their store."""

    def __init__(self, host: Host, redis: Server) -> None:
        self.host = host
        self.redis = redis
        self.relays: list[Relay] = []

    def relay(self, pop: str, name: str, *, vips: Sequence[str] | None = None, max_flows: int = 16) -> Relay:
        """Start one, without waiting for it. `vips` are those that it is known by."""
        vip = Endpoint("127.0.0.1", free_port("127.0.0.1", socket.SOCK_DGRAM))
        folder = self.host.folder / f"{pop}-{name}"
        folder.mkdir()
        config = folder / "voxpop.toml"
        config.write_text(
            f'[token]\nkeys_file = "../keys.toml"\n[store]\nurl = "{self.redis.url}"\ntimeout_ms = 1000\n'
            f'[[cluster]]\nid = 1\nipv4 = "127.0.0.1/32"\n'
            f"ports = [{self.host.udp}, {self.host.udp + self.host.processes - 1}]\n"
            f'[[pop]]\nid = "{pop}"\nvips = {json.dumps(vips or VIPS[pop])}\n'
            f'[relay]\npop = "{pop}"\nhost = "{name}"\nvips = ["{vip}"]\nmax_flows = {max_flows}\n'
            f'metrics = "127.0.0.1:{free_tcp_port()}"\nforwarder = "userspace"\nworkers = 1\n'
            'admin_socket = "admin.sock"\n'
        )
        command = [sys.executable, "-m", "voxpop", "relay", "--config", str(config)]
        with (folder / "log").open("wb") as log:
            relay = Relay(config, subprocess.Popen(command, cwd=ROOT, stderr=log), vip)
        self.relays.append(relay)
        return relay

    def answer(self) -> tuple[list[str], str]:
        """(the PoPs that an answer names, in their order; why)."""
        placed = self.host.request("POST", CALLS, CHROMIUM, SDP)
        assert placed.status == 201, placed.text
        self.host.request("DELETE", placed.headers["Location"])
        header = placed.headers["Voxpop-Steering"]
        why = re.search(r"why=(\w+)", header)
        assert why is not None
        return re.findall(r'"(\w+)"', header), why[1]

    def names(self, *pops: str) -> bool:
        """Whether every process does."""
        return all(self.answer()[0] == list(pops) for _ in range(6))

    def until(self, condition: Callable[[], object], what: str) -> float:
        """Seconds that it took."""
        before = time.monotonic()
        self.host.wait_until(condition, what)
        return time.monotonic() - before

    def until_heard(self, hosts: int) -> None:
        """And have started: one that is about to is heard too."""
        self.until(lambda: self.host.metrics()[HOSTS] == hosts, f"{hosts} hosts are heard")
        self.until(lambda: self.names("near", "far"), "in the order of the configuration")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(running(Server(tmp_path / "redis")))
        tables = f'[store]\nurl = "{redis.url}"\ntimeout_ms = 1000\n'
        host = stack.enter_context(Host(tmp_path, processes=2, tables=tables))
        fleet = Fleet(host, redis)
        stack.callback(lambda: [end(relay.process) for relay in fleet.relays])
        yield fleet


def test_a_pop_is_left_out_when_all_of_its_hosts_drain_or_are_gone(
    fleet: Fleet, say: Callable[[str], None]
) -> None:
    one, other = fleet.relay("near", "1"), fleet.relay("near", "2")
    fleet.until_heard(2)
    one.verb("drain", "relay")
    fleet.host.wait_until(lambda: fleet.host.metrics()[HOSTS] == 2, "who drains is heard all the same")
    assert fleet.names("near", "far"), "the other host takes calls"
    other.verb("drain", "relay")
    drained_s = fleet.until(lambda: fleet.names("far"), "the PoP is left out")
    assert "PoP near is down (draining, forwarder userspace)" in fleet.host.wait_for_log("PoP near is down")
    other.verb("undrain", "relay")
    fleet.until(lambda: fleet.names("far", "near"), "it is back, and second for a while")
    one.process.kill()
    other.process.kill()
    gone_s = fleet.until(lambda: fleet.names("far"), "it is gone without a word")
    assert gone_s < 3 * TTL_S
    assert fleet.host.metrics()[UP] == 0
    say(f"a drain is known after {drained_s:.1f} s, a death without a word after {gone_s:.1f} s")


def test_a_pop_that_is_full_comes_after_others_and_a_host_of_another_pop_by_its_name_counts_for_nothing(
    fleet: Fleet,
) -> None:
    full = fleet.relay("near", "1", max_flows=1)
    fleet.until_heard(1)
    fleet.relay("near", "impostor", vips=["203.0.113.9:3478"])
    said = fleet.host.wait_for_log("the heartbeat of PoP host near:impostor is ignored")
    assert "(other_vips: it lacks VIPs that its [[pop]] has: are there two PoPs of that name?)" in said
    ignored = "voxpop_transceiver_heartbeats_ignored_total{reason=other_vips}"
    fleet.until(lambda: fleet.host.metrics()[ignored] >= 3, "it goes on, and is counted")
    assert sum("near:impostor" in line for line in fleet.host.log) == 1
    assert fleet.host.metrics()[HOSTS] == 1
    assert fleet.answer() == (["near", "far"], "order")
    full.take_a_flow(fleet.host)
    fleet.until(lambda: fleet.names("far", "near"), "the load is known")
    assert fleet.host.metrics()[LOAD] == 1.0
    assert fleet.answer() == (["far", "near"], "load")


def test_calls_are_answered_whatever_happens_to_the_store_and_hosts_are_heard_again_by_themselves(
    fleet: Fleet,
) -> None:
    relay = fleet.relay("near", "1")
    fleet.until_heard(1)
    fleet.redis.stop()
    failures = "voxpop_transceiver_store_failures_total{reason=unreachable}"
    fleet.until(lambda: fleet.host.metrics()[failures] >= 1, "it is noticed")
    assert fleet.names("near", "far"), "the silence of the store is not that of the hosts"
    assert fleet.host.metrics()[HOSTS] == 0
    fleet.redis.start()
    fleet.until_heard(1)
    degraded = [line for line in fleet.host.log if "the store is degraded" in line]
    assert 1 <= len(degraded) <= 2, "once by who reads, once by who writes"
    relay.verb("drain", "relay")
    fleet.until(lambda: fleet.names("far"), "what it says counts again")


def test_a_transceiver_says_how_many_calls_it_has_and_voxpop_pops_lists_all(fleet: Fleet) -> None:
    fleet.relay("near", "1")
    fleet.until_heard(1)
    fleet.host.call(CHROMIUM)

    def told() -> dict[str, list[dict[str, object]]]:
        listed: dict[str, list[dict[str, object]]] = json.loads(
            fleet.host.verb("pops", "--config", fleet.host.config, "--json").stdout
        )
        return listed

    [pop] = told()["pops"]
    assert (pop["pop"], pop["host"], pop["state"], pop["vips"]) == ("near", "1", "ready", VIPS["near"])
    fleet.until(lambda: [each["taken"] for each in told()["transceivers"]] == [1], "the call is told of")
    [own] = told()["transceivers"]
    assert (own["cluster"], own["host"], own["port"]) == ("1", "0", str(fleet.host.udp))
    assert own["room"] == 200
