"""The scene of the packet tests: one PoP, its addresses, next hops and a flow in each family."""

from __future__ import annotations

from ctypes import c_uint32
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.addr import Endpoint, IpFamily
from core.keyring import Keyring
from core.stun import Attribute, MessageType, encode
from core.token import Token, mint
from ebpf import layout, loader, pins
from ebpf.clock import JiffiesClock
from ebpf.flows import FlowRecord, ufrag_mark
from ebpf.ids import BackboneIndex, EgressId, NatSlot, NextHopId, TransceiverId, VipId
from ebpf.index import Index
from ebpf.kernel.testrun import TestRun, XdpAction, run
from ebpf.loader import Program
from ebpf.tables import Adjacency, LocalAddress, Rates, Tables
from ebpf.verdict import Action, Count, Family, Reason
from tests.builders import UdpFrame

SIZES = pins.Sizes(max_flows4=64, max_flows6=64, backbones4=2, backbones6=1, punt_sources=256)
LOOPBACK = 1

VIP4, VIP4_OTHER_PORT, VIP6 = (
    Endpoint("198.51.100.10", 3478),
    Endpoint("198.51.100.10", 443),
    Endpoint("2001:db8:5::10", 3478),
)
SHARED = Endpoint("203.0.113.5", 3478)
"""A VIP on a backbone address."""
VIP4_ID, VIP4_OTHER_PORT_ID, VIP6_ID, SHARED_ID = map(VipId, range(1, 5))
VIPS = {VIP4_ID: VIP4, VIP4_OTHER_PORT_ID: VIP4_OTHER_PORT, VIP6_ID: VIP6, SHARED_ID: SHARED}
BACKBONE4, BACKBONE6 = "192.0.2.1", "2001:db8:b::1"
BACKBONES = {IpFamily.V4: (BACKBONE4, SHARED.host), IpFamily.V6: (BACKBONE6,)}
FIRST_BACKBONE, SECOND_BACKBONE = BackboneIndex(0), BackboneIndex(1)
LOCALS = (
    LocalAddress(VIP4.host, {VIP4.port: VIP4_ID, VIP4_OTHER_PORT.port: VIP4_OTHER_PORT_ID}),
    LocalAddress(VIP6.host, {VIP6.port: VIP6_ID}),
    LocalAddress(BACKBONE4, backbone=FIRST_BACKBONE),
    LocalAddress(SHARED.host, {SHARED.port: SHARED_ID}, backbone=SECOND_BACKBONE),
    LocalAddress(BACKBONE6, backbone=FIRST_BACKBONE),
)
CLIENT4, CLIENT6 = Endpoint("203.0.113.77", 50000), Endpoint("2001:db8:c::77", 50000)
TRANSCEIVER4, TRANSCEIVER6 = Endpoint("10.20.1.2", 40007), Endpoint("2001:db8:1::102", 40007)

UP, DOWN, UP_TAGGED, UP_TWICE_TAGGED, UNUSABLE, NARROW, GONE = map(NextHopId, range(1, 8))
SPARE = TransceiverId(65_535)
"""A number of a transceiver that no next hop has."""
EGRESS, NO_EGRESS = EgressId(3), EgressId(4)
OWN_MAC, ROUTER_MAC, SWITCH_MAC = (bytes.fromhex(f"0600000000{n}") for n in ("01", "02", "03"))
TAG, OUTER_TAG = (0x8100, 200), (0x88A8, 0x6007)
NEXTHOPS = {
    UP: Adjacency(SWITCH_MAC, OWN_MAC, 1500, EGRESS),
    DOWN: Adjacency(ROUTER_MAC, OWN_MAC, 1500, EGRESS),
    UP_TAGGED: Adjacency(SWITCH_MAC, OWN_MAC, 1500, EGRESS, (TAG,)),
    UP_TWICE_TAGGED: Adjacency(SWITCH_MAC, OWN_MAC, 1500, EGRESS, (OUTER_TAG, TAG)),
    UNUSABLE: None,
    NARROW: Adjacency(SWITCH_MAC, OWN_MAC, 200, EGRESS),
    GONE: Adjacency(SWITCH_MAC, OWN_MAC, 1500, NO_EGRESS),
}

KEYRING = Keyring({3: bytes(range(32)), 9: bytes(range(100, 132))}, mint_with=3)
NOW_MIN = 29_900_000
TOKEN = Token(3, 1, 258, 40007, (NOW_MIN + 60) & 0xFFFF, 77)
UFRAG = mint(TOKEN, KEYRING).encode()
OTHER_UFRAG = mint(Token(9, 1, 258, 40008, (NOW_MIN + 60) & 0xFFFF, 78), KEYRING).encode()
AMPLE = Rates(source_pps=1e6, source_burst=10_000, total_pps=1e6, total_burst=100_000)

RTP = bytes.fromhex("806f1234000003c0deadbeef") + bytes(range(160))
DTLS = bytes.fromhex("16fefd0000000000000001") + bytes(80)

# A number of a transceiver stands for the one there is, and the next hop of that number.
FLOW4 = FlowRecord(NatSlot(20001), CLIENT4, VIP4_ID, TRANSCEIVER4, TransceiverId(UP), DOWN)
FLOW6 = FlowRecord(NatSlot(30001), CLIENT6, VIP6_ID, TRANSCEIVER6, TransceiverId(UP), DOWN)
FLOWS = {"ipv4": FLOW4, "ipv6": FLOW6}


def request(username: bytes, *before: tuple[int, bytes]) -> bytes:
    """A binding request; `before` goes in front of USERNAME."""
    attributes = [*before, (Attribute.USERNAME, username), (Attribute.PRIORITY, bytes(4))]
    return encode(MessageType.BINDING_REQUEST, b"transaction!", attributes, b"password")


