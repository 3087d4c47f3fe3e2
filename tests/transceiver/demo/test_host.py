"""The plan of a host on loopback: ports that are free, and a configuration that the daemons take."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path

import pytest

from core.config import parse
from core.service.files import load_config, load_keyring
from transceiver.demo.host import CONFIG_FILE, LocalHost, plan_host


@pytest.mark.parametrize("processes", [1, 3])
def test_the_configuration_is_what_the_plan_says(processes: int) -> None:
    plan = plan_host(
        processes=processes, relay_settings={"max_flows": 7}, transceiver_settings={"max_sessions": 5}
    )
    config = parse(tomllib.loads(plan.config()))
    assert config.relay is not None
    assert config.transceiver is not None
    assert config.relay.vips == config.pops[0].vips == plan.vips
    assert config.relay.max_flows == 7
    assert config.transceiver.max_sessions == 5
    assert config.transceiver.processes == plan.processes == processes
    assert config.transceiver.http == plan.http
    cluster = config.clusters[1]
    assert (cluster.port_first, cluster.port_last) == plan.ports
    assert plan.ports[1] - plan.ports[0] == processes - 1


def test_ports_are_free_and_all_different() -> None:
    plan = plan_host(processes=2)
    assert len({plan.vips[0].port, *range(plan.ports[0], plan.ports[1] + 1)}) == 3
    assert len({plan.http.port, plan.relay_metrics.port, plan.transceiver_metrics.port}) == 3
    for vip in plan.vips:
        with socket.socket(vip.af, socket.SOCK_DGRAM) as opened:
            opened.bind(vip)


def test_the_port_that_was_asked_for_is_taken_if_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        assert plan_host(port).http.port != port
    assert plan_host(port).http.port == port


def test_a_host_has_its_keys_and_its_configuration_in_its_folder(tmp_path: Path) -> None:
    host = LocalHost(plan_host(), tmp_path)
    path = tmp_path / CONFIG_FILE
    config = load_config(path)
    assert load_keyring(config, path).key_ids
    assert path.read_text() == host.plan.config()
