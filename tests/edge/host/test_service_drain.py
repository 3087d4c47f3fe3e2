"""`voxpop drain relay` with a real relay and flows that go on: taken out, kept, expelled, taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.addr import Endpoint
from tests.edge.host.kit import HOST, OpenPeer, StartRelay, call, echo, ufrag_for
from tests.edge.kit import MEDIA, PATIENCE_S, REPOSITORY, Peer, RelayProcess, eventually, request
from tests.edge.xdp_scene import Call, running


def verb(relay: RelayProcess, *arguments: str) -> Any:
    """What a verb of the operator's says, as JSON; the last of its lines."""
    command = [sys.executable, "voxpop.py", *arguments, "--json", "--config", str(relay.config)]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def is_refused(relay: RelayProcess, late: Peer, transceiver: Peer, vip: Endpoint) -> bool:
    late.send(request(ufrag_for(transceiver)), vip)
    return relay.counter("refusals_total", "draining") > 0


def test_a_drained_relay_carries_what_it_has_and_takes_new_flows_once_undrained(
    start: StartRelay, peer: OpenPeer
) -> None:
    relay = start(workers=2)
    client, late, transceiver, vip = peer(), peer(), peer(HOST), relay.vips[0]
    path = call(client, transceiver, vip)
    status = verb(relay, "drain", "relay", "--for", "10m")
    assert (status["left"], status["work"]) == (1, "flows")
    code, body = relay.get("/readyz")
    assert code == 503
    assert json.loads(body)["state"] == "draining"
    assert "oldest_s" not in json.loads(body)["drain"], "when flows began is not kept"
    assert relay.counter("voxpop_daemon_state", "draining") == 1
    assert relay.counter("voxpop_daemon_drain_deadline_timestamp_seconds") > 0
    eventually(lambda: is_refused(relay, late, transceiver, vip), "new flows are refused")
    echo(client, transceiver, vip, path)
    assert transceiver.is_silent()
    assert verb(relay, "undrain", "relay")["state"] == "ready"
    assert relay.get("/readyz")[0] == 200
    assert relay.counter("voxpop_daemon_drain_deadline_timestamp_seconds") == 0

    def is_taken() -> bool:
        late.send(request(ufrag_for(transceiver)), vip)
        return relay.flows() == 2

    eventually(is_taken, "new flows are taken again")
    while not transceiver.is_silent():
        transceiver.receive()
    echo(client, transceiver, vip, path)


def test_waiting_ends_with_the_last_flow(start: StartRelay, peer: OpenPeer) -> None:
    relay = start(idle_timeout_s=1)
    call(peer(), peer(HOST), relay.vips[0])
    status = verb(relay, "drain", "relay", "--wait")
    assert (status["left"], status["drain"]["is_done"]) == (0, True)
    assert relay.counter("flow_removals_total", "idle") == 1
    assert relay.summary()["state"] == "draining"
    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0


def test_flows_that_are_left_when_the_time_is_over_are_ended_however_alive(
    start: StartRelay, peer: OpenPeer
) -> None:
    relay = start(idle_timeout_s=3600)
    clients, transceiver, vip = [peer() for _ in range(50)], peer(HOST), relay.vips[0]
    paths = [call(client, transceiver, vip) for client in clients]
    status = verb(relay, "drain", "relay", "--for", "0", "--wait")
    assert status["left"] == 0
    assert relay.flows() == 0
    assert relay.counter("flow_removals_total", "drained") == 50
    clients[0].send(MEDIA, vip)
    eventually(lambda: relay.counter("refusals_total", "unknown_flow_media") == 1, "it is nobody's")
    verb(relay, "undrain", "relay")
    eventually(lambda: relay.summary()["state"] == "ready", "it is ready")
    assert call(clients[0], transceiver, vip) != paths[0], "a new flow, which stays"
    assert relay.flows() == 1


def test_a_worker_that_dies_in_a_drain_comes_back_draining(start: StartRelay, peer: OpenPeer) -> None:
    relay = start()
    late, transceiver, vip = peer(), peer(HOST), relay.vips[0]
    verb(relay, "drain", "relay")
    (pid,) = relay.worker_pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: relay.worker_pids() not in ([], [pid]), "another is there")
    eventually(lambda: relay.summary()["workers"] == 1, "it is ready")
    before = relay.counter("refusals_total", "draining")
    late.send(request(ufrag_for(transceiver)), vip)
    eventually(lambda: relay.counter("refusals_total", "draining") > before, "it refuses new flows")
    assert transceiver.is_silent()


def test_a_reload_keeps_the_drain(start: StartRelay, peer: OpenPeer) -> None:
    relay = start()
    verb(relay, "drain", "relay")
    relay.signal(signal.SIGHUP)
    eventually(lambda: relay.counter("voxpop_daemon_reloads_total", "done") == 1, "reloaded")
    late, transceiver = peer(), peer(HOST)
    eventually(lambda: is_refused(relay, late, transceiver, relay.vips[0]), "new flows are refused")
    assert transceiver.is_silent()
    assert relay.flows() == 0


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
def test_the_fast_path_carries_flows_through_a_drain_and_has_none_after_its_time(tmp_path: Path) -> None:
    with running(tmp_path, admin_socket="admin.sock", idle_timeout_s=3600) as pop:
        calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
        assert json.loads(pop.succeed("drain", "relay", "--for", "10m", "--json"))["left"] == 2
        for each in calls:
            each.exchange(10)
        assert json.loads(pop.succeed("flows", "count", "--json"))["flows"] == 2
        over = pop.succeed("drain", "relay", "--for", "0", "--wait")
        assert over.splitlines()[-1] == "relay: drained, no flows left"
        assert json.loads(pop.succeed("flows", "count", "--json"))["flows"] == 0
        assert pop.samples()["relay_flow_removals_total", "drained"] == 2
        pop.succeed("undrain", "relay")
        Call(pop, 0).begin().exchange(10)


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
def test_flows_that_a_worker_finds_after_the_drains_time_are_ended_too(tmp_path: Path) -> None:
    """The one that should have ended them stood still, and was killed."""
    with running(tmp_path, admin_socket="admin.sock", idle_timeout_s=3600) as pop:
        Call(pop, 0).begin()
        (worker,) = pop.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        pop.succeed("drain", "relay", "--for", "0")
        pop.wait_for_log("the drain's time is over: what is left is ended (1 flows)")
        os.kill(worker, signal.SIGKILL)
        assert pop.succeed("drain", "relay", "--for", "0", "--wait").splitlines()[-1] == (
            "relay: drained, no flows left"
        )
        assert json.loads(pop.succeed("flows", "count", "--json"))["flows"] == 0
