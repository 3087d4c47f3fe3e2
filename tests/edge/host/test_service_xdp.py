"""The fast path and the relay as processes, in namespaces: who carries what, and what outlives whom."""

from __future__ import annotations

import concurrent.futures
import json
import os
from pathlib import Path

import pytest

from core.addr import IpFamily
from edge.metrics import catalogue
from tests.edge.kit import DTLS, MEDIA, eventually, flip_tag, mint_ufrag, request
from tests.edge.xdp_scene import TRANSCEIVERS, Call, Pop, carried, running
from tests.exposition import assert_is_catalogue, complaints

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.mark.parametrize("index", [0, 1], ids=["ipv4", "ipv6"])
def test_the_first_packet_goes_by_the_relay_and_the_rest_by_xdp(pop: Pop, index: int) -> None:
    call = Call(pop, index).begin()
    call.exchange(50)
    assert pop.summary()["forwarder"] == "xdp"
    assert pop.summary()["flows"] == 1
    samples = pop.samples()
    assert samples["relay_carried_packets_total", "upstream", "slow"] == 1
    assert samples["relay_carried_packets_total", "upstream", "fast"] == 50
    assert samples["relay_carried_bytes_total", "upstream", "fast"] == 50 * (len(MEDIA) + 4)
    assert samples["relay_carried_packets_total", "downstream", "slow"] == 0
    assert samples["fastpath_packets_total", ["ipv4", "ipv6"][index], "punt_token"] == 1


def test_a_scrape_is_what_the_catalogue_says(pop: Pop) -> None:
    Call(pop, 0).begin().exchange(1)
    text = pop.get("/metrics")
    assert_is_catalogue(text, catalogue.ALL)
    assert complaints(text) == ""


def test_sigkill_and_restart_of_the_relay_lose_nothing(pop: Pop) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    pop.kill()
    for call in calls:
        call.exchange(100)
    listed = json.loads(pop.succeed("flows", "list", "--json"))
    assert {flow["client"] for flow in listed["flows"]} == {str(call.client.address) for call in calls}
    pop.start()
    assert pop.summary()["flows"] == 2
    for call in calls:
        call.exchange(10)
    assert carried(pop, "slow") == 0, "no packet of theirs came up to the new relay"
    tables = pop.scene.tables()
    for version, usual in zip(IpFamily, tables.config["default_nexthop"].tolist(), strict=True):
        hops = [each.tolist() for each in tables.nexthops(version, tables.live(version))]
        assert hops == [[one] for one in usual]
        assert all(usual)
    tables.close()
    Call(pop).begin().exchange()
    assert pop.summary()["flows"] == 3


def test_a_restart_with_other_workers_finds_every_flow(pop: Pop) -> None:
    """Their clients' packets, and their slots, are other workers' now."""
    calls = [Call(pop).begin() for _ in range(6)]
    pop.stop()
    assert "Traceback" not in pop.log.read_text(), "nothing is swept or read when the tables are closed"
    pop.relay["workers"] = 3
    pop.write_config()
    pop.start()
    assert pop.summary()["flows"] == 6
    for call in calls:
        call.exchange()
        renewed = mint_ufrag(call.transceiver.address.port, host=1)
        call.client.send(request(renewed), call.vip)
        received, source = call.transceiver.receive()
        assert (received[:2], source) == (b"\0\1", call.nat), "the transceiver sees the same source"
        call.exchange()
    assert pop.summary()["flows"] == 6
    assert pop.samples()["relay_flow_installs_total", "rebound"] == 6


