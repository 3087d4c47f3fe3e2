"""What labs are made of: valid, within what is set aside for documentation, and never the same twice."""

from __future__ import annotations

import tomllib
from ipaddress import ip_address, ip_interface, ip_network
from itertools import chain

import pytest

from core.addr import IpFamily
from core.config import parse
from edge.lab.plan import MAX_BACKBONES, MAX_LABS, LabPlan, Link
from edge.lab.subnets import choose

DOCUMENTATION = [
    ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]


def hosts(*links: Link) -> list[str]:
    return [address.partition("/")[0] for link in links for address in link.addresses]


@pytest.mark.parametrize("families", [(IpFamily.V4,), (IpFamily.V6,), tuple(IpFamily)])
@pytest.mark.parametrize("index", [0, MAX_LABS - 1])
def test_the_configuration_fits_the_addresses(index: int, families: tuple[IpFamily, ...]) -> None:
    plan = LabPlan(index=index, families=families, backbones=MAX_BACKBONES)
    config = parse(tomllib.loads(plan.config()))
    assert config.relay is not None
    assert config.dataplane is not None
    assert config.transceiver is not None
    assert {vip.host for vip in config.relay.vips} < set(hosts(plan.public))
    assert {vip.family for vip in config.pops[0].vips} == set(families)
    assert set(config.dataplane.backbone) == set(hosts(plan.backbone))
    cluster = config.clusters[1]
    assert [str(cluster.ipv4), str(cluster.ipv6)] == [
        f"{host}/{length}" for host, length in zip(plan.region_hosts, (32, 128), strict=True)
    ]
    assert config.transceiver.http.is_loopback


def test_there_is_a_store_where_one_is_named_and_none_else() -> None:
    assert parse(tomllib.loads(LabPlan().config())).store is None
    store = parse(tomllib.loads(LabPlan(store={"url": "unix:///run/redis.sock"}).config())).store
    assert store is not None
    assert store.url is not None


@pytest.mark.parametrize("backbones", [1, MAX_BACKBONES])
def test_every_address_is_one_of_documentation_and_there_once(backbones: int) -> None:
    plans = [LabPlan(index=index, backbones=backbones) for index in range(MAX_LABS)]
    for plan in plans:
        own = hosts(plan.client, plan.public, plan.backbone, plan.region)
        assert len(set(own)) == len(own)
        assert all(any(ip_address(host) in net for net in DOCUMENTATION) for host in own)
    public = list(chain.from_iterable(hosts(plan.client, plan.public) for plan in plans))
    assert len(set(public)) == len(public), "labs whose client is this machine do not meet"


def test_the_ends_of_a_link_are_in_one_network() -> None:
    for index in range(MAX_LABS):
        plan = LabPlan(index=index)
        for family in (0, 1):
            ours, theirs = (ip_interface(link.addresses[family]) for link in (plan.client, plan.public))
            assert ours.network == theirs.network
            assert ip_address(plan.client_hosts[family]) not in ours.network, "the client is behind a router"


def test_a_plan_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    from edge.lab import plan as module

    monkeypatch.setattr(module, "DIRECTORY", tmp_path)
    elsewhere = choose(7, [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")])
    made = LabPlan(name="here", index=7, subnets=elsewhere, host_is_client=True, relay={"workers": 1})
    made.directory.mkdir()
    (made.directory / "lab.json").write_text(made.dump())
    found = module.load("here")
    assert found.config() == made.config()
    assert found.subnets == elsewhere
    assert found.namespaces == made.namespaces
    assert module.load("elsewhere") == LabPlan(name="elsewhere")