REQUEST = request(UFRAG + b":abcd")
OTHER_REQUEST = request(OTHER_UFRAG + b":abcd")


def version_of(flow: FlowRecord) -> IpFamily:
    """Of the addresses at both of its ends."""
    return flow.client.family


def nat_of(flow: FlowRecord) -> Endpoint:
    """The backbone address and port that stand for a flow."""
    backbone, port = divmod(flow.slot, layout.PORTS)
    return Endpoint(BACKBONES[version_of(flow)][backbone], port)


def upstream(flow: FlowRecord, payload: bytes = RTP) -> UdpFrame:
    """What the client sends."""
    return UdpFrame(flow.client, VIPS[flow.vip_id], payload)


def sent_upstream(flow: FlowRecord, received: UdpFrame) -> UdpFrame:
    """What must come of it."""
    macs = SWITCH_MAC + OWN_MAC
    return received.but(source=nat_of(flow), destination=flow.transceiver, macs=macs, ttl=received.ttl - 1)


def downstream(flow: FlowRecord, payload: bytes = RTP) -> UdpFrame:
    """What the transceiver sends."""
    return UdpFrame(flow.transceiver, nat_of(flow), payload)


def sent_downstream(flow: FlowRecord, received: UdpFrame) -> UdpFrame:
    """What must come of it."""
    macs = ROUTER_MAC + OWN_MAC
    return received.but(source=VIPS[flow.vip_id], destination=flow.client, macs=macs, ttl=received.ttl - 1)


class Outcome(NamedTuple):
    """What became of a packet, and how it was counted."""

    run: TestRun
    reason: Reason
    family: Family
    counted_bytes: int


class Rig:
    """The loaded programs and their tables."""

    def __init__(self, pin_dir: Path, cache: Path) -> None:
        self.pin_dir = pin_dir
        self.loaded = loader.load_kept(pin_dir, cache)
        loader.pin(self.loaded, pin_dir)
        self.clock = JiffiesClock(pin_dir)
        self.index = Index(pin_dir)
        self.tables = Tables(pin_dir)

    def close(self) -> None:
        """Let go of maps and programs."""
        self.tables.close()
        self.clock.close()
        self.index.close()
        self.loaded.close()

    def reset(self) -> None:
        """The scene as it begins."""
        tables = self.tables
        for entries in (*tables.groups.values(), *tables.buckets.values()):
            entries[:] = 0
        tables.config["index_groups"], tables.config["index_backbones"] = layout.GROUPS, 1
        tables.config["default_nexthop"] = 0
        sources = tables.punt_sources
        for key in sources.items()[0]:
            sources.delete(sources.spec.key.from_buffer_copy(key.tobytes()))
        for upstream_records, downstream_records in tables.records.values():
            upstream_records["common"]["state"] = downstream_records["common"]["state"] = layout.SLOT_OFF
        tables.punt_total.update(c_uint32(0), layout.Debt())
        for vip_id, vip in VIPS.items():
            tables.set_vip(vip_id, vip)
        for hosts in BACKBONES.values():
            for index, host in enumerate(hosts):
                tables.set_backbone(BackboneIndex(index), host)
        for nexthop, adjacency in NEXTHOPS.items():
            tables.set_nexthop(nexthop, adjacency)
            for transceiver in (TRANSCEIVER4, TRANSCEIVER6):
                tables.set_transceiver(TransceiverId(nexthop), transceiver, nexthop)
        tables.set_egress(EGRESS, LOOPBACK)
        tables.set_keys(KEYRING)
        tables.set_clock(NOW_MIN)
        for direction in (layout.UPSTREAM, layout.DOWNSTREAM):
            tables.set_dscp(direction, None)
        tables.set_rates(layout.PUNT_CLASS_STUN, AMPLE)
        tables.set_rates(layout.PUNT_CLASS_MEDIA, AMPLE)
        tables.set_token_rate(1e6, 100_000)
        tables.set_emergency(False)
        tables.set_rates(layout.PUNT_CLASS_CONTESTED, AMPLE)
        tables.set_locals(LOCALS)

    def install(self, flow: FlowRecord, ufrag: bytes = UFRAG) -> None:
        """A flow, in the order that the relay writes it."""
        self.tables.write_slot(flow, ufrag_mark(ufrag))
        self.index.link(version_of(flow), flow.slot)

    def seen(self, flow: FlowRecord) -> list[int]:
        """The stamps of a flow, upstream first."""
        return [int(each["common"]["seen"][flow.slot]) for each in self.tables.records[version_of(flow)]]

    def traffic(self, flow: FlowRecord) -> list[Count]:
        """What a flow has carried, upstream first."""
        both = self.tables.traffic(version_of(flow), np.array([flow.slot]))
        return [Count(int(each.packets[0]), int(each.bytes[0])) for each in both]

    def send(self, frame: UdpFrame | bytes, program: Program = Program.BACKBONE) -> Outcome:
        """One packet through a program. Asserts that it is counted once, under a reason of its action."""
        before = self.tables.counts()
        result = run(self.loaded.fds[program], bytes(frame))
        after = self.tables.counts()
        changed = {
            (family, reason): Count(count.packets - old.packets, count.bytes - old.bytes)
            for family, counts in after.items()
            for reason, count in counts.items()
            if count != (old := before[family][reason])
        }
        assert [count.packets for count in changed.values()] == [1], f"not counted once: {changed}"
        ((family, reason), count) = next(iter(changed.items()))
        assert result.action == XDP_OF[reason.action], f"{reason} must not {result.action.name}"
        return Outcome(result, reason, family, count.bytes)


XDP_OF = {
    Action.REDIRECT: XdpAction.REDIRECT,
    Action.PASS: XdpAction.PASS,
    Action.DROP: XdpAction.DROP,
}
