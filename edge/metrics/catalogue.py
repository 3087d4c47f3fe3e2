"""Every series of a relay: those that workers count, what the supervisor knows, and the fast path's own."""

from __future__ import annotations

from core.service.metrics import WORKER, Bound, Series, counter, gauge
from core.service.metrics.daemon import DAEMON
from core.service.metrics.reference import Section
from ebpf.verdict import FAMILIES, REASONS
from edge.nexthops.unfollowed import UnfollowedKind
from edge.relay.counters import SHARED, Direction
from edge.relay.emergency import EmergencyCause

PATHS = ("fast", "slow")
MODES = ("native", "generic")

CARRIED_PACKETS = counter(
    "voxpop_relay_carried_packets_total",
    "Datagrams carried, by who did it: the XDP program (fast) or a worker (slow).",
    direction=Direction,
    path=PATHS,
)
CARRIED_BYTES = counter(
    "voxpop_relay_carried_bytes_total",
    "Bytes of UDP payload in voxpop_relay_carried_packets_total.",
    direction=Direction,
    path=PATHS,
)
FLOW_CAPACITY = gauge("voxpop_relay_flow_capacity", "Flows that a worker carries at most.", worker=WORKER)
KERNEL_DROPS = counter(
    "voxpop_relay_kernel_drops_total",
    "Datagrams that the kernel dropped because a VIP socket's buffer was full.",
    vip=Bound("ADDRESS:PORT, of `relay.vips`"),
)
INFO = gauge(
    "voxpop_relay_info",
    "Always 1, with the PoP of this relay and what carries its established flows.",
    pop=Bound("`relay.pop`"),
    forwarder=Bound("`xdp` or `userspace`, the one in use"),
)
CONFIG_LOADED = gauge(
    "voxpop_relay_config_loaded_timestamp_seconds",
    "When the configuration in use was read, Unix time.",
)
CLOCK_AHEAD = gauge(
    "voxpop_relay_transceiver_clock_ahead_seconds",
    "By how much the clock of a transceiver host is ahead of this host's, negative when it is behind: the "
    "one that is farthest off of those that asked for the status within a minute. 0 within 1.5 s, NaN where "
    "none asked. Far below zero tokens are expired before they come, and no call connects.",
)
RELAY: tuple[Series, ...] = (
    *SHARED.values(), CARRIED_PACKETS, CARRIED_BYTES, FLOW_CAPACITY, KERNEL_DROPS, INFO, CONFIG_LOADED,
    CLOCK_AHEAD,
)  # fmt: skip

PACKETS = counter(
    "voxpop_fastpath_packets_total",
    "Packets that the XDP program saw, each counted once, by what it did with them and why: forwarded, "
    "punted to the relay, passed to the kernel, or dropped.",
    verdict=REASONS,
    family=FAMILIES,
)
BYTES = counter(
    "voxpop_fastpath_bytes_total",
    "Bytes of the IP layer in voxpop_fastpath_packets_total, where they were read.",
    verdict=REASONS,
    family=FAMILIES,
)
NEXTHOPS = gauge(
    "voxpop_fastpath_nexthops",
    "Routers and hosts on our links that flows may lead to. Those that are unusable do not answer, or are "
    "behind an interface without the fast path.",
    state=("usable", "unusable"),
)
UNFOLLOWED = gauge(
    "voxpop_fastpath_routing_unfollowed",
    "What the fast path does not follow in the routing of this host, by kind: routing rules that choose by "
    "what flows differ in, routes for a type of service, legs of routes that cannot be taken, "
    "interfaces in VRFs, backbone addresses that are routed unlike each other. The log and `voxpop doctor` "
    "name each.",
    kind=tuple(UnfollowedKind),
)
ATTACHED = gauge(
    "voxpop_fastpath_attached",
    "1 where an interface runs the program, by mode. 0 in both where the interface is gone or runs "
    "another program, or none.",
    interface=Bound("of `dataplane.interfaces`"),
    mode=MODES,
)
EMERGENCY = gauge(
    "voxpop_fastpath_emergency",
    "1 while of strangers only valid tokens pass, by who has it so: an operator, or the load. What it holds "
    "off are the verdicts drop_emergency_media and drop_emergency_port.",
    by=tuple(EmergencyCause),
)
FAST_PATH: tuple[Series, ...] = (PACKETS, BYTES, NEXTHOPS, UNFOLLOWED, ATTACHED, EMERGENCY)

SECTIONS = (
    Section(
        "Relay",
        "What the workers of a relay count and hold. What a worker counted outlives it; a restart of the "
        "relay begins at 0.",
        RELAY,
    ),
    Section(
        "Fast path",
        "Shown by a relay whose forwarder is `xdp`. The counters are in pinned maps, so no restart of the "
        "relay sets them back; `voxpop stats` reads the same ones.",
        FAST_PATH,
    ),
)
ALL: tuple[Series, ...] = (*DAEMON, *RELAY, *FAST_PATH)
"""What a relay with the fast path shows; one without it shows no `FAST_PATH`."""
