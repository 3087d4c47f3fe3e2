"""Every table and key of the configuration file, declared once: type, range, default, effect."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from core.addr import Endpoint, IpFamily, IPNetwork
from core.config.quotas import UNLIMITED, QuotaSettings
from core.schema import (
    Kind,
    address,
    any_network,
    boolean,
    choice,
    endpoint,
    integer,
    integer_or,
    list_of,
    name,
    network,
    number,
    origin,
    pattern,
    port_range,
    region,
    setting,
    text,
)
from core.store_url import WORDS as STORE_URL_WORDS
from core.store_url import StoreUrl, parse_store_url
from core.token import MAX_LIFETIME_MIN

LOCATION_HEADERS = ("Voxpop-Pop", "CF-IPLatitude", "CF-Connecting-IP", "Forwarded", "X-Forwarded-For")
"""What can tell where a client is, best first."""
MAX_SESSION_S = (MAX_LIFETIME_MIN - 60) * 60
HOST_FROM_ADDRESS = -1
"""`transceiver.host = "address"`. Only the host itself can say which number that is, so it is no more than
this until a daemon starts there.
"""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """[token]: shared by everyone who mints or checks tokens."""

    keys_file: str = setting(
        text("a path"), "file with the master keys, mode 0600; made by `voxpop keys new`", reloadable=True
    )


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """[[cluster]]: an address prefix that tokens may lead into. A transceiver keeps its own as it started."""

    id: int = setting(integer(0, 65535), "number of the cluster, the same in every PoP", reloadable="relay")
    ports: tuple[int, int] = setting(port_range(), "UDP ports of transceiver processes", reloadable="relay")
    ipv4: IPv4Network | None = setting(
        network(IpFamily.V4), "transceiver prefix for IPv4 clients", default=None, reloadable="relay"
    )
    ipv6: IPv6Network | None = setting(
        network(IpFamily.V6), "transceiver prefix for IPv6 clients", default=None, reloadable="relay"
    )


@dataclass(frozen=True, slots=True)
class PopSettings:
    """[[pop]]: a PoP that transceivers may name in their answers."""

    id: str = setting(name(), "name of the PoP", reloadable=True)
    vips: tuple[Endpoint, ...] = setting(
        list_of(endpoint(), 1, 8), "its public addresses and UDP ports", reloadable=True
    )
    status: Endpoint | None = setting(
        endpoint(),
        "the relay.metrics of its host, to show forwarder and state to callers",
        default=None,
        reloadable=True,
    )
    latitude: float | None = setting(
        number(-90, 90, "°"),
        "where it is, north positive, so that clients are led to the nearest; see docs/steering.md",
        default=None,
        reloadable=True,
    )
    longitude: float | None = setting(
        number(-180, 180, "°"), "the same, east positive", default=None, reloadable=True
    )

    @property
    def place(self) -> tuple[float, float] | None:
        """(latitude, longitude); None where it is not told."""
        if self.latitude is None or self.longitude is None:
            return None
        return self.latitude, self.longitude


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """[relay]: one PoP host."""

    pop: str = setting(name(), "name of the PoP that this host is")
    vips: tuple[Endpoint, ...] = setting(list_of(endpoint(), 1, 8), "addresses and UDP ports to listen on")
    host: str | None = setting(
        name(),
        "name of this host in its PoP, in the heartbeats that it leaves in the [store]; not set, the name "
        "that the system has for itself",
        default=None,
    )
    forwarder: str = setting(
        choice("auto", "xdp", "userspace"),
        "what carries established flows; auto takes xdp where it can and says so where not",
        default="auto",
    )
    workers: int = setting(integer(0, 256), "worker processes; 0 is one per core", default=0)
    max_flows: int = setting(integer(1, 4_000_000), "flows that the host carries at most", default=4096)
    idle_timeout_s: float = setting(
        number(1, 3600, "s"),
        "a flow that is silent for longer is removed (RFC 7675 §5.1)",
        default=30.0,
        reloadable=True,
    )
    answer_timeout_s: float = setting(
        number(6, 3600, "s"),
        "a flow whose transceiver is silent for longer is removed; on a path that is a spare it sends a "
        "check every 5 s",
        default=9.0,
        reloadable=True,
    )
    takeover_silence_s: float = setting(
        number(0.5, 60, "s"),
        "where an address cannot be shared by two calls, another gets it once the transceiver of the first "
        "was silent for this long",
        default=6.0,
        reloadable=True,
    )
    drain_timeout_s: float = setting(
        number(0, 86400, "s"),
        "how long existing flows are carried on after SIGTERM, or `voxpop drain` without --for",
        default=60.0,
        reloadable=True,
    )
    metrics: Endpoint = setting(
        endpoint(), "where /metrics, /healthz and /readyz are served", default=Endpoint("127.0.0.1", 9464)
    )
    admin_socket: str | None = setting(
        text("a path"),
        "Unix socket by which `voxpop drain` reaches this daemon, made with mode 0600; not set, it is "
        "/run/voxpop/relay.sock where that directory is there",
        default=None,
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
    cache_dir: str = setting(
        pattern("an absolute path", r"/[^\x00-\x1f\x7f]+"),
        "where compiled programs are kept, so that none is compiled twice; only its owner may write there",
        default="/var/cache/voxpop",
    )
    dscp_upstream: int | None = setting(
        integer(0, 63),
        "DSCP of packets to transceivers; not set, each keeps its own",
        default=None,
        reloadable=True,
    )
    dscp_downstream: int | None = setting(
        integer(0, 63),
        "DSCP of packets to clients; not set, each keeps its own",
        default=None,
        reloadable=True,
    )
    punt_source_pps: int = setting(
        integer(1, 1_000_000, "packets/s"),
        "first packets of new flows, with a valid token, that one source (/32, /64) may send to the relay; "
        "as many at once",
        default=5000,
        reloadable=True,
    )
    punt_total_pps: int = setting(
        integer(1, 10_000_000, "packets/s"),
        "the same of all sources together",
        default=20_000,
        reloadable=True,
    )
    emergency: str = setting(
        choice("auto", "on", "off"),
        "whether of strangers only valid tokens pass; auto: while there is too much else (docs/attack.md)",
        default="auto",
        reloadable=True,
    )
    emergency_hook: str | None = setting(
        pattern("an absolute path", r"/[^\x00-\x1f\x7f]+"),
        "a program that is run when that begins or ends",
        default=None,
        reloadable=True,
    )
    punt_media_source_pps: int | None = setting(
        integer(1, 1_000_000, "packets/s"),
        "DTLS and media packets of unknown flows that one source may send to the relay; not set, 20, and "
        "5000 with a [store] in which such flows are looked up",
        default=None,
        reloadable=True,
    )
    punt_media_total_pps: int | None = setting(
        integer(1, 10_000_000, "packets/s"),
        "the same of all sources together; not set, 1000, and 20,000 with a [store]",
        default=None,
        reloadable=True,
    )


@dataclass(frozen=True, slots=True)
class AnnounceSettings:
    """[announce]: when the VIPs of a PoP host are announced; see docs/health.md. It may be absent."""

    interface: str = setting(
        pattern("the name of an interface", r"[^\s/]{1,15}"),
        "made while the VIPs are to be announced; the routing daemon announces what leads to it",
        default="voxpop-up",
    )
    interval_ms: int = setting(integer(50, 60_000, "ms"), "how often relay.metrics is asked", default=500)
    timeout_ms: int = setting(
        integer(50, 60_000, "ms"), "an answer that takes longer counts as none", default=500
    )
    rise: int = setting(integer(1, 1000), "good answers in a row that announce", default=4)
    fall: int = setting(
        integer(1, 1000),
        "bad ones in a row that withdraw; the default outlives a restart of the relay, and a drain does not "
        "wait for it",
        default=6,
    )
    hold_down_s: float = setting(
        number(0, 3600, "s"),
        "how long nothing announces after a fall; each further one doubles it",
        default=10.0,
    )
    hold_down_max_s: float = setting(
        number(0, 86400, "s"),
        "the most that it becomes; who is announced for as long begins anew",
        default=300.0,
    )
    metrics: Endpoint = setting(
        endpoint(), "where /metrics, /healthz and /readyz are served", default=Endpoint("127.0.0.1", 9466)
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[store]: Redis or Valkey, where relays leave what others need; see docs/redis.md. It may be absent."""

    url: StoreUrl = setting(Kind(parse_store_url, STORE_URL_WORDS), "where it is")
    user: str | None = setting(text(), "the ACL user; not set, the default user", default=None)
    password_file: str | None = setting(
        text("a path"), "file with the password and nothing else, mode 0600", default=None
    )
    ca_file: str | None = setting(
        text("a path"), "certificates to trust for TLS, in PEM; not set, the system's", default=None
    )
    timeout_ms: int = setting(
        integer(5, 1000, "ms"),
        "deadline of a call, connecting included; packets never wait for it, but held ones are dropped then",
        default=100,
    )
    flow_lease_s: int = setting(
        integer(60, 3600, "s"),
        "how long the record of a flow is good for; a relay renews it when a third of that is left",
        default=180,
    )


