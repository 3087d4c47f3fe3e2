"""edge.host.settings: what goes over the control socket says to the worker what the operator wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.cluster import Cluster
from core.errors import ConfigError
from core.service.files import load_config
from edge.host.settings import XDP_ROOM_BYTES, decode, load
from tests.edge.kit import KEYRING, MASTERS, RelayProcess, write_keys


@pytest.fixture
def relay(tmp_path: Path) -> RelayProcess:
    """Only its files are used."""
    return RelayProcess(tmp_path, takeover_silence_s=2.5)


def test_a_worker_decodes_what_was_configured(relay: RelayProcess) -> None:
    loaded = load(relay.config)
    settings = decode(json.loads(json.dumps(loaded.message)))
    assert settings.config.clusters == load_config(relay.config).clusters
    assert settings.relay.takeover_silence_s == 2.5
    assert settings.keyring.key_ids == [1]
    assert settings.keyring.tag_key(1) == KEYRING.tag_key(1)


def test_clusters_of_one_family_survive(relay: RelayProcess) -> None:
    relay.write_config('[[cluster]]\nid = 9\nipv6 = "2001:db8::/64"\nports = [5000, 5000]')
    clusters = decode(json.loads(json.dumps(load(relay.config).message))).config.clusters
    assert isinstance(clusters[9], Cluster)
    assert clusters[9].address(1, Endpoint("::", 1).family) == "2001:db8::1"
    assert clusters[9].address(1, Endpoint("0.0.0.0", 1).family) is None


def test_every_key_reaches_the_worker(relay: RelayProcess) -> None:
    write_keys(relay.directory / "keys.toml", MASTERS, 2)
    loaded = load(relay.config)
    assert loaded.settings.keyring.key_ids == [1, 2]
    assert decode(loaded.message).keyring.mint_with == 2


def test_faults_of_configuration_and_keys_are_told_together(relay: RelayProcess) -> None:
    relay.settings |= {"vips": ["0.0.0.0:3478", "[::]:3478"], "max_flows": 1, "workers": 2}
    relay.write_config()
    (relay.directory / "keys.toml").chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        load(relay.config)
    assert len(caught.value.problems) == 4
    assert all(str(relay.directory) in problem for problem in caught.value.problems)


def test_more_clusters_than_a_message_holds_are_refused_in_time(relay: RelayProcess) -> None:
    more = '[[cluster]]\nid = {}\nipv4 = "10.0.0.0/8"\nports = [5000, 5000]\n'
    relay.write_config("".join(more.format(1000 + n) for n in range(2000)))
    with pytest.raises(ConfigError, match="more than a worker can take"):
        load(relay.config)


def test_settings_do_not_show_keys(relay: RelayProcess) -> None:
    loaded = load(relay.config)
    shown = repr(loaded.settings) + repr(decode(loaded.message))
    assert "master" not in shown


def test_a_worker_has_the_whole_document(relay: RelayProcess) -> None:
    """A new setting reaches it by its declaration alone."""
    loaded = load(relay.config)
    settings = decode(json.loads(json.dumps(loaded.message)))
    assert settings.config == loaded.settings.config == load_config(relay.config)


def test_there_is_room_for_what_the_fast_path_adds() -> None:
    hosts = [f"2001:db8:ffff:ffff:ffff:ffff:ffff:{n:x}" for n in range(0xFF00, 0x10000)]
    message = {
        "pin_dir": "/sys/fs/bpf/" + "x" * 200,
        "vip_ids": list(range(8)),
        "backbones": {"4": [], "6": [list(row) for row in enumerate(hosts)]},
        "nat_ports": (10000, 32767),
        "dscp_upstream": 63,
    }
    assert len(hosts) == 256
    assert len(json.dumps(message)) <= XDP_ROOM_BYTES
