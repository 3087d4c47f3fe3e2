"""The voxpop.toml of a planet's hosts, as their daemons read it."""

from __future__ import annotations

import tomllib

import pytest

from core.addr import Endpoint
from core.config import Config, parse
from core.errors import ConfigError
from edge.lab.planet import addresses, config, spec
from edge.lab.planet.layout import Layout
from tests.edge.lab.planet.kit import SMALL, default, largest, small


def read(document: config.Document) -> Config:
    return parse(tomllib.loads(config.render(document)))


def test_every_daemon_takes_its_file_and_nobody_else_has_one() -> None:
    layout = default()
    hosts = {site.name for site in (*layout.relay_hosts, *layout.transceiver_hosts)}
    for site in layout.sites():
        document = config.of_host(layout, site)
        assert (document is not None) == (site.name in hosts)
        if document is not None:
            read(document)


def test_the_largest_planet_is_no_larger_than_its_daemons_take() -> None:
    layout = largest()
    for host in (layout.relay_hosts[-1], layout.transceiver_hosts[-1]):
        document = config.of_host(layout, host)
        assert document is not None
        told = read(document)
        assert (len(told.pops), len(told.clusters)) == (spec.MAX_POPS, spec.MAX_REGIONS)


def test_a_pops_hosts_have_its_vips_and_addresses_of_their_own() -> None:
    layout = default()
    one, other = (read(config.of_relay_host(layout, host)) for host in layout.pops[1].hosts)
    assert one.relay is not None
    assert other.relay is not None
    assert one.dataplane is not None
    assert other.dataplane is not None
    assert one.relay.pop == other.relay.pop == "frankfurt"
    assert (one.relay.host, other.relay.host) == ("frankfurt-1", "frankfurt-2")
    assert one.pop("frankfurt") is not None
    assert one.relay.vips == other.relay.vips == addresses.vip(2).endpoints(3478)
    assert not set(one.dataplane.backbone) & set(other.dataplane.backbone)
    assert one.dataplane.pin_dir != other.dataplane.pin_dir
    assert one.store is not None
    assert str(one.store.url) == f"redis at {layout.redis[1].at}"


def test_transceivers_know_all_pops_and_relays_all_clusters() -> None:
    layout = default()
    europe = read(config.of_transceiver_host(layout, layout.transceiver_hosts[0]))
    assert [(pop.id, pop.vips, pop.status) for pop in europe.pops] == [
        (pop.spec.name, pop.vips[0].endpoints(3478), pop.status) for pop in layout.pops
    ]
    assert europe.pops[0].latitude == layout.pops[0].spec.latitude
    assert europe.transceiver is not None
    for host in layout.transceiver_hosts:
        relay = read(config.of_relay_host(layout, layout.relay_hosts[0]))
        cluster = relay.clusters[host.region.number]
        of_host = read(config.of_transceiver_host(layout, host)).transceiver
        assert of_host is not None
        assert of_host.http == Endpoint(host.address.ipv4, addresses.SIGNALING_PORT)
        for family, address in zip((4, 6), host.address.both, strict=True):
            assert cluster.address(of_host.host, family) == address  # type: ignore[arg-type]
        assert cluster.port_last - cluster.port_first + 1 == host.region.spec.processes


def test_without_a_redis_there_is_no_store() -> None:
    layout = small()
    tokyo = layout.pops[1].hosts[0]
    assert "store" not in config.of_relay_host(layout, tokyo)


def test_what_the_planets_file_says_of_daemons_is_in_the_files_of_all() -> None:
    text = SMALL.replace("[transceiver]\n", "[transceiver]\nmax_sessions = 7\n")
    text = f"[relay]\nidle_timeout_s = 11\n[store]\nflow_lease_s = 66\n{text}"
    layout = Layout("x", spec.parse(text))
    for host in layout.relay_hosts:
        told = read(config.of_relay_host(layout, host))
        assert told.relay is not None
        assert (told.relay.idle_timeout_s, told.transceiver) == (11, None)
        assert told.store is None or told.store.flow_lease_s == 66
    of_transceiver = read(config.of_transceiver_host(layout, layout.transceiver_hosts[0])).transceiver
    assert of_transceiver is not None
    assert of_transceiver.max_sessions == 7


def test_a_document_is_changed_key_by_key() -> None:
    before = config.of_relay_host(small(), small().relay_hosts[0])
    after = config.changed(
        before, {"relay": {"max_flows": 9, "admin_socket": None}, "store": {"timeout_ms": 5}}
    )
    assert after["relay"] == {
        **{key: value for key, value in before["relay"].items() if key != "admin_socket"},
        "max_flows": 9,
    }
    assert after["store"]["timeout_ms"] == 5
    assert after["store"]["url"] == before["store"]["url"]
    assert before["relay"].get("max_flows") is None, "it is a copy"
    assert tomllib.loads(config.render(after)) == after
    with pytest.raises(ConfigError, match=r"relay\.max_flows must be"):
        read(config.changed(before, {"relay": {"max_flows": 0}}))


def test_what_is_rendered_is_read_again() -> None:
    document = {
        "a": {"text": 'quo"te', "yes": True, "list": [1, 2], "float": 1.5},
        "several": [{"id": 1}, {"id": 2}],
        "backend": {"parrot": {"delay_ms": 3}, "x.y": {"z": {"k": 1}}},
    }
    assert tomllib.loads(config.render(document)) == document
