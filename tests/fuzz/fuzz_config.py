"""Fuzz the configuration: TOML text, and documents with values of any type in any place.

Invariant: any document either raises ConfigError with at least one sentence, none empty, or gives a
configuration that keeps its promises: unicast prefixes, ordered ports, a transceiver inside its cluster,
open only on loopback.
"""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from collections.abc import Iterator
from typing import Any

from core.addr import IpFamily
from core.config import TABLES, Config, parse
from core.errors import ConfigError

_WHOLE: dict[str, Any] = {
    "token": {"keys_file": "keys.toml"},
    "cluster": [{"id": 1, "ports": [4000, 4009], "ipv4": "10.0.0.0/24", "ipv6": "2001:db8::/64"}],
    "pop": [{"id": "here", "vips": ["192.0.2.1:3478", "[2001:db8::1]:3478"]}],
    "relay": {"pop": "here", "vips": ["192.0.2.1:3478"]},
    "dataplane": {"interfaces": ["eth0"], "backbone": ["10.0.0.1", "2001:db8::1"]},
    "announce": {},
    "transceiver": {"cluster": 1, "host": 7, "http": "127.0.0.1:8080", "open": True},
    "store": {"url": "redis://127.0.0.1:6379/0"},
}
_PLACES = [
    (table, key)
    for table, declared in TABLES.items()
    for key in (each.name for each in dataclasses.fields(declared))
]


def test_one_input(data: bytes) -> None:
    """Read the input as TOML; then as a list of changes to a document that is right."""
    try:
        document = tomllib.loads(data.decode(errors="replace"))
    except (ValueError, RecursionError):
        document = {}
    _check(document)
    _check(_changed(iter(data)))


def _check(document: dict[str, Any]) -> None:
    problems = ["none"]
    try:
        _hold(parse(document))
    except ConfigError as error:
        problems = error.problems
    assert problems
    assert all(problems)


def _hold(config: Config) -> None:
    for cluster in config.clusters.values():
        assert 0 < cluster.port_first <= cluster.port_last < 65536
        assert not any(p.is_multicast for p in (cluster.ipv4, cluster.ipv6) if p is not None)
    assert len({pop.id for pop in config.pops}) == len(config.pops)
    for pop in config.pops:
        assert (pop.latitude is None) == (pop.longitude is None)
        assert pop.latitude is None or -90 <= pop.latitude <= 90
        assert pop.longitude is None or -180 <= pop.longitude <= 180
    if config.relay is not None:
        assert config.clusters
    if config.transceiver is not None:
        mine = config.clusters[config.transceiver.cluster]
        assert mine.port_first <= config.transceiver.port <= mine.port_last
        addresses = [mine.address(config.transceiver.host, f) for f in (IpFamily.V4, IpFamily.V6)]
        assert any(addresses)
        assert config.transceiver.http.is_loopback or not config.transceiver.open
        assert config.transceiver.open == (config.transceiver.api_keys_file is None)
        assert bool(config.transceiver.trusted_proxies) == bool(config.transceiver.trusted_headers)
        assert all(proxy.prefixlen for proxy in config.transceiver.trusted_proxies)


def _changed(source: Iterator[int]) -> dict[str, Any]:
    document = copy.deepcopy(_WHOLE)
    for choice in source:
        table, key = _PLACES[choice % len(_PLACES)]
        target = document[table]
        if isinstance(target, list):
            target = target[0] if target else {}
        if isinstance(target, dict):
            target[key] = _value(source, 3)
    return document


def _value(source: Iterator[int], depth: int) -> object:
    """A value of any TOML type, from as many bytes as it takes."""
    kind = next(source, 0) % 7
    size = next(source, 0)
    if kind == 0:
        return size - 1
    if kind == 1:
        return int.from_bytes(bytes(_take(source, size % 9)), "big", signed=True)
    if kind == 2:
        return size % 2 == 0
    if kind == 3:
        return [float("nan"), float("inf"), 0.5, -1.0, 1e300][size % 5]
    if kind == 4 and depth:
        return [_value(source, depth - 1) for _ in range(size % 4)]
    if kind == 5 and depth:
        return {chr(97 + i): _value(source, depth - 1) for i in range(size % 3)}
    return bytes(_take(source, size)).decode(errors="replace")


def _take(source: Iterator[int], count: int) -> list[int]:
    return [byte for byte, _ in zip(source, range(count), strict=False)]
