"""Configurations of BIRD 2 for a router of a WAN and for a PoP host behind one. Values in, text out.

A router speaks BGP with other routers over WAN links, of which it knows nothing but its interface:
neighbours are link-local addresses, and IPv4 takes IPv6 next hops (RFC 8950). It announces what is its own
and is no way to anything else. Hosts of a PoP are in the AS of their router (iBGP, a session for each
family); what they announce is the PoP's, and what several announce is spread over them. Every session has
BFD, so that a neighbour that vanishes is gone within `interval_ms` × `multiplier`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
MAX_PREFIXES = 256
"""What a neighbour may announce, before the session is closed."""
DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}
FAMILIES = (4, 6)
WAITS = ("passive;",)


@dataclass(frozen=True, slots=True)
class Bfd:
    """How soon a neighbour is known to be gone (RFC 5880)."""

    interval_ms: int = 300
    multiplier: int = 3


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a session. A link-local address carries both families, another its own."""

    name: str
    """Of the session: small letters, digits, `_`."""
    address: str
    asn: int
    interface: str | None = None
    """Of a link-local address."""
    preference: int = 100
    """Of two that announce the same, the one with more is taken (BGP's local preference)."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a session")
        if ip_address(self.address).is_link_local != (self.interface is not None):
            raise ValueError(f"{self.name}: a link-local address, and no other, has an interface")
        if self.interface is not None and not _INTERFACE.fullmatch(self.interface):
            raise ValueError(f"{self.name}: {self.interface!r} is no name of an interface")

    @property
    def families(self) -> Sequence[int]:
        """IP versions that the session carries."""
        return FAMILIES if self.interface is not None else (ip_address(self.address).version,)


@dataclass(frozen=True, slots=True)
class Router:
    """Of a city, a region or a PoP."""

    router_id: str
    """An IPv4 address."""
    asn: int
    own: tuple[str, ...]
    """Prefixes that it announces always."""
    wan: tuple[Peer, ...]
    """Other routers."""
    vips: tuple[str, ...] = ()
    """Prefixes that it announces while a host does."""
    hosts: tuple[Peer, ...] = ()
    withheld: tuple[str, ...] = ()
    """Those of `vips` and `own` that it announces to no other router, whatever hosts do."""
    sources: tuple[str, ...] = ()
    """What it sends from where a sender does not choose, of each family."""
    bfd: Bfd = Bfd()


@dataclass(frozen=True, slots=True)
class Host:
    """Of a PoP."""

    router_id: str
    """An IPv4 address."""
    asn: int
    """Its router's."""
    routers: tuple[Peer, ...]
    """Sessions with the router, one of each family on each uplink."""
    always: tuple[str, ...]
    """Prefixes that it announces always: what transceivers answer to."""
    while_up: tuple[str, ...]
    """Prefixes that it announces while `interface` is there and up: VIPs."""
    interface: str
    """The health checker's, which goes with it."""
    sources: tuple[str, ...] = ()
    """As of a router."""
    bfd: Bfd = Bfd()


def render_router(router: Router) -> str:
    """The configuration file of a router. Raises ValueError where an address or a prefix is none."""
    parts = [*_common(router.router_id, router.sources, router.bfd)]
    for version in FAMILIES:
        own = _of(version, router.own)
        parts.append(_static(f"own{version}", version, [f"route {prefix} unreachable;" for prefix in own]))
        if router.hosts:
            route = [f"route {DEFAULTS[version]} unreachable;"]
            parts.append(_static(f"default{version}", version, route))
        parts.append(_policy(router, version))
    # Who waits and who calls is agreed: two who call each other at once refuse one of the calls, and pause.
    parts += [
        _session(peer, router.asn, _wan_channels(peer), WAITS if router.asn > peer.asn else ())
        for peer in router.wan
    ]
    parts += [_session(peer, router.asn, _host_channels(peer), (*WAITS, "direct;")) for peer in router.hosts]
    return "\n".join(parts)


def render_host(host: Host) -> str:
    """The configuration file of a PoP host. Raises ValueError where an address or a prefix is none."""
    if not _INTERFACE.fullmatch(host.interface):
        raise ValueError(f"{host.interface!r} is no name of an interface")
    parts = [*_common(host.router_id, host.sources, host.bfd)]
    for version in FAMILIES:
        always = [f"route {prefix} unreachable;" for prefix in _of(version, host.always)]
        parts.append(_static(f"always{version}", version, always))
        # Such a route is good as long as the interface is there and up.
        while_up = [f'route {prefix} via "{host.interface}";' for prefix in _of(version, host.while_up)]
        parts.append(_static(f"while_up{version}", version, while_up))
    for peer in host.routers:
        channels = [
            _channel(
                version,
                f"import where net = {DEFAULTS[version]};",
                "export where source = RTS_STATIC;",
                "next hop self;",
            )
            for version in peer.families
        ]
        parts.append(_session(peer, host.asn, channels, ("direct;",)))
    return "\n".join(parts)


