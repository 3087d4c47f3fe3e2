"""`voxpop relay` as an operator runs it: real processes, real sockets, signals."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.keyring import Keyring
from core.service.metrics.daemon import DAEMON
from edge.metrics import catalogue
from tests.edge.host.kit import HOST, OTHER_HOST, OpenPeer, StartRelay, call, echo, sockets_of, ufrag_for
from tests.edge.kit import (
    DTLS,
    MASTERS,
    MEDIA,
    PATIENCE_S,
    REPOSITORY,
    Peer,
    RelayProcess,
    eventually,
    mint_ufrag,
    request,
    write_keys,
)
from tests.edge.relay.rig import HOPELESS
from tests.edge.relay.test_decide import STRANGERS
from tests.exposition import assert_is_catalogue, complaints
from tests.ports import free_port


def test_a_call_over_ipv4_and_over_ipv6(start: StartRelay, peer: OpenPeer) -> None:
    relay = start()
    call(peer(), peer(HOST), relay.vips[0])
    transceiver = peer("::1")
    call(peer("::1"), transceiver, relay.vips[1], mint_ufrag(transceiver.address.port, host=1))
    assert relay.flows() == 2
    assert json.loads(relay.get("/readyz")[1]) == {
        "pop": "test",
        "forwarder": "userspace",
        "state": "ready",
        "workers": 1,
        "flows": 2,
        "capacity": 4096,
        "vips": [str(vip) for vip in relay.vips],
    }


def test_many_clients_over_two_workers_hear_their_own_only(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(workers=2)
    transceivers = [peer(HOST), peer(OTHER_HOST)]
    clients = [peer() for _ in range(40)]
    paths = [call(c, transceivers[i % 2], relay.vips[0]) for i, c in enumerate(clients)]
    for number, client in enumerate(clients):
        client.send(MEDIA + bytes([number]), relay.vips[0])
        assert transceivers[number % 2].receive() == (MEDIA + bytes([number]), paths[number])
        transceivers[number % 2].send(DTLS + bytes([number]), paths[number])
    for number, client in enumerate(clients):
        assert client.receive() == (DTLS + bytes([number]), relay.vips[0])
        assert client.is_silent()
    flows = [relay.counter("flows", str(worker)) for worker in range(2)]
    assert sum(flows) == 40
    assert min(flows) > 0


def test_bad_input_gets_silence_and_its_counter(start: StartRelay, peer: OpenPeer) -> None:
    relay = start()
    client, transceiver = peer(), peer(HOST)
    files = relay.open_files()
    unknown_series = relay.samples().keys()
    for data, _ in HOPELESS.values():
        client.send(data, relay.vips[0])
    for length in range(len(STRANGERS["wrong password"][0])):
        client.send(STRANGERS["wrong password"][0][:length], relay.vips[0])
    for port in (80, 1023):
        client.send(request(mint_ufrag(port)), relay.vips[0])
    sent = len(HOPELESS) + len(STRANGERS["wrong password"][0]) + 2
    eventually(lambda: relay.counter("packets_total", "upstream", "refused") == sent, "all were refused")
    samples = relay.samples()
    for _, reason in HOPELESS.values():
        assert samples["refusals_total", str(reason)] > 0
    assert samples["refusals_total", "token_port_out_of_range"] == 2
    assert sum(value for key, value in samples.items() if key[0] == "refusals_total") == sent
    assert samples.keys() == unknown_series
    assert client.is_silent()
    assert relay.open_files() == files
    call(client, transceiver, relay.vips[0])


def test_idle_flows_give_their_sockets_back(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(idle_timeout_s=4)
    transceiver = peer(HOST)
    before = relay.open_files()
    for _ in range(20):
        call(peer(), transceiver, relay.vips[0])
    assert relay.open_files() == before + 20
    eventually(lambda: relay.flows() == 0, "all flows are idle")
    assert relay.open_files() == before
    assert relay.counter("flow_removals_total", "idle") == 20


def test_flows_that_nobody_answers_are_soon_gone(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(idle_timeout_s=3600)
    transceiver = peer(HOST)
    before = relay.open_files()
    for _ in range(20):
        peer().send(request(ufrag_for(transceiver)), relay.vips[0])
        transceiver.receive()
    eventually(lambda: relay.flows() == 0, "none is left")
    assert relay.open_files() == before
    assert relay.counter("flow_removals_total", "unanswered") == 20


def test_a_full_table_refuses_the_next_and_carries_the_others(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(max_flows=3)
    transceiver, vip = peer(HOST), relay.vips[0]
    clients = [peer() for _ in range(3)]
    paths = [call(client, transceiver, vip) for client in clients]
    late = peer()
    late.send(request(ufrag_for(transceiver)), vip)
    eventually(lambda: relay.counter("refusals_total", "table_full") == 1, "the fourth is refused")
    for client, path in zip(clients, paths, strict=True):
        echo(client, transceiver, vip, path)
    assert late.is_silent()
    assert transceiver.is_silent()


def test_only_the_vips_talk_to_strangers(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(workers=2)
    transceiver = peer(HOST)
    for _ in range(10):
        call(peer(), transceiver, relay.vips[0])
    open_to_all, connected = set(), 0
    for local, remote in sockets_of(relay.worker_pids()):
        if remote.endswith(":0000"):
            open_to_all.add(local)
        else:
            connected += 1
    ports = {f"{vip.port:04X}" for vip in relay.vips}
    assert {local.rpartition(":")[2] for local in open_to_all} == ports
    assert connected == 10


def test_keys_rotate_on_sighup(start: StartRelay, peer: OpenPeer) -> None:
    relay = start()
    client, transceiver, vip = peer(), peer(HOST), relay.vips[0]
    path = call(client, transceiver, vip)
    write_keys(relay.directory / "keys.toml", MASTERS, 2)
    relay.signal(signal.SIGHUP)
    eventually(lambda: relay.counter("voxpop_daemon_reloads_total", "done") == 1, "reloaded")
    both = Keyring(MASTERS, 2)
    for key_id in (1, 2):
        ufrag = mint_ufrag(transceiver.address.port, keyring=both, key_id=key_id)
        check = request(ufrag, both.ice_password(key_id, ufrag))
        eventually(lambda: sent_and_arrived(peer(), check, vip, transceiver), "it is accepted")  # noqa: B023 - at once
    echo(client, transceiver, vip, path)


def sent_and_arrived(client: Peer, check: bytes, vip: Endpoint, transceiver: Peer) -> bool:
    """Workers hear of a reload a moment after the supervisor has counted it."""
    client.send(check, vip)
    transceiver.socket.settimeout(0.2)
    try:
        return transceiver.socket.recv(2048) == check
    except TimeoutError:
        return False


def test_a_faulty_configuration_is_refused_whole(start: StartRelay, peer: OpenPeer) -> None:
    relay = start()
    relay.settings |= {"idle_timeout_s": 0, "takeover_silence_s": "soon"}
    relay.write_config()
    relay.signal(signal.SIGHUP)
    eventually(lambda: relay.counter("voxpop_daemon_reloads_total", "refused") == 1, "refused")
    assert "relay.idle_timeout_s" in relay.log_text()
    assert "relay.takeover_silence_s" in relay.log_text()
    call(peer(), peer(HOST), relay.vips[0])


def test_what_takes_a_restart_is_said_so(start: StartRelay) -> None:
    relay = start()
    relay.settings |= {"max_flows": 5, "idle_timeout_s": 7}
    relay.write_config()
    relay.signal(signal.SIGHUP)
    eventually(lambda: relay.counter("voxpop_daemon_reloads_total", "done") == 1, "reloaded")
    assert "relay.max_flows has changed, which takes a restart" in relay.log_text()
    assert "relay.idle_timeout_s has changed" not in relay.log_text()


def test_a_drain_carries_what_there_is_and_takes_nothing_new(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(idle_timeout_s=4)
    client, transceiver, vip = peer(), peer(HOST), relay.vips[0]
    path = call(client, transceiver, vip)
    relay.signal(signal.SIGTERM)
    eventually(lambda: relay.summary()["state"] == "draining", "draining")
    late = peer()

    def is_refused() -> bool:
        echo(client, transceiver, vip, path)
        late.send(request(ufrag_for(transceiver), b"x" * 32), vip)  # whichever it is, no flow comes of it
        late.send(request(ufrag_for(transceiver)), vip)
        return relay.counter("refusals_total", "draining") > 0

    eventually(is_refused, "new flows are refused")
    status, body = relay.get("/readyz")
    assert (status, json.loads(body)["state"]) == (503, "draining")
    assert relay.get("/healthz")[0] == 200
    assert relay.counter("voxpop_daemon_state", "draining") == 1
    assert relay.wait() == 0  # the call has gone silent
    assert late.is_silent()


def test_a_drain_ends_at_its_limit(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(drain_timeout_s=0.2)
    call(peer(), peer(HOST), relay.vips[0])
    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0


@pytest.mark.parametrize(("second", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_second_signal_ends_at_once(
    start: StartRelay, peer: OpenPeer, second: signal.Signals, status: int
) -> None:
    relay = start()
    call(peer(), peer(HOST), relay.vips[0])
    relay.signal(signal.SIGTERM)
    eventually(lambda: relay.summary()["state"] == "draining", "draining")
    relay.signal(second)
    assert relay.wait() == status


def test_a_transceiver_that_is_gone_is_counted(start: StartRelay, peer: OpenPeer) -> None:
    relay = start()
    port = free_port(HOST, socket.SOCK_DGRAM)
    client, vip, ufrag = peer(), relay.vips[0], mint_ufrag(port)
    client.send(request(ufrag), vip)
    eventually(lambda: relay.counter("upstream_errors_total", "refused") > 0, "the ICMP error is counted")
    transceiver = peer(HOST, port)
    client.send(request(ufrag), vip)
    transceiver.receive()
    assert client.is_silent()


def test_a_client_whose_nat_changes_its_port_keeps_its_call(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(workers=2)
    transceiver, vip = peer(HOST), relay.vips[0]
    ufrag = ufrag_for(transceiver)
    paths = {call(peer(), transceiver, vip, ufrag) for _ in range(4)}
    assert len(paths) == 4


def test_a_second_call_at_a_clients_address_is_served_and_takes_nothing(
    start: StartRelay, peer: OpenPeer
) -> None:
    relay = start()
    client, vip = peer(), relay.vips[0]
    old, new = peer(HOST), peer(OTHER_HOST)
    path = call(client, old, vip)
    check = request(ufrag_for(new))
    client.send(check, vip)
    data, other_path = new.receive()
    assert data == check
    echo(client, old, vip, path)
    assert new.receive()[0] == MEDIA, "which does not say whose it is"
    new.send(DTLS, other_path)
    assert client.receive() == (DTLS, vip)
    assert old.is_silent()


def test_a_scrape_is_what_the_catalogue_says(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(workers=2)
    call(peer(), peer(HOST), relay.vips[0])
    peer().send(b"hello", relay.vips[0])
    eventually(lambda: relay.counter("refusals_total", "unknown_flow_other") == 1, "it is refused")
    text = relay.get("/metrics")[1]
    assert_is_catalogue(text, [*DAEMON, *catalogue.RELAY])
    assert complaints(text) == ""


def test_health_may_be_read_by_any_page(start: StartRelay) -> None:
    relay = start()
    for path, allowed in (("/healthz", "*"), ("/readyz", "*"), ("/metrics", None)):
        with urllib.request.urlopen(f"http://{relay.metrics}{path}", timeout=PATIENCE_S) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == allowed


def failed_start(relay: RelayProcess) -> str:
    """What a relay that cannot start says, under a limit of open files that a test can run into."""
    run = subprocess.run(
        [sys.executable, "voxpop.py", "relay", "--config", str(relay.config)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4500, 4500)),
    )  # fmt: skip
    assert run.returncode == 1, run
    assert "Traceback" not in run.stderr
    return run.stderr


def test_what_stands_in_the_way_of_a_start_is_named(tmp_path: Path, peer: OpenPeer) -> None:
    taken = peer("127.0.0.5")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        cases: dict[str, dict[str, object]] = {
            f"cannot listen on {taken.address}: it is in use": {"vips": [str(taken.address)]},
            "no interface of this host has that address": {"vips": ["192.0.2.1:3478"]},
            "relay.vips: 0.0.0.0:3478 is every address": {"vips": ["0.0.0.0:3478"]},
            "relay.max_flows = 4437 needs 4501 open files": {"max_flows": 4437},
            "leaves nothing for some of 4 workers": {"max_flows": 3, "workers": 4},
            "relay.metrics: cannot listen": {"metrics": f"127.0.0.1:{listening.getsockname()[1]}"},
            'relay.forwarder = "xdp"': {"forwarder": "xdp"},
        }
        for expected, settings in cases.items():
            assert expected in failed_start(RelayProcess(tmp_path, **settings))  # type: ignore[arg-type]


def test_a_second_relay_cannot_join_the_first_on_its_vip(start: StartRelay, tmp_path: Path) -> None:
    relay = start()
    (tmp_path / "second").mkdir()
    second = RelayProcess(tmp_path / "second", vips=[str(vip) for vip in relay.vips])
    assert "it is in use, perhaps by a relay that still drains" in failed_start(second)


def test_a_configuration_without_relay_or_keys_says_both(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path)
    relay.config.write_text('[token]\nkeys_file = "missing.toml"\n')
    said = failed_start(relay)
    assert "[relay] is missing" in said
    assert "missing.toml: cannot be read" in said
