"""The configuration of every Voxpop process: one TOML file, of which each reads its own tables.

`parse` takes the decoded TOML and returns a `Config`, or raises `ConfigError` with all faults at
once. Reading files, the key files among them, is `core.service.files`.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from core.addr import Endpoint
from core.cluster import Cluster
from core.errors import ConfigError
from core.schema import (
    address,
    boolean,
    choice,
    endpoint,
    integer,
    list_of,
    name,
    network,
    number,
    origin,
    pattern,
    port_range,
    read_table,
    setting,
    suggest,
    text,
)
from core.token import MAX_LIFETIME_MIN

MAX_SESSION_S = (MAX_LIFETIME_MIN - 60) * 60


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """[token]: shared by everyone who mints or checks tokens."""

    keys_file: str = setting(
        text("a path"), "file with the master keys, mode 0600; made by `voxpop keys new`"
    )


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """[[cluster]]: an address prefix that tokens may lead into."""

    id: int = setting(integer(0, 65535), "number of the cluster, the same in every PoP")
    ports: tuple[int, int] = setting(port_range(), "UDP ports of transceiver processes")
    ipv4: IPv4Network | None = setting(network(4), "where IPv4 clients are led to", default=None)
    ipv6: IPv6Network | None = setting(network(6), "where IPv6 clients are led to", default=None)


@dataclass(frozen=True, slots=True)
class PopSettings:
    """[[pop]]: a PoP that transceivers may name in their answers."""

    id: str = setting(name(), "name of the PoP")
    vips: tuple[Endpoint, ...] = setting(list_of(endpoint(), 1, 8), "its public addresses and UDP ports")
    status: Endpoint | None = setting(
        endpoint(), "the relay.metrics of its host, to show forwarder and state to callers", default=None
    )


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """[relay]: one PoP host."""

    pop: str = setting(name(), "name of the PoP that this host is")
    vips: tuple[Endpoint, ...] = setting(list_of(endpoint(), 1, 8), "addresses and UDP ports to listen on")
    forwarder: str = setting(
        choice("auto", "xdp", "userspace"),
        "what carries established flows; auto takes xdp where it can and says so where not",
        default="auto",
    )
    workers: int = setting(integer(0, 256), "worker processes; 0 is one per core", default=0)
    max_flows: int = setting(integer(1, 4_000_000), "flows that the host carries at most", default=4096)
    idle_timeout_s: float = setting(
        number(1, 3600, "s"), "a flow that is silent for longer is removed (RFC 7675 §5.1)", default=30.0
    )
    takeover_silence_s: float = setting(
        number(0.5, 60, "s"),
        "a flow may be led to another transceiver only after it has been silent for this long",
        default=5.0,
    )
    drain_timeout_s: float = setting(
        number(0, 86400, "s"), "after SIGTERM, how long existing flows are carried on", default=60.0
    )
    metrics: Endpoint = setting(
        endpoint(), "where /metrics, /healthz and /readyz are served", default=Endpoint("127.0.0.1", 9464)
    )


@dataclass(frozen=True, slots=True)
class DataplaneSettings:
    """[dataplane]: the XDP fast path of a PoP host; see docs/dataplane.md."""

    interfaces: tuple[str, ...] = setting(
        list_of(pattern("the name of an interface", r"[^\s/]{1,15}"), 1, 32),
        "where clients and transceivers are reached; may be one and the same",
    )
    backbone: tuple[str, ...] = setting(
        list_of(address(), 1, 256),
        "addresses of this host that transceivers answer to, whose NAT ports stand for flows",
    )
    public_only: tuple[str, ...] = setting(
        list_of(pattern("the name of an interface", r"[^\s/]{1,15}"), 0, 32),
        "those of the interfaces that face clients only: nothing there is believed to be a transceiver's",
        default=(),
    )
    mode: str = setting(
        choice("auto", "native", "generic"),
        "where XDP runs; auto is native, and generic with a warning where the driver refuses",
        default="auto",
    )
    nat_ports: tuple[int, int] = setting(
        port_range(),
        "UDP ports of each backbone address that are for flows alone; the default leaves well-known "
        "services and the kernel's ephemeral ports in peace",
        default=(10000, 32767),
    )
    pin_dir: str = setting(
        pattern("an absolute path", r"/[^\x00-\x1f\x7f]+"),
        "where maps and programs are pinned, in a BPF file system",
        default="/sys/fs/bpf/voxpop",
    )
    dscp_upstream: int | None = setting(
        integer(0, 63), "DSCP of packets to transceivers; not set, each keeps its own", default=None
    )
    dscp_downstream: int | None = setting(
        integer(0, 63), "DSCP of packets to clients; not set, each keeps its own", default=None
    )
    punt_source_pps: int = setting(
        integer(1, 1_000_000, "packets/s"),
        "first packets of new flows that one source (/32, /64) may send to the relay",
        default=200,
    )
    punt_total_pps: int = setting(
        integer(1, 10_000_000, "packets/s"), "the same of all sources together", default=20_000
    )
    punt_media_source_pps: int = setting(
        integer(1, 1_000_000, "packets/s"),
        "DTLS and media packets of unknown flows that one source may send to the relay",
        default=20,
    )
    punt_media_total_pps: int = setting(
        integer(1, 10_000_000, "packets/s"), "the same of all sources together", default=1000
    )


@dataclass(frozen=True, slots=True)
class TransceiverSettings:
    """[transceiver]: one host of a cluster."""

    cluster: int = setting(integer(0, 65535), "id of the [[cluster]] that this host is in")
    host: int = setting(integer(0, 0xFFFFFFFF), "number of this host in the cluster's prefixes")
    http: Endpoint = setting(endpoint(), "where the signaling API is served, by every process at once")
    port: int = setting(integer(0, 65535), "UDP port of process 0; 0 is the cluster's first", default=0)
    processes: int = setting(integer(0, 256), "processes, a UDP port each; 0 is one per core", default=0)
    listen: tuple[str, ...] = setting(
        list_of(address(), 0, 2),
        "addresses to listen on, one per family, where they differ from the cluster's, such as behind a NAT",
        default=(),
    )
    api_keys_file: str | None = setting(text("a path"), "file with the hashed API keys", default=None)
    open: bool = setting(
        boolean(), "take calls without an API key; only for a loopback http address", default=False
    )
    page: bool = setting(boolean(), "serve the demo page at /", default=False)
    cors_origins: tuple[str, ...] = setting(list_of(origin()), "origins whose pages may call", default=())
    dtls_role: str = setting(
        choice("passive", "active"), "role offered to clients that leave the choice to us", default="passive"
    )
    backend: str = setting(choice("parrot"), "what answers the calls", default="parrot")
    max_sessions: int = setting(integer(1, 10_000), "sessions per process", default=100)
    max_loop_lag_ms: int = setting(
        integer(1, 10_000, "ms"), "a process whose event loop is later than this takes no calls", default=50
    )
    max_session_s: int = setting(integer(1, MAX_SESSION_S, "s"), "longest call", default=3600)
    arrival_timeout_s: float = setting(
        number(1, 600, "s"), "a session whose client has not arrived by then is closed", default=30.0
    )
    silence_timeout_s: float = setting(
        number(1, 600, "s"), "a session whose client is silent for longer is closed", default=30.0
    )
    drain_timeout_s: float = setting(
        number(0, 86400, "s"), "after SIGTERM, how long existing sessions are carried on", default=60.0
    )
    metrics: Endpoint = setting(
        endpoint(), "where /metrics of the whole host is served", default=Endpoint("127.0.0.1", 9465)
    )


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


FAMILIES = (socket.AF_INET, socket.AF_INET6)

TABLES = {
    "token": TokenSettings,
    "cluster": ClusterSettings,
    "pop": PopSettings,
    "relay": RelaySettings,
    "dataplane": DataplaneSettings,
    "transceiver": TransceiverSettings,
}