# BIRD 2.0.12 may go to sleep, for up to 3 s, with an update that it has not sent yet. What wakes it is a
# timer or a packet, so there is one of each every second.
def _common(router_id: str, sources: Iterable[str], bfd: Bfd) -> Iterator[str]:
    yield f"""\
# Written by `voxpop lab`, for BIRD 2.
log stderr {{ info, remote, warning, error, auth, fatal, bug, trace }};
router id {ip_address(router_id)};
debug protocols {{ states }};

protocol device {{
  scan time 1;
}}

protocol bfd {{
  interface "*" {{
    interval {bfd.interval_ms} ms;
    multiplier {bfd.multiplier};
    idle tx interval {bfd.interval_ms} ms;
  }};
}}
"""
    preferred: dict[int, str] = {ip_address(source).version: source for source in sources}
    for version in FAMILIES:
        source = preferred.get(version)
        accept = "accept;" if source is None else f"krt_prefsrc = {source}; accept;"
        yield f"""\
protocol kernel kernel{version} {{
  ipv{version} {{
    import none;
    export filter {{
      if source != RTS_BGP then reject;
      {accept}
    }};
  }};
  merge paths yes;
}}
"""


def _static(name: str, version: int, routes: Iterable[str]) -> str:
    lines = "".join(f"  {route}\n" for route in routes)
    return f"protocol static {name} {{\n  ipv{version};\n{lines}}}\n"


def _policy(router: Router, version: int) -> str:
    """What is ours, and what of it others are told."""
    own, vips, withheld = (_of(version, each) for each in (router.own, router.vips, router.withheld))
    longest = 32 if version == 4 else 128
    hosts = [f"{prefix}{{{longest},{longest}}}" for prefix in own]
    return f"""\
function is_ours{version}() {{
  return {_is_in(f"{prefix}+" for prefix in (*own, *vips))};
}}

function is_announced{version}() {{
  if {_is_in(withheld)} then return false;
  return {_is_in((*own, *vips))};
}}

function is_of_hosts{version}() {{
  return {_is_in((*vips, *hosts))};
}}
"""


def _is_in(patterns: Iterable[str]) -> str:
    """An empty set is none that BIRD knows."""
    joined = ", ".join(patterns)
    return f"(net ~ [ {joined} ])" if joined else "false"


def _wan_channels(peer: Peer) -> list[str]:
    """Nobody is a way to somebody else: what comes has one AS in its path."""
    accept = f"bgp_local_pref = {peer.preference:d}; accept;"
    return [
        _channel(
            version,
            f"import filter {{ if is_ours{version}() || bgp_path.len != 1 then reject; {accept} }};",
            f"export where is_announced{version}();",
            f"import limit {MAX_PREFIXES} action restart;",
            "next hop self;",
            *(["extended next hop on;"] if peer.interface is not None and version == 4 else []),
        )
        for version in peer.families
    ]


def _host_channels(peer: Peer) -> list[str]:
    return [
        _channel(
            version,
            f"import where is_of_hosts{version}();",
            f"export where net = {DEFAULTS[version]};",
            f"import limit {MAX_PREFIXES} action restart;",
            "next hop self;",
        )
        for version in peer.families
    ]


def _channel(version: int, *options: str) -> str:
    lines = "".join(f"    {option}\n" for option in options)
    return f"  ipv{version} {{\n{lines}  }};\n"


def _session(peer: Peer, asn: int, channels: Iterable[str], options: Iterable[str]) -> str:
    interface = [] if peer.interface is None else [f'interface "{peer.interface}";']
    more = "".join(f"  {option}\n" for option in (*interface, *options))
    return f"""\
protocol bgp {peer.name} {{
  local as {asn:d};
  neighbor {ip_address(peer.address)} as {peer.asn:d};
{more}  ttl security on;
  bfd on;
  graceful restart off;
  long lived graceful restart off;
  hold time 30;
  keepalive time 1;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 4;
{"".join(channels)}}}
"""


def _of(version: int, prefixes: Iterable[str]) -> list[str]:
    networks = [ip_network(prefix) for prefix in prefixes]
    return [str(network) for network in networks if network.version == version]