def test_an_upgrade_of_the_program_keeps_every_flow(pop: Pop) -> None:
    call = Call(pop).begin()
    before = json.loads(pop.succeed("dataplane", "status", "--json"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(pop.succeed, "dataplane", "run")
        while not upgrade.done():
            call.exchange(10)
        assert "READY" in upgrade.result()
    call.exchange(10)
    after = json.loads(pop.succeed("dataplane", "status", "--json"))
    ids = [{i["name"]: i["program_id"] for i in told["interfaces"]} for told in (before, after)]
    assert ids[0].keys() == ids[1].keys() == {"pub", "bb"}
    assert not set(ids[0].values()) & set(ids[1].values())
    assert {i["mode"] for i in after["interfaces"]} == {"native"}


def test_an_idle_flow_is_collected_and_its_port_rests(tmp_path: Path) -> None:
    with running(tmp_path, idle_timeout_s=1) as pop:
        call = Call(pop).begin()
        eventually(lambda: pop.summary()["flows"] == 0, "the flow is collected")
        samples = pop.samples()
        assert samples["relay_flow_removals_total", "idle"] == 1
        assert pop.succeed("flows", "count").strip() == "0"
        call.transceiver.send(b"late", call.nat)  # type: ignore[arg-type]
        eventually(lambda: pop.samples()["fastpath_packets_total", "ipv4", "drop_no_flow"], "it is dropped")
        again = Call(pop).begin()
        assert again.nat != call.nat
        assert call.client.is_silent()


def test_a_full_table_refuses_and_keeps_the_others(tmp_path: Path) -> None:
    with running(tmp_path, max_flows=2) as pop:
        calls = [Call(pop).begin() for _ in range(2)]
        third = Call(pop)
        third.client.send(request(third.ufrag), third.vip)
        refused = ("relay_flow_installs_total", "table_full")
        eventually(lambda: pop.samples()[refused], "the third is refused")
        for call in calls:
            call.exchange()
        assert third.transceiver.is_silent()
        assert pop.summary()["flows"] == 2


def test_no_free_nat_port_is_told_from_a_full_table(tmp_path: Path) -> None:
    """Two ports for two flows: when one has ended, its port rests and there is none for the next."""
    dataplane = {"nat_ports": [20000, 20001]}
    with running(tmp_path, dataplane=dataplane, max_flows=2, idle_timeout_s=1) as pop:
        calls = [Call(pop).begin() for _ in range(2)]
        assert {call.nat.port for call in calls if call.nat} == {20000, 20001}
        eventually(lambda: pop.summary()["flows"] == 0, "both flows are collected")
        third = Call(pop)
        third.client.send(request(third.ufrag), third.vip)
        eventually(lambda: pop.samples()["relay_flow_installs_total", "no_nat_port"], "the third is refused")
        assert third.transceiver.is_silent()


def test_a_stranger_gets_nothing(pop: Pop) -> None:
    forged = Call(pop)
    forged.client.send(request(flip_tag(forged.ufrag)), forged.vip)
    forged.client.send(request(forged.ufrag, b"x" * 32), forged.vip)
    eventually(lambda: pop.samples()["relay_refusals_total", "bad_integrity"], "the second is refused")
    assert pop.samples()["fastpath_packets_total", "ipv4", "drop_token_bad_tag"] == 1
    assert forged.transceiver.is_silent()
    assert forged.client.is_silent()
    assert pop.summary()["flows"] == 0


def test_a_second_call_at_a_clients_address_is_served_and_takes_nothing(pop: Pop) -> None:
    call = Call(pop).begin()
    other = pop.scene.peer(pop.scene.region, TRANSCEIVERS[0])
    check = request(mint_ufrag(other.address.port, host=1))
    call.client.send(check, call.vip)
    data, other_nat = other.receive()
    assert data == check
    assert other_nat != call.nat
    call.exchange()
    assert other.receive()[0] == MEDIA + bytes(4), "which does not say whose it is"
    other.send(DTLS, other_nat)
    assert call.client.receive() == (DTLS, call.vip)
    samples = pop.samples()
    assert samples["fastpath_packets_total", "ipv4", "punt_contested"] == 1
    assert samples["relay_contest_copies_total", "forwarded"] == 1
