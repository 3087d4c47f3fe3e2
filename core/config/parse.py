"""From a decoded TOML document to a `Config`, with every check that needs more than one key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from core.addr import IpFamily, family_of
from core.cluster import Cluster
from core.config.quotas import QuotaSettings
from core.config.tables import (
    BACKEND,
    HOST_FROM_ADDRESS,
    TABLES,
    AnnounceSettings,
    ClusterSettings,
    DataplaneSettings,
    PopSettings,
    RelaySettings,
    StoreSettings,
    TokenSettings,
    TransceiverSettings,
)
from core.errors import ConfigError
from core.schema import name, read_table, suggest


@dataclass(frozen=True, slots=True)
class Config:
    """A whole file. Tables that a process does not need may be absent from its file."""

    token: TokenSettings
    clusters: dict[int, Cluster]
    pops: tuple[PopSettings, ...]
    relay: RelaySettings | None
    dataplane: DataplaneSettings | None
    transceiver: TransceiverSettings | None
    store: StoreSettings | None = None
    backends: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """[backend.NAME] as it is in the file, by name: what may be in it is for that backend to say."""
    announce: AnnounceSettings | None = None
    quotas: QuotaSettings = field(default_factory=QuotaSettings)

    def pop(self, name: str) -> PopSettings | None:
        """The [[pop]] of that id, if there is one."""
        return next((pop for pop in self.pops if pop.id == name), None)


class Problems:
    """Faults by the table that they are in: what refers to a broken table cannot be judged."""

    def __init__(self) -> None:
        self._of: dict[str, list[str]] = {}

    def of(self, table: str) -> list[str]:
        """Where the faults of a table are gathered."""
        return self._of.setdefault(table, [])

    def is_broken(self, table: str) -> bool:
        """Whether a table has a fault."""
        return bool(self._of.get(table))

    def all(self) -> list[str]:
        """Every fault, by table in the order in which they were read."""
        return [problem for problems in self._of.values() for problem in problems]


def parse(document: Mapping[str, object]) -> Config:
    """Validate a decoded TOML document. Raises ConfigError."""
    problems = Problems()
    known = (*TABLES, BACKEND)
    problems.of("").extend(
        f"[{key}] is not a table; {suggest(key, known)}" for key in document if key not in known
    )
    token = read_table(TokenSettings, document.get("token", {}), "token", problems.of("token"))
    clusters = _read_clusters(document.get("cluster", []), problems.of("cluster"))
    pops = _read_pops(document.get("pop", []), problems.of("pop"))
    relay = _read_relay(document, clusters, problems)
    dataplane = _read_dataplane(document, relay, problems)
    transceiver = _read_transceiver(document, clusters, pops, problems)
    announce = _read_announce(document, relay, problems)
    store = _read_store(document, problems.of("store"))
    backends = _read_backends(document.get(BACKEND, {}), problems.of(BACKEND))
    quotas = read_table(QuotaSettings, document.get("quotas", {}), "quotas", problems.of("quotas"))
    if problems.all() or token is None or quotas is None:
        raise ConfigError(problems.all())
    return Config(token, clusters, pops, relay, dataplane, transceiver, store, backends, announce, quotas)


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
        if (read.latitude is None) != (read.longitude is None):
            problems.append(f"{path}: a place has both latitude and longitude; give both, or neither")
        pops[read.id] = read
    return tuple(pops.values())


def _read_relay(
    document: Mapping[str, object], clusters: Mapping[int, Cluster], problems: Problems
) -> RelaySettings | None:
    if "relay" not in document:
        return None
    own = problems.of("relay")
    read = read_table(RelaySettings, document["relay"], "relay", own)
    if not clusters and not problems.is_broken("cluster"):
        own.append("relay: tokens lead into clusters, so at least one [[cluster]] is needed")
    return read


def _read_dataplane(
    document: Mapping[str, object], relay: RelaySettings | None, problems: Problems
) -> DataplaneSettings | None:
    if "dataplane" not in document:
        return None
    own = problems.of("dataplane")
    read = read_table(DataplaneSettings, document["dataplane"], "dataplane", own)
    if read is None:
        return None
    _check_dataplane(read, own)
    if relay is not None:
        _check_nat_ports(read, relay, own)
    elif not problems.is_broken("relay"):
        own.append("dataplane: it serves a relay, so [relay] is needed")
    return read


def _read_announce(
    document: Mapping[str, object], relay: RelaySettings | None, problems: Problems
) -> AnnounceSettings | None:
    if "announce" not in document:
        return None
    own = problems.of("announce")
    read = read_table(AnnounceSettings, document["announce"], "announce", own)
    if relay is None and not problems.is_broken("relay"):
        own.append("announce: it asks the relay of this host, so [relay] is needed")
    if read is None:
        return None
    if relay is not None and read.metrics == relay.metrics:
        own.append(f"announce.metrics {read.metrics} is relay.metrics too: choose another port")
    if read.hold_down_max_s < read.hold_down_s:
        own.append(
            f"announce.hold_down_max_s {read.hold_down_max_s:g} is less than announce.hold_down_s "
            f"{read.hold_down_s:g}: raise it, or lower hold_down_s"
        )
    return read


def _read_transceiver(
    document: Mapping[str, object],
    clusters: Mapping[int, Cluster],
    pops: tuple[PopSettings, ...],
    problems: Problems,
) -> TransceiverSettings | None:
    if "transceiver" not in document:
        return None
    own = problems.of("transceiver")
    read = read_table(TransceiverSettings, document["transceiver"], "transceiver", own)
    if not pops and not problems.is_broken("pop"):
        own.append("transceiver: answers name PoPs, so at least one [[pop]] is needed")
    if read is None:
        return None
    _check_access(read, own)
    _check_listen(read, own)
    if not problems.is_broken("pop"):
        _check_steering(read, pops, own)
    cluster = clusters.get(read.cluster)
    if cluster is not None:
        return _place(read, cluster, own)
    if not problems.is_broken("cluster"):
        own.append(f"transceiver.cluster {read.cluster} has no [[cluster]] with that id")
    return read


def _read_store(document: Mapping[str, object], problems: list[str]) -> StoreSettings | None:
    if "store" not in document:
        return None
    read = read_table(StoreSettings, document["store"], "store", problems)
    if read is None:
        return None
    if read.user is not None and read.password_file is None:
        problems.append("store.user needs store.password_file")
    if read.ca_file is not None and not read.url.tls:
        problems.append("store.ca_file is for TLS: write rediss://… in store.url")
    return read


def _read_backends(tables: object, problems: list[str]) -> dict[str, Mapping[str, object]]:
    backends: dict[str, Mapping[str, object]] = {}
    if not isinstance(tables, Mapping):
        problems.append(f"{BACKEND} must be written as [{BACKEND}.NAME]")
        return backends
    for key, table in tables.items():
        path = f"{BACKEND}.{key}"
        try:
            name().parse(key)
        except ValueError as error:
            problems.append(f"{path} {error}")
        if not isinstance(table, Mapping):
            problems.append(f"{path} must be a table, [{path}]")
        elif not _is_json(table):
            problems.append(f"{path} has a date or a time in it: write it as a text, in quotes")
        else:
            backends[key] = table
    return backends


def _is_json(value: object) -> bool:
    """Whether workers can be told of it: of what TOML has, JSON lacks dates and times."""
    match value:
        case Mapping():
            return all(map(_is_json, value.values()))
        case list():
            return all(map(_is_json, value))
        case _:
            return isinstance(value, str | int | float)


def _check_dataplane(read: DataplaneSettings, problems: list[str]) -> None:
    """Whether what this names can be what it is named for."""
    problems += [
        f"dataplane.public_only: {interface} is not one of dataplane.interfaces"
        for interface in read.public_only
        if interface not in read.interfaces
    ]
    problems += [
        f"dataplane.backbone: {host} is no address that a transceiver can answer to"
        for host in read.backbone
        if not _is_host(host)
    ]


def _check_nat_ports(read: DataplaneSettings, relay: RelaySettings, problems: list[str]) -> None:
    """Whether there is a NAT port for every flow that the relay may carry."""
    ports = read.nat_ports[1] - read.nat_ports[0] + 1
    for family in IpFamily:
        addresses = sum(family_of(host) is family for host in read.backbone)
        if any(vip.family is family for vip in relay.vips) and addresses * ports < relay.max_flows:
            problems.append(
                f"dataplane.backbone: {addresses} IPv{family} addresses with {ports} NAT ports each are too "
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
    if len({family_of(host) for host in read.listen}) < len(read.listen):
        problems.append("transceiver.listen: give at most one address per family, IPv4 and IPv6")


def _check_steering(read: TransceiverSettings, pops: tuple[PopSettings, ...], problems: list[str]) -> None:
    """Whether what is to tell where a client is can tell anything."""
    problems += [
        f"transceiver.trusted_proxies: {proxy} is every address, so anybody could say where they are; name "
        "the proxies' own networks"
        for proxy in read.trusted_proxies
        if proxy.prefixlen == 0
    ]
    if read.trusted_proxies and not read.trusted_headers:
        problems.append("transceiver.trusted_headers is missing: say which headers the trusted_proxies set")
    if read.trusted_headers and not read.trusted_proxies:
        problems.append("transceiver.trusted_proxies is missing: say from whom the trusted_headers come")
    if pops and all(pop.latitude is None for pop in pops):
        named = [header for header in read.trusted_headers if header == "CF-IPLatitude"]
        if read.location_database is not None:
            named.append("location_database")
        problems += [
            f"transceiver: {name} tells where a client is, but no [[pop]] has latitude and longitude"
            for name in named
        ]


def _place(read: TransceiverSettings, cluster: Cluster, problems: list[str]) -> TransceiverSettings:
    """Check that the host lies in its cluster; returns the settings with their derived port filled in."""
    is_known = read.host != HOST_FROM_ADDRESS
    if is_known and all(cluster.address(read.host, family) is None for family in IpFamily):
        problems.append(f"transceiver.host {read.host} does not fit into a prefix of cluster {cluster.id}")
    port = read.port or cluster.port_first
    last = port + max(read.processes, 1) - 1
    if not cluster.port_first <= port <= last <= cluster.port_last:
        problems.append(
            f"transceiver.port: ports {port}–{last} are not all within cluster {cluster.id}'s "
            f"{cluster.port_first}–{cluster.port_last}"
        )
    return dataclasses.replace(read, port=port)
