"""The number of a host by its address: on loopback, and in a namespace with addresses as a pod has them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from core.cluster import Cluster
from core.errors import ConfigError, UnavailableError
from core.service import keysfile
from ebpf.net import netns
from ebpf.net.netns import Wiring
from tests.transceiver.descriptions import CHROMIUM, attributes
from tests.transceiver.host.test_settings import CONFIG
from tests.transceiver.host_kit import CALLS, Host
from transceiver.host.address import own_host
from transceiver.host.settings import load


def cluster(ipv4: str | None = None, ipv6: str | None = None) -> Cluster:
    return Cluster(
        1,
        None if ipv4 is None else IPv4Network(ipv4),
        None if ipv6 is None else IPv6Network(ipv6),
        40000,
        40007,
    )


@pytest.fixture
def pod() -> Iterator[str]:
    """10.244.1.7 and 2001:db8:244::7 on a link, all else behind a router."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    name = f"vpx-pod-{os.getpid()}"
    netns.create(name)
    try:
        with Wiring(name) as wiring:
            wiring.veth("eth0", "peer", name)
            for address in ("10.244.1.7/24", "2001:db8:244::7/112", "192.0.2.9/24"):
                wiring.address("eth0", address)
            wiring.up("eth0")
            wiring.up("peer")
            wiring.route("0.0.0.0/0", "10.244.1.1")
            wiring.route("2001:db8::/32", "2001:db8:244::1")
        yield name
    finally:
        netns.remove(name)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "number"),
    [("127.0.0.0/8", None, 1), ("127.0.0.1/32", None, 0), (None, "::1/128", 0), (None, "::/127", 1)],
)
def test_on_loopback(ipv4: str | None, ipv6: str | None, number: int) -> None:
    assert own_host(cluster(ipv4, ipv6)) == number


@pytest.mark.netns
@pytest.mark.parametrize(
    ("ipv4", "ipv6", "number"),
    [
        ("10.244.0.0/16", None, 0x107),
        ("10.244.1.0/24", None, 7),
        ("10.0.0.0/8", None, 0xF40107),
        (None, "2001:db8:244::/96", 7),
        ("10.244.1.0/24", "2001:db8:244::/96", 7),
    ],
)
def test_in_a_pod(pod: str, ipv4: str | None, ipv6: str | None, number: int) -> None:
    with netns.inside(pod):
        assert own_host(cluster(ipv4, ipv6)) == number


@pytest.mark.netns
@pytest.mark.parametrize(
    ("ipv4", "ipv6", "says"),
    [
        (
            None,
            "2001:db9::/96",
            "no address in the cluster's 2001:db9::/96: .* none .Network is unreachable.",
        ),
        (
            "10.244.2.0/24",
            None,
            r"no address in the cluster's 10\.244\.2\.0/24: .* is 10\.244\.1\.7\. Correct",
        ),
        ("10.244.0.0/16", "2001:db8:244::/96", "number 263 in .* but number 7 in .*: make two clusters"),
        (None, "2001:db8::/32", "more than the 32 bits of a token: give the cluster a prefix of /96"),
    ],
    ids=["no route", "elsewhere", "two numbers", "too many bits"],
)
def test_what_cannot_be_is_said_with_its_fix(pod: str, ipv4: str | None, ipv6: str | None, says: str) -> None:
    with netns.inside(pod), pytest.raises(UnavailableError, match=says):
        own_host(cluster(ipv4, ipv6))


def test_a_configuration_is_checked_elsewhere_than_where_it_runs(tmp_path: Path) -> None:
    keysfile.new(tmp_path / "keys.toml")
    path = tmp_path / "voxpop.toml"
    path.write_text(CONFIG.replace("host = 0", 'host = "address"').replace("127.0.0.1/32", "10.245.0.0/16"))
    load(path)
    with pytest.raises(ConfigError, match=r'voxpop.toml: transceiver.host = "address": this host has no'):
        load(path, own_host)
    path.write_text(CONFIG.replace("host = 0", 'host = "address"').replace("127.0.0.1/32", "127.0.0.0/8"))
    assert load(path, own_host).settings.transceiver.host == 1


@pytest.mark.slow
def test_a_transceiver_that_is_told_no_number_mints_tokens_that_lead_to_it(tmp_path: Path) -> None:
    with Host(tmp_path, {"host": '"address"'}, prefix="127.0.0.0/8") as host:
        answer = host.request("POST", CALLS, CHROMIUM, {"Content-Type": "application/sdp"})
        ufrag = attributes(answer.text, "ice-ufrag")[0]
        explained = host.verb("token", "explain", ufrag, "--json", "--config", host.config)
        assert explained.returncode == 0, explained.stderr
        told = json.loads(explained.stdout)
        assert told["claims"]["host"] == 1
        assert told["leads_to"]["ipv4"] in [f"127.0.0.1:{host.udp + process}" for process in range(2)]
        assert host.request("DELETE", answer.headers["Location"]).status == 200
