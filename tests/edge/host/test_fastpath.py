"""What stands between a relay and its fast path, and what reaches it when the configuration changes."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest

from core.config import DataplaneSettings
from edge.host.capabilities import RELAY, WORKER
from edge.host.fastpath import media_rates
from tests.edge.kit import MASTERS, eventually, request, write_keys
from tests.edge.xdp_scene import Call, Pop, as_nobody, carried
from tests.rights import only, rights

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_a_relay_without_rights_falls_back(pop: Pop) -> None:
    result = as_nobody(pop, "relay")
    assert result.returncode == 1
    assert 'relay.forwarder = "xdp": no right to use the fast path: CAP_BPF, CAP_NET_ADMIN' in result.stderr


def test_other_table_sizes_need_a_detach(stopped: Pop) -> None:
    stopped.succeed("dataplane", "run")
    stopped.relay["max_flows"] = 2000
    stopped.write_config()
    for command in ("dataplane", "run"), ("relay",):
        result = stopped.run(*command)
        assert result.returncode == 1
        assert "index4 has room for 1001 flows, the configuration asks for 2002" in result.stderr
    doctor = stopped.run("doctor")
    assert doctor.returncode == 5
    assert "FAILED  maps: index4 has room for 1001 flows, the configuration asks for 2002" in doctor.stdout
    stopped.succeed("dataplane", "detach", "--unpin")
    stopped.succeed("dataplane", "run")
    assert json.loads(stopped.succeed("dataplane", "status", "--json"))["tables"]["index4"] == 182


def test_auto_without_a_dataplane_says_why(stopped: Pop) -> None:
    stopped.relay["forwarder"] = "auto"
    stopped.write_config()
    stopped.start()
    assert "`voxpop dataplane run` first" in str(stopped.summary()["why_not_xdp"])
    assert stopped.summary()["forwarder"] == "userspace"


def test_with_a_store_more_packets_of_unknown_flows_may_come_up() -> None:
    usual = DataplaneSettings(interfaces=("eth0",), backbone=("192.0.2.1",))
    assert media_rates(usual, has_store=False) == (20, 1000)
    assert media_rates(usual, has_store=True) == (5000, 20_000)
    own = replace(usual, punt_media_source_pps=7, punt_media_total_pps=70)
    assert media_rates(own, has_store=True) == media_rates(own, has_store=False) == (7, 70)


def test_keys_and_budgets_follow_a_reload(pop: Pop) -> None:
    assert pop.process is not None
    write_keys(pop.scene.directory / "keys.toml", {2: MASTERS[2]}, 2)
    pop.dataplane["dscp_upstream"] = 46
    pop.write_config()
    os.kill(pop.process.pid, signal.SIGHUP)
    pop.wait_for_log("reloaded: keys 2")
    old = Call(pop)
    old.client.send(request(old.ufrag), old.vip)
    refused = ("fastpath_packets_total", "ipv4", "drop_token_unknown_key")
    eventually(lambda: pop.samples()[refused], "the program refuses the old key")
    tables = pop.scene.tables()
    assert tables.config["tos_set"].tolist() == [46 << 2, 0]
    tables.close()
    workers = pop.worker_pids()
    os.kill(workers[0], signal.SIGKILL)
    eventually(lambda: pop.summary()["workers"] == len(workers) - 1, "its death is seen")
    eventually(lambda: pop.summary()["workers"] == len(workers), "the next worker is ready")
    assert rights(pop.process.pid) == only(RELAY)
    assert {rights(pid) for pid in pop.worker_pids()} == {only(WORKER, RELAY)}


def test_detach_takes_it_off_and_auto_falls_back_loudly(pop: Pop) -> None:
    pop.stop()
    assert set(pop.succeed("dataplane", "detach").split()) == {"pub:", "bb:", "detached"}
    assert pop.run("dataplane", "status").returncode == 1
    refused = pop.run("relay")
    assert refused.returncode == 1
    assert "pub does not run the fast path: `voxpop dataplane run` first" in refused.stderr
    pop.relay["forwarder"] = "auto"
    pop.write_config()
    pop.start()
    assert pop.summary()["forwarder"] == "userspace"
    assert "pub does not run the fast path" in str(pop.summary()["why_not_xdp"])
    assert "forwarder: userspace" in pop.log.read_text()
    call = Call(pop).begin()
    call.exchange(3)
    assert carried(pop, "slow") == 4
    assert carried(pop, "fast") == 0
