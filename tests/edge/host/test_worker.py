"""Workers as processes: what they have, and what outlives them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.service import keysfile
from tests.edge.host.kit import HOST, OpenPeer, StartRelay, call, is_running, ufrag_for
from tests.edge.kit import (
    MEDIA,
    eventually,
    request,
)
from tests.edge.xdp_scene import Call, Pop
from tests.memory import keys_in
from tests.rights import only, rights


def test_a_dead_worker_is_replaced_on_its_sockets_and_flows_come_back(
    start: StartRelay, peer: OpenPeer
) -> None:
    relay = start()
    client, transceiver, vip = peer(), peer(HOST), relay.vips[0]
    ufrag = ufrag_for(transceiver)
    call(client, transceiver, vip, ufrag)
    before = relay.samples()
    (pid,) = relay.worker_pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: relay.summary()["workers"] == 0, "its death is seen")
    client.send(MEDIA, vip)
    client.send(request(ufrag), vip)
    assert transceiver.receive()[0][:2] == b"\0\1"
    eventually(lambda: relay.summary()["workers"] == 1, "the next worker is ready")
    after = relay.samples()
    assert after["voxpop_daemon_worker_restarts_total", "0"] == 1
    assert after["received_packets_total", "upstream"] == before["received_packets_total", "upstream"] + 2
    assert after["flow_removals_total", "lost"] == 1
    assert after["flow_installs_total", "installed"] == 2
    assert relay.flows() == 1


def test_workers_do_not_outlive_their_supervisor(start: StartRelay) -> None:
    relay = start(workers=2)
    pids = relay.worker_pids()
    relay.signal(signal.SIGKILL)
    relay.wait()
    eventually(lambda: not any(is_running(pid) for pid in pids), "the workers have ended")


def test_keys_are_not_to_be_seen_from_outside(start: StartRelay) -> None:
    relay = start()
    secret = (relay.directory / "keys.toml").read_text().splitlines()[-1].split('"')[1].encode()
    for pid in (relay.pid, *relay.worker_pids()):
        for name in ("cmdline", "environ"):
            assert secret not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert secret.decode() not in relay.log_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: reads the memory of processes")
def test_a_worker_has_keys_for_its_purposes_and_no_master_key(start: StartRelay) -> None:
    """At a reload, and from the start."""
    purposes = {"token", "ice-pwd", "flow record"}
    relay = start()
    keys = relay.directory / "keys.toml"
    (first,) = relay.worker_pids()
    keysfile.rotate(keys)  # to a key that is random, and so in no memory by chance
    relay.signal(signal.SIGHUP)
    eventually(lambda: keys_in(first, keys)[2] == purposes, "it has the new one")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: relay.summary()["workers"] == 0, "its death is seen")
    eventually(lambda: relay.summary()["workers"] == 1, "the next worker is ready")
    (second,) = relay.worker_pids()
    assert keys_in(second, keys)[2] == purposes
    assert [rights(pid) for pid in (relay.pid, second)] == [only(), only()]


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
def test_the_relay_imports_no_bcc(pop: Pop) -> None:
    assert pop.process is not None
    Call(pop).begin()
    for pid in [pop.process.pid, *pop.worker_pids()]:
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "libbpf.so" in maps
        assert "libbcc" not in maps
        assert "LLVM" not in maps
