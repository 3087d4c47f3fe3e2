"""What a fleet is to carry, and of what hosts: tables like those of the configuration file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from core.scale.figures import Figures
from core.schema import integer, number, setting

RTP_BYTES, SRTP_TAG_BYTES, UDP_BYTES = 12, 10, 8
ETHERNET_BYTES = 38
"""Of a frame: header, check sequence, preamble and gap (IEEE 802.3), which take their time on the wire."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What callers do, in the busiest hour."""

    calls: float = setting(number(1, 1e9, "calls"), "calls at once", default=10_000_000.0)
    call_s: float = setting(number(1, 86_400, "s"), "how long a call lasts, on average", default=180.0)
    surge: float = setting(
        number(1, 1000), "calls that begin in the busiest second, over the average second", default=2.0
    )
    packets_per_s: float = setting(
        number(1, 1000, "packets/s"), "audio of a call, each way: 50 are packets of 20 ms", default=50.0
    )
    audio_bits_per_s: float = setting(
        number(0, 512_000, "bit/s"), "Opus of a call, each way, while somebody talks", default=32_000.0
    )
    reports_per_s: float = setting(number(0, 100, "packets/s"), "RTCP of a call, each way", default=1.0)
    events_per_s: float = setting(
        number(0, 1000, "packets/s"), "events of a call and their acknowledgements, each way", default=2.0
    )
    check_s: float = setting(
        number(0.1, 60, "s"), "from one check of a client to the next, on each path", default=2.5
    )
    pops_named: float = setting(
        number(1, 16), "PoPs that an answer names: each is checked, and has a flow", default=2.0
    )
    families: float = setting(
        number(1, 2), "IP versions that client and VIP share: 1.5 where half of the clients have both",
        default=1.5,
    )  # fmt: skip
    behind_nat: float = setting(
        number(0, 1), "share of a host's flows that are behind one address: a carrier-grade NAT", default=0.1
    )
    ip_bytes: float = setting(
        number(20, 40, "bytes"), "header of IP: 20, of IPv6 40, or between them", default=30.0
    )

    @property
    def flows_per_call(self) -> float:
        """One with the audio, the others with checks only."""
        return self.pops_named * self.families

    @property
    def begins_per_s(self) -> float:
        """Calls that begin, on average (Little's law)."""
        return self.calls / self.call_s

    @property
    def call_packets_per_s(self) -> float:
        """Of a call, each way: each check is answered."""
        others = self.reports_per_s + self.events_per_s + self.flows_per_call / self.check_s
        return self.packets_per_s + others

    @property
    def frame_bytes(self) -> float:
        """Of a packet of audio on the wire; others are taken for as long."""
        audio = self.audio_bits_per_s / 8 / self.packets_per_s
        return audio + RTP_BYTES + SRTP_TAG_BYTES + UDP_BYTES + self.ip_bytes + ETHERNET_BYTES


@dataclass(frozen=True, slots=True)
class PopHost:
    """One host of a PoP."""

    cores: float = setting(number(1, 1024), "cores that packets are carried by", default=32.0)
    workers: int = setting(integer(1, 1024), "relay.workers", default=8)
    nic_gbit_s: float = setting(number(0.1, 1600, "Gbit/s"), "its network, each way", default=25.0)
    memory_gib: float = setting(number(0.1, 65_536, "GiB"), "its memory", default=64.0)
    max_flows: int = setting(integer(1, 4_000_000), "relay.max_flows", default=500_000)
    backbones: int = setting(integer(1, 64), "dataplane.backbone: addresses, of each IP version", default=32)
    nat_ports: int = setting(
        integer(1, 65_535), "dataplane.nat_ports, how many: of each backbone address", default=22_768
    )
    idle_timeout_s: float = setting(
        number(1, 3600, "s"), "relay.idle_timeout_s: how long a flow outlives its call", default=30.0
    )
    punt_pps: float = setting(
        number(1, 1e7, "packets/s"), "dataplane.punt_total_pps: first packets that come up", default=20_000.0
    )
    punt_media_pps: float = setting(
        number(1, 1e7, "packets/s"), "dataplane.punt_media_total_pps, with a store", default=20_000.0
    )
    punt_media_source_pps: float = setting(
        number(1, 1e7, "packets/s"), "dataplane.punt_media_source_pps, of one address", default=5_000.0
    )
    fill: float = setting(
        number(0.01, 1), "share of what was measured that is used when PoPs are lost", default=0.85
    )


@dataclass(frozen=True, slots=True)
class TransceiverHost:
    """One host of a region."""

    cores: int = setting(integer(1, 1024), "cores, with a process on each", default=32)
    nic_gbit_s: float = setting(number(0.1, 1600, "Gbit/s"), "its network, each way", default=25.0)
    memory_gib: float = setting(number(0.1, 65_536, "GiB"), "its memory", default=64.0)
    max_sessions: int = setting(integer(1, 10_000), "transceiver.max_sessions, of a process", default=100)
    fill: float = setting(
        number(0.01, 1), "share of a core that is used: from 0.8 on the encoder saves", default=0.75
    )


@dataclass(frozen=True, slots=True)
class Shard:
    """One server of a store."""

    memory_gib: float = setting(number(0.01, 4096, "GiB"), "its memory", default=16.0)
    lease_s: float = setting(number(30, 3600, "s"), "store.flow_lease_s", default=180.0)
    fill: float = setting(
        number(0.01, 1), "share that is used: the rest is for look-ups and failures", default=0.5
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where hosts are, and how many, where that is given."""

    pops: int = setting(integer(1, 10_000), "PoPs, alike", default=30)
    regions: int = setting(integer(1, 1000), "regions of transceivers, each with a store", default=6)
    lost: float = setting(number(0, 0.9), "share of PoPs that may be lost at once", default=1 / 3)
    status_s: float = setting(
        number(0.1, 3600, "s"), "from one question of a transceiver host for a PoP's status to the next",
        default=2.0,
    )  # fmt: skip
    detection_s: float = setting(
        number(0, 60, "s"), "until the network leads past a dead host: BFD of 3 × 300 ms", default=0.9
    )
    pop_hosts: int = setting(integer(0, 10**6), "hosts of a PoP; 0 is as many as it takes", default=0)

    @property
    def pops_left(self) -> int:
        """After the loss, which spares one."""
        return max(1, self.pops - math.ceil(self.pops * self.lost - 1e-9))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a size follows from; the names are those of the tables."""

    traffic: Traffic = field(default_factory=Traffic)
    pop: PopHost = field(default_factory=PopHost)
    transceiver: TransceiverHost = field(default_factory=TransceiverHost)
    store: Shard = field(default_factory=Shard)
    layout: Layout = field(default_factory=Layout)
    figures: Figures = field(default_factory=Figures)
