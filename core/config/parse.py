"""From a decoded TOML document to a `Config`, with every check that needs more than one key."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from core.cluster import Cluster
from core.config.tables import (
    TABLES,
    ClusterSettings,
    DataplaneSettings,
    PopSettings,
    RelaySettings,
    TokenSettings,
    TransceiverSettings,
)
from core.errors import ConfigError
from core.schema import read_table, suggest

FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole file. Tables that a process does not need may be absent from its file."""

    token: TokenSettings
    clusters: dict[int, Cluster]
    pops: tuple[PopSettings, ...]
    relay: RelaySettings | None
    dataplane: DataplaneSettings | None
    transceiver: TransceiverSettings | None


def parse(document: Mapping[str, object]) -> Config:
    """Validate a decoded TOML document. Raises ConfigError."""
    problems = [f"[{key}] is not a table; {suggest(key, TABLES)}" for key in document if key not in TABLES]
    token = read_table(TokenSettings, document.get("token", {}), "token", problems)
    clusters = _read_clusters(document.get("cluster", []), problems)
    pops = _read_pops(document.get("pop", []), problems)
    relay = dataplane = transceiver = None
    if "relay" in document:
        relay = read_table(RelaySettings, document["relay"], "relay", problems)
        if not clusters and not _has_fault("cluster", problems):
            problems.append("relay: tokens lead into clusters, so at least one [[cluster]] is needed")
    if "dataplane" in document:
        dataplane = read_table(DataplaneSettings, document["dataplane"], "dataplane", problems)
        if dataplane is not None:
            _check_dataplane(dataplane, relay, problems)
    if "transceiver" in document:
        transceiver = read_table(TransceiverSettings, document["transceiver"], "transceiver", problems)
        if not pops and not _has_fault("pop", problems):
            problems.append("transceiver: answers name PoPs, so at least one [[pop]] is needed")
        if transceiver is not None:
            _check_access(transceiver, problems)
            _check_listen(transceiver, problems)
            transceiver = _place(transceiver, clusters, problems)
    if problems or token is None:
        raise ConfigError(problems)
    return Config(token, clusters, pops, relay, dataplane, transceiver)


def _read_clusters(tables: object, problems: list[str]) -> dict[int, Cluster]:
    clusters: dict[int, Cluster] = {}
    if not isinstance(tables, list):
        problems.append("cluster must be written as [[cluster]]")
        return clusters
    for index, table in enumerate(tables):
        path = f"cluster[{index}]"
        read = read_table(ClusterSettings, table, path, problems)
        if read is None:
            continue
        if read.ipv4 is None and read.ipv6 is None:
            problems.append(f"{path} needs ipv4, ipv6 or both")
        if read.id in clusters:
            problems.append(f"{path}.id {read.id} is used twice")
        clusters[read.id] = Cluster(read.id, read.ipv4, read.ipv6, *read.ports)
    return clusters


def _read_pops(tables: object, problems: list[str]) -> tuple[PopSettings, ...]:
    if not isinstance(tables, list):
        problems.append("pop must be written as [[pop]]")
        return ()
    pops: dict[str, PopSettings] = {}
    for index, table in enumerate(tables):
        path = f"pop[{index}]"
        read = read_table(PopSettings, table, path, problems)
        if read is None:
            continue
        if read.id in pops:
            problems.append(f"{path}.id {read.id} is used twice")
        problems += [
            f"{path}.vips: {vip} is no address that a client can send to"
            for vip in read.vips
            if vip.is_wildcard
        ]
        pops[read.id] = read
    return tuple(pops.values())


def _has_fault(table: str, problems: list[str]) -> bool:
    """Whether a table was found wrong, so that what refers to it cannot be judged."""
    return any(problem.startswith(table) for problem in problems)


def _check_dataplane(read: DataplaneSettings, relay: RelaySettings | None, problems: list[str]) -> None:
    """Whether the tables that this asks for can be made, and hold what the relay may carry."""
    problems += [
        f"dataplane.public_only: {name} is not one of dataplane.interfaces"
        for name in read.public_only
        if name not in read.interfaces
    ]
    problems += [
        f"dataplane.backbone: {host} is no address that a transceiver can answer to"
        for host in read.backbone
        if not _is_host(host)
    ]
    if relay is None:
        if not _has_fault("relay", problems):
            problems.append("dataplane: it serves a relay, so [relay] is needed")
        return
    ports = read.nat_ports[1] - read.nat_ports[0] + 1
    for version in (4, 6):
        addresses = sum((":" in host) == (version == 6) for host in read.backbone)
        if (
            any((":" in vip.host) == (version == 6) for vip in relay.vips)
            and addresses * ports < relay.max_flows
        ):
            problems.append(
                f"dataplane.backbone: {addresses} IPv{version} addresses with {ports} NAT ports each are too "
                f"few for relay.max_flows = {relay.max_flows}: add addresses, or widen dataplane.nat_ports"
            )


def _is_host(text: str) -> bool:
    address = ip_address(text)
    return not (
        address.is_unspecified or address.is_multicast or address.is_loopback or address.is_link_local
    )


def _check_access(read: TransceiverSettings, problems: list[str]) -> None:
    """Who may call, and where from."""
    if read.open and not read.http.is_loopback:
        problems.append(
            f"transceiver.open = true lets anyone call, so transceiver.http must be a loopback address, "
            f"not {read.http}; or set transceiver.api_keys_file"
        )
    if read.open and read.api_keys_file is not None:
        problems.append("transceiver.open = true asks for no API key: remove it, or api_keys_file")
    if not read.open and read.api_keys_file is None:
        problems.append("transceiver.api_keys_file is missing (or set transceiver.open = true on loopback)")
    if read.http == read.metrics:
        problems.append(f"transceiver.metrics {read.metrics} is transceiver.http too: choose another port")


def _check_listen(read: TransceiverSettings, problems: list[str]) -> None:
    """Datagrams leave by the socket of their family, so each family has one."""
    if len({":" in host for host in read.listen}) < len(read.listen):
        problems.append("transceiver.listen: give at most one address per family, IPv4 and IPv6")


def _place(
    read: TransceiverSettings, clusters: dict[int, Cluster], problems: list[str]
) -> TransceiverSettings:
    """Check that the host lies in its cluster; returns the settings with their derived port filled in."""
    cluster = clusters.get(read.cluster)
    if cluster is None:
        if not _has_fault("cluster", problems):
            problems.append(f"transceiver.cluster {read.cluster} has no [[cluster]] with that id")
        return read
    if all(cluster.address(read.host, family) is None for family in FAMILIES):
        problems.append(f"transceiver.host {read.host} does not fit into a prefix of cluster {cluster.id}")
    port = read.port or cluster.port_first
    last = port + max(read.processes, 1) - 1
    if not cluster.port_first <= port <= last <= cluster.port_last:
        problems.append(
            f"transceiver.port: ports {port}–{last} are not all within cluster {cluster.id}'s "
            f"{cluster.port_first}–{cluster.port_last}"
        )
    return dataclasses.replace(read, port=port)