@dataclass(frozen=True, slots=True)
class TransceiverSettings:
    """[transceiver]: one host of a cluster."""

    cluster: int = setting(integer(0, 65535), "id of the [[cluster]] that this host is in")
    host: int = setting(
        integer_or("address", HOST_FROM_ADDRESS, 0, 0xFFFFFFFF),
        "number of this host in the cluster's prefixes; address is that of its own address there",
    )
    http: Endpoint = setting(endpoint(), "where the signaling API is served, by every process at once")
    forward_port: int = setting(
        integer(0, 65535),
        "TCP port, at their addresses in the cluster, where hosts hand each other requests about calls; 0 is "
        "that of http",
        default=0,
    )
    port: int = setting(integer(0, 65535), "UDP port of process 0; 0 is the cluster's first", default=0)
    processes: int = setting(integer(0, 256), "processes, a UDP port each; 0 is one per core", default=0)
    listen: tuple[str, ...] = setting(
        list_of(address(), 0, 2),
        "addresses to listen on, one per family, where they differ from the cluster's, such as behind a NAT",
        default=(),
    )
    api_keys_file: str | None = setting(
        text("a path"), "file with the hashed API keys", default=None, reloadable=True
    )
    open: bool = setting(
        boolean(), "take calls without an API key; only for a loopback http address", default=False
    )
    page: bool = setting(boolean(), "serve the demo page at /", default=False)
    cors_origins: tuple[str, ...] = setting(
        list_of(origin()), "origins whose pages may call", default=(), reloadable=True
    )
    ice_servers: tuple[str, ...] = setting(
        list_of(
            pattern(
                "a STUN or TURN URI (RFC 7064, RFC 7065) such as stun:stun.example.net:3478",
                r"(stuns?|turns?):[A-Za-z0-9.\-\[\]:]{1,255}(\?transport=(udp|tcp))?",
            ),
            0,
            8,
        ),
        "told to clients by `Link` with each call (RFC 9725 §4.6); a VIP can be reached without",
        default=(),
        reloadable=True,
    )
    trusted_proxies: tuple[IPNetwork, ...] = setting(
        list_of(any_network(), 0, 64),
        "whose headers tell where a client is; see docs/steering.md",
        default=(),
        reloadable=True,
    )
    trusted_headers: tuple[str, ...] = setting(
        list_of(choice(*LOCATION_HEADERS), 0, len(LOCATION_HEADERS)),
        "headers that each of trusted_proxies sets or removes, whatever the client has sent; CF-IPLatitude "
        "stands for CF-IPLongitude too",
        default=(),
        reloadable=True,
    )
    connections_per_address: int = setting(
        integer_or("unlimited", UNLIMITED, 1, 1024),
        "HTTP connections of one address, or one /64 of IPv6, to one process, WebSockets left out; beyond, "
        "its idlest gives way. A client behind trusted_proxies has as many requests at once",
        default=128,
        reloadable=True,
    )
    location_database: str | None = setting(
        text("a path"),
        "database of cities in MaxMind's format, which tells where the address of a client is",
        default=None,
        reloadable=True,
    )
    other_regions: tuple[str, ...] = setting(
        list_of(region(), 0, 8),
        "where callers are sent by 307 while this host has no room, to the first that takes calls; they have "
        "the same master keys and API keys; see docs/steering.md",
        default=(),
        reloadable=True,
    )
    dtls_role: str = setting(
        choice("passive", "active"), "role offered to clients that leave the choice to us", default="passive"
    )
    backend: str = setting(
        name(), "what answers the calls; its own settings are in [backend.NAME]", default="parrot"
    )
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
        number(0, 86400, "s"),
        "how long existing sessions are carried on after SIGTERM, or `voxpop drain` without --for; then they "
        "are told and ended",
        default=60.0,
        reloadable=True,
    )
    metrics: Endpoint = setting(
        endpoint(), "where /metrics of the whole host is served", default=Endpoint("127.0.0.1", 9465)
    )
    admin_socket: str | None = setting(
        text("a path"),
        "Unix socket by which `voxpop drain` reaches this daemon, made with mode 0600; not set, it is "
        "/run/voxpop/transceiver.sock where that directory is there",
        default=None,
    )


BACKEND = "backend"
"""The table of tables that only the backends themselves understand: [backend.NAME]."""

TABLES = {
    "token": TokenSettings,
    "cluster": ClusterSettings,
    "pop": PopSettings,
    "relay": RelaySettings,
    "dataplane": DataplaneSettings,
    "announce": AnnounceSettings,
    "store": StoreSettings,
    "transceiver": TransceiverSettings,
    "quotas": QuotaSettings,
}
