"""core.config: what a whole file may say, and every sentence about what it may not."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint
from core.config import TABLES, Config, parse
from core.config.reference import example
from core.errors import ConfigError

WHOLE: dict[str, Any] = {
    "token": {"keys_file": "keys.toml"},
    "cluster": [
        {"id": 1, "ports": [40000, 40007], "ipv4": "10.0.0.0/24", "ipv6": "2001:db8::/64"},
        {"id": 2, "ports": [5000, 5000], "ipv6": "2001:db8:2::/64"},
    ],
    "pop": [{"id": "here", "vips": ["192.0.2.1:3478", "[2001:db8::1]:3478"]}],
    "relay": {"pop": "here", "vips": ["192.0.2.1:3478"]},
    "announce": {"rise": 2, "hold_down_s": 5},
    "store": {"url": "redis://127.0.0.1:6379", "user": "voxpop", "password_file": "store-password"},
    "transceiver": {"cluster": 1, "host": 7, "http": "127.0.0.1:8080", "open": True},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """WHOLE with one value set, or deleted for None; numbers in the path index arrays."""
    document = copy.deepcopy(WHOLE)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    table: Any = document
    for part in parents:
        table = table[part]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return document


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(document)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_whole_file() -> None:
    config = parse(WHOLE)
    assert isinstance(config, Config)
    assert config.clusters[1].port_last == 40007
    assert config.clusters[2].ipv4 is None
    assert config.pops[0].vips[1] == Endpoint("2001:db8::1", 3478)
    assert config.relay is not None
    assert config.relay.max_flows == 4096
    assert config.transceiver is not None
    assert config.transceiver.port == 40000, "0 stands for the cluster's first"
    assert config.store is not None
    assert config.store.url.nodes == (("127.0.0.1", 6379),)
    assert (config.store.timeout_ms, config.store.flow_lease_s) == (100, 180)
    assert config.announce is not None
    assert (config.announce.interface, config.announce.rise, config.announce.fall) == ("voxpop-up", 2, 6)


def test_tables_of_other_processes_may_be_absent() -> None:
    config = parse({"token": {"keys_file": "k"}})
    assert (config.clusters, config.pops, config.relay, config.transceiver) == ({}, (), None, None)
    assert config.store is None
    assert config.announce is None


def test_backends_have_tables_that_only_they_understand() -> None:
    tables = {"parrot": {}, "some.body-s": {"url": "wss://x", "limits": {"turns": [1, 2.5]}, "loud": True}}
    assert parse(WHOLE | {"backend": tables}).backends == tables
    assert parse(WHOLE).backends == {}


def test_every_fault_is_named_and_blames_nothing_that_only_refers_to_it() -> None:
    found = problems(WHOLE | {"cluster": [3], "pop": [3], "relay": 3, "dataplane": {}, "relais": {}})
    assert [sentence.partition(" ")[0] for sentence in found] == [
        "[relais]", "cluster[0]", "pop[0]", "relay", "dataplane.interfaces", "dataplane.backbone",
    ]  # fmt: skip


def test_the_example_in_the_reference_is_valid() -> None:
    config = parse(tomllib.loads(example()))
    assert config.relay is not None
    assert config.transceiver is not None


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (
            "token",
            None,
            "token.keys_file is missing: file with the master keys, mode 0600; made by `voxpop keys new`",
        ),
        ("token", 3, "token must be a table"),
        ("token.keys_file", 3, "token.keys_file must be a path, in quotes"),
        ("relais", {}, "[relais] is not a table; did you mean relay?"),
        ("backend", [], "backend must be written as [backend.NAME]"),
        (
            "backend",
            {"a b": {}},
            "backend.a b must be a name of 1–64 letters, digits, '-', '_' or '.', in quotes",
        ),
        ("backend", {"x": 3}, "backend.x must be a table, [backend.x]"),
        (
            "backend",
            {"x": {"since": [{"day": date(2026, 1, 1)}]}},
            "backend.x has a date or a time in it: write it as a text, in quotes",
        ),
        (
            "transceiver.backend",
            "a b",
            "transceiver.backend must be a name of 1–64 letters, digits, '-', '_' or '.', in quotes",
        ),
        ("cluster", {"id": 1}, "cluster must be written as [[cluster]]"),
        ("cluster", [3], "cluster[0] must be a table"),
        ("cluster.0.id", None, "cluster[0].id is missing: number of the cluster, the same in every PoP"),
        ("cluster.0.id", 65536, "cluster[0].id must be a whole number, 0–65535"),
        ("cluster.1.id", 1, "cluster[1].id 1 is used twice"),
        ("cluster.1.ipv6", None, "cluster[1] needs ipv4, ipv6 or both"),
        (
            "cluster.0.ports",
            [9, 8],
            "cluster[0].ports must be [first, last] UDP port, 1–65535, the first not above the last",
        ),
        ("pop", {"id": "x"}, "pop must be written as [[pop]]"),
        ("pop.0.vips", ["0.0.0.0:3478"], "pop[0].vips: 0.0.0.0:3478 is no address that a client can send to"),
        ("pop.0.vips", [], "pop[0].vips must have 1–8 entries, has 0"),
        ("pop.0.vips", None, "pop[0].vips is missing: its public addresses and UDP ports"),
        ("pop.0.longitude", 999, "pop[0].longitude must be a number, -180–180 °"),
        ("pop.0.latitude", 999, "pop[0].latitude must be a number, -90–90 °"),
        ("pop.0.latitude", float("nan"), "pop[0].latitude must be a number, -90–90 °"),
        ("pop.0.longitude", float("-inf"), "pop[0].longitude must be a number, -180–180 °"),
        ("pop.0.longitude", "139.7", "pop[0].longitude must be a number, -180–180 °"),
        (
            "pop.0.latitude",
            35.7,
            "pop[0]: a place has both latitude and longitude; give both, or neither",
        ),
        (
            "transceiver.trusted_proxies",
            ["10.0.0.0/8"],
            "transceiver.trusted_headers is missing: say which headers the trusted_proxies set",
        ),
        (
            "transceiver.trusted_headers",
            ["Voxpop-Pop"],
            "transceiver.trusted_proxies is missing: say from whom the trusted_headers come",
        ),
        (
            "transceiver.trusted_headers",
            ["X-Real-IP"],
            "transceiver.trusted_headers must be one of Voxpop-Pop | CF-IPLatitude | CF-Connecting-IP | "
            "Forwarded | X-Forwarded-For",
        ),
        (
            "transceiver.location_database",
            "cities.mmdb",
            "transceiver: location_database tells where a client is, but no [[pop]] has latitude and "
            "longitude",
        ),
        ("pop.0.vips", ["[::]:3478"], "pop[0].vips: [::]:3478 is no address that a client can send to"),
        ("pop", [WHOLE["pop"][0]] * 2, "pop[1].id here is used twice"),
        ("relay.vip", ["192.0.2.1:3478"], "relay.vip is not a setting; did you mean vips?"),
        ("relay.vips", [], "relay.vips must have 1–8 entries, has 0"),
        ("relay.forwarder", "ebpf", "relay.forwarder must be one of auto | xdp | userspace"),
        ("transceiver.cluster", 3, "transceiver.cluster 3 has no [[cluster]] with that id"),
        (
            "transceiver.port",
            39999,
            "transceiver.port: ports 39999–39999 are not all within cluster 1's 40000–40007",
        ),
        (
            "transceiver.processes",
            9,
            "transceiver.port: ports 40000–40008 are not all within cluster 1's 40000–40007",
        ),
        (
            "transceiver.http",
            "192.0.2.1:80",
            "transceiver.open = true lets anyone call, so transceiver.http must be a loopback address, not "
            "192.0.2.1:80; or set transceiver.api_keys_file",
        ),
        (
            "transceiver.http",
            "0.0.0.0:80",
            "transceiver.open = true lets anyone call, so transceiver.http must be a loopback address, not "
            "0.0.0.0:80; or set transceiver.api_keys_file",
        ),
        (
            "transceiver.open",
            False,
            "transceiver.api_keys_file is missing (or set transceiver.open = true on loopback)",
        ),
        (
            "transceiver.api_keys_file",
            "k",
            "transceiver.open = true asks for no API key: remove it, or api_keys_file",
        ),
        (
            "transceiver.metrics",
            "127.0.0.1:8080",
            "transceiver.metrics 127.0.0.1:8080 is transceiver.http too: choose another port",
        ),
        (
            "transceiver.listen",
            ["192.0.2.1", "192.0.2.2"],
            "transceiver.listen: give at most one address per family, IPv4 and IPv6",
        ),
        ("transceiver.listen", ["eth0"], "transceiver.listen 'eth0' is not an IP address"),
        ("announce.rise", 0, "announce.rise must be a whole number, 1–1000"),
        ("announce.interface", "eth0/1", "announce.interface must be the name of an interface, in quotes"),
        (
            "announce.metrics",
            "127.0.0.1:9464",
            "announce.metrics 127.0.0.1:9464 is relay.metrics too: choose another port",
        ),
        (
            "announce.hold_down_max_s",
            4,
            "announce.hold_down_max_s 4 is less than announce.hold_down_s 5: raise it, or lower hold_down_s",
        ),
        ("relay", None, "announce: it asks the relay of this host, so [relay] is needed"),
        ("store.url", None, "store.url is missing: where it is"),
        (
            "store.url",
            "redis://:secret@127.0.0.1",
            "store.url must not hold a user or a password: they are store.user and store.password_file",
        ),
        ("store.timeout_ms", 5000, "store.timeout_ms must be a whole number, 5–1000 ms"),
        ("store.password_file", None, "store.user needs store.password_file"),
        ("store.ca_file", "ca.pem", "store.ca_file is for TLS: write rediss://… in store.url"),
    ],
)
def test_one_fault_gives_one_sentence(path: str, value: object, complaint: str) -> None:
    assert problems(changed(path, value)) == [complaint]


def test_a_host_must_fit_into_one_of_the_prefixes() -> None:
    parse(changed("transceiver.host", 0xFFFFFFFF))  # into that of IPv6
    document = changed("cluster.0.ipv6", None)
    document["transceiver"]["host"] = 256
    assert problems(document) == ["transceiver.host 256 does not fit into a prefix of cluster 1"]


def test_relays_need_clusters_and_transceivers_need_pops() -> None:
    assert problems(changed("pop", None)) == [
        "transceiver: answers name PoPs, so at least one [[pop]] is needed"
    ]
    assert problems({key: WHOLE[key] for key in ("token", "relay")}) == [
        "relay: tokens lead into clusters, so at least one [[cluster]] is needed"
    ]


def test_faults_in_all_tables_are_named_at_once_and_none_is_blamed_on_another() -> None:
    document = changed("cluster.0.id", "one")
    document["pop"][0]["vips"] = "192.0.2.1:3478"
    document["relay"]["workers"] = -1
    assert problems(document) == [
        "cluster[0].id must be a whole number, 0–65535",
        "pop[0].vips must be an array of ADDRESS:PORT",
        "relay.workers must be a whole number, 0–256",
    ]


values = st.recursive(
    st.booleans()
    | st.integers(-5, 70000)
    | st.floats()
    | st.sampled_from(["", "x", "127.0.0.1:1", "10.0.0.0/8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "ports", "x"]), inner),
    max_leaves=6,
)
every_key = [
    f"{t}.{field.name}"
    for t in ("token", "relay", "announce", "store", "transceiver")
    for field in dataclasses.fields(TABLES[t])
] + [f"{t}.0.{field.name}" for t in ("cluster", "pop") for field in dataclasses.fields(TABLES[t])]


@given(st.sampled_from([*TABLES, *every_key, "cluster.0", "pop.0"]), values)
def test_any_value_anywhere_is_taken_or_refused(path: str, value: object) -> None:
    try:
        parse(changed(path, value))
    except ConfigError as error:
        assert all(error.problems)  # noqa: PT017 - most values are refused, some are not
