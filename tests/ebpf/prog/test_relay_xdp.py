"""The verdict table, row by row and header by header, through the loaded program.

Each packet is built, run, and what comes out compared byte by byte with a packet built from scratch;
`Rig.send` asserts that exactly one counter moved, by one.
"""

from __future__ import annotations

import ipaddress
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.addr import Endpoint, IpFamily
from core.demux import PacketKind, classify_untrusted, is_well_formed_untrusted
from core.stun import Attribute, MessageType, encode, is_binding_request_untrusted
from core.token import Token, TokenReason, mint
from ebpf import layout
from ebpf.clock import seen_shift
from ebpf.flows import FlowRecord, ufrag_mark
from ebpf.ids import NOWHERE, NatSlot, NextHopId, TransceiverId
from ebpf.kernel.testrun import XdpAction, run
from ebpf.loader import Program
from ebpf.tables import Adjacency, Rates
from ebpf.verdict import Action, Family, Reason
from tests import pcap
from tests.builders import CLIENT_MAC, DONT_FRAGMENT, MORE_FRAGMENTS, POP_MAC, UdpFrame, check_sums
from tests.ebpf import rig as scene
from tests.ebpf.rig import (
    DTLS,
    FLOW4,
    FLOW6,
    FLOWS,
    KEYRING,
    NOW_MIN,
    OTHER_REQUEST,
    OTHER_UFRAG,
    REQUEST,
    RTP,
    TAG,
    TOKEN,
    UFRAG,
    UNUSABLE,
    Outcome,
    Rig,
    downstream,
    request,
    sent_downstream,
    sent_upstream,
    upstream,
    version_of,
)
from tests.vectors import token_v1
from tests.vectors.first_headers import FIRST_HEADERS

BOTH = (Program.PUBLIC, Program.BACKBONE)
FLOW = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
Direction = Callable[..., UdpFrame]


def family_of(flow: FlowRecord) -> Family:
    return Family.IPV6 if ":" in flow.client.host else Family.IPV4


def assert_forwarded(outcome: Outcome, reason: Reason, expected: UdpFrame) -> None:
    assert outcome.reason == reason
    assert outcome.run.frame == bytes(expected)
    check_sums(outcome.run.frame)
    assert outcome.counted_bytes == expected.l3_bytes


def assert_untouched(outcome: Outcome, reason: Reason, frame: UdpFrame) -> None:
    assert outcome.reason == reason
    assert outcome.run.frame == bytes(frame)


# Known flows


@FLOW
@pytest.mark.parametrize(
    "payload",
    [
        RTP,
        DTLS,
        REQUEST,
        encode(MessageType.BINDING_RESPONSE, b"transaction!", [], b"password"),
        encode(MessageType.BINDING_INDICATION, b"transaction!", []),
        RTP + b"odd",
        RTP * 8,
    ],
    ids=["rtp", "dtls", "request", "response", "indication", "odd", "large"],
)
def test_known_flow_upstream(rig: Rig, flow: FlowRecord, payload: bytes) -> None:
    rig.install(flow)
    frame = upstream(flow, payload)
    assert_forwarded(rig.send(frame), Reason.FORWARD_UP, sent_upstream(flow, frame))


@FLOW
@pytest.mark.parametrize("first", range(256))
def test_of_a_known_flow_no_noise_is_carried(rig: Rig, flow: FlowRecord, first: int) -> None:
    rig.install(flow)
    payload = bytes([first]) + RTP[1:]
    reason = rig.send(upstream(flow, payload)).reason
    assert reason == (Reason.FORWARD_UP if is_well_formed_untrusted(payload) else Reason.DROP_NOT_WEBRTC)


@FLOW
@pytest.mark.parametrize(("payload", "is_well_formed"), FIRST_HEADERS.values(), ids=FIRST_HEADERS)
def test_first_headers(rig: Rig, flow: FlowRecord, payload: bytes, is_well_formed: bool) -> None:
    """Of a known flow, and so of any."""
    rig.install(flow)
    reason = rig.send(upstream(flow, payload)).reason
    assert reason == (Reason.FORWARD_UP if is_well_formed else Reason.DROP_NOT_WEBRTC)


@FLOW
def test_of_a_known_flow_nothing_empty_is_carried(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    assert rig.send(upstream(flow, b"")).reason == Reason.DROP_NOT_WEBRTC


@FLOW
@pytest.mark.parametrize("payload", [RTP, DTLS, REQUEST, b"", RTP + b"x"])
def test_known_flow_downstream(rig: Rig, flow: FlowRecord, payload: bytes) -> None:
    rig.install(flow)
    frame = downstream(flow, payload)
    assert_forwarded(rig.send(frame), Reason.FORWARD_DOWN, sent_downstream(flow, frame))


@FLOW
def test_both_programs_forward_upstream(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    frame = upstream(flow)
    for program in BOTH:
        outcome = rig.send(frame, program)
        assert_forwarded(outcome, Reason.FORWARD_UP, sent_upstream(flow, frame))


@FLOW
def test_a_transceiver_is_not_believed_on_the_public_side(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    frame = downstream(flow)
    assert_untouched(rig.send(frame, Program.PUBLIC), Reason.DROP_WRONG_SIDE, frame)


@FLOW
@pytest.mark.parametrize("ways", ["up", "down"])
@pytest.mark.parametrize("before", [(), (TAG,), (scene.OUTER_TAG, TAG)], ids=["0", "1", "2"])
@pytest.mark.parametrize("after", [scene.UP, scene.UP_TAGGED, scene.UP_TWICE_TAGGED])
def test_tags(
    rig: Rig, flow: FlowRecord, ways: str, before: tuple[tuple[int, int], ...], after: NextHopId
) -> None:
    way = scene.NEXTHOPS[after]
    assert way is not None
    rig.install(flow._replace(transceiver_id=TransceiverId(after), nexthop_down=after))
    if ways == "up":
        frame = upstream(flow).but(tags=before)
        expected = sent_upstream(flow, frame).but(tags=way.tags)
    else:
        frame = downstream(flow).but(tags=before)
        expected = sent_downstream(flow, frame).but(tags=way.tags, macs=scene.SWITCH_MAC + scene.OWN_MAC)
    reason = Reason.FORWARD_UP if ways == "up" else Reason.FORWARD_DOWN
    assert_forwarded(rig.send(frame), reason, expected)


@pytest.mark.parametrize(
    "change",
    [
        {"checksum": False},
        {"ttl": 2},
        {"ttl": 255},
        {"identification": 0, "fragment": 0},
        {"fragment": 0x8000},
        {"padding": b"\xee" * 18},
        {"traffic_class": 0x01},
        {"traffic_class": 0xFF},
    ],
    ids=str,
)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_header_variants_ipv4(rig: Rig, change: dict[str, object], direction: str) -> None:
    rig.install(FLOW4)
    if direction == "up":
        frame = upstream(FLOW4, RTP).but(**change)
        assert_forwarded(rig.send(frame), Reason.FORWARD_UP, sent_upstream(FLOW4, frame))
    else:
        frame = downstream(FLOW4, RTP).but(**change)
        assert_forwarded(rig.send(frame), Reason.FORWARD_DOWN, sent_downstream(FLOW4, frame))


@pytest.mark.parametrize(
    "change",
    [{"ttl": 2}, {"ttl": 255}, {"flow_label": 0}, {"flow_label": 0xFFFFF}, {"traffic_class": 0xFF}],
    ids=str,
)
def test_header_variants_ipv6(rig: Rig, change: dict[str, object]) -> None:
    rig.install(FLOW6)
    frame = upstream(FLOW6).but(**change)
    assert_forwarded(rig.send(frame), Reason.FORWARD_UP, sent_upstream(FLOW6, frame))


@FLOW
@pytest.mark.parametrize("dscp", [0, 46, 63])
@pytest.mark.parametrize("traffic_class", [0x00, 0x03, 0xB9, 0xFF])
def test_dscp_is_set_per_direction_and_ecn_kept(
    rig: Rig, flow: FlowRecord, dscp: int, traffic_class: int
) -> None:
    rig.install(flow)
    rig.tables.set_dscp(layout.UPSTREAM, dscp)
    frame = upstream(flow).but(traffic_class=traffic_class)
    marked = sent_upstream(flow, frame).but(traffic_class=dscp << 2 | traffic_class & 3)
    assert_forwarded(rig.send(frame), Reason.FORWARD_UP, marked)
    back = downstream(flow).but(traffic_class=traffic_class)
    assert_forwarded(rig.send(back), Reason.FORWARD_DOWN, sent_downstream(flow, back))


@FLOW
def test_the_record_remembers_both_directions(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    start = rig.clock.now >> seen_shift()
    for _ in range(3):
        rig.send(upstream(flow))
    rig.send(downstream(flow, DTLS))
    up, down = upstream(flow), downstream(flow, DTLS)
    assert rig.traffic(flow) == [(3, 3 * up.l3_bytes), (1, down.l3_bytes)]
    passed = (rig.clock.now >> seen_shift()) - start & 0xFFFF
    assert all(seen - start & 0xFFFF <= passed for seen in rig.seen(flow))


@FLOW
@pytest.mark.parametrize("packets", [254, 255, 256, 511])
def test_nothing_that_is_counted_is_lost_where_a_record_has_no_room(
    rig: Rig, flow: FlowRecord, packets: int
) -> None:
    """Packets of the size that fills it soonest."""
    rig.tables.set_nexthop(scene.UP, Adjacency(scene.SWITCH_MAC, scene.OWN_MAC, 0xFFFF, scene.EGRESS))
    rig.install(flow)
    frame = upstream(flow, RTP + bytes(3000))
    run(rig.loaded.fds[Program.PUBLIC], bytes(upstream(flow)))
    for _ in range(packets - 1):
        run(rig.loaded.fds[Program.PUBLIC], bytes(frame))
    size = upstream(flow).l3_bytes + (packets - 1) * frame.l3_bytes
    assert rig.traffic(flow) == [(packets, size), (0, 0)]


def test_the_largest_packets_do_not_overflow_what_is_counted(rig: Rig) -> None:
    """255 of them, as long as a length field can say: the sum before what is counted is put away."""
    rig.install(FLOW4)
    counts = rig.tables.records[IpFamily.V4][layout.UPSTREAM]["common"]["counts"]
    counts[FLOW4.slot] = layout.COUNT_PACKETS - 1 | (layout.COUNT_PACKETS - 1) * 65575 << layout.COUNT_BITS
    rig.send(upstream(FLOW4))
    size = (layout.COUNT_PACKETS - 1) * 65575 + upstream(FLOW4).l3_bytes
    assert rig.traffic(FLOW4) == [(255, size), (0, 0)]
    assert counts[FLOW4.slot] == 0
    assert layout.COUNT_PACKETS * 65575 < 1 << 32 - layout.COUNT_BITS


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_address_keeps_its_checksums(rig: Rig, data: st.DataObject) -> None:
    """The incremental sums equal full ones, whatever the words are, zero and all ones among them."""
    words = st.one_of(st.sampled_from([0, 1, 0xFFFE, 0xFFFF]), st.integers(0, 0xFFFF))
    ports = st.integers(1, 0xFFFF)
    is_ipv6 = data.draw(st.booleans())

    def host() -> str:
        if is_ipv6:
            return ":".join(f"{data.draw(words):x}" for _ in range(8))
        return ".".join(str(b) for n in (data.draw(words), data.draw(words)) for b in divmod(n, 256))

    base = FLOW6 if is_ipv6 else FLOW4
    client, transceiver = (Endpoint(_canonical(host()), data.draw(ports)) for _ in range(2))
    flow = base._replace(client=client, transceiver=transceiver, transceiver_id=scene.SPARE)
    rig.tables.set_transceiver(scene.SPARE, transceiver, scene.UP)
    payload = RTP[:12] + data.draw(st.binary(min_size=4, max_size=40))
    rig.install(flow)
    ttl = data.draw(st.integers(2, 255))
    up = upstream(flow, payload).but(ttl=ttl)
    assert_forwarded(rig.send(up), Reason.FORWARD_UP, sent_upstream(flow, up))
    down = downstream(flow, payload).but(ttl=ttl)
    assert_forwarded(rig.send(down), Reason.FORWARD_DOWN, sent_downstream(flow, down))
    assert rig.index.unlink(version_of(flow), flow.slot)


def _canonical(host: str) -> str:
    return str(ipaddress.ip_address(host))


CAPTURES = sorted(path.name for path in pcap.CAPTURES.glob("*.pcap"))


@pytest.mark.parametrize("name", CAPTURES)
def test_real_clients(rig: Rig, name: str) -> None:
    """Every datagram of every capture, both ways: forwarded whole on a known flow, but for requests
    whose ufrag is no token."""
    rig.install(FLOW4)
    rig.install(FLOW6)
    kinds = set()
    for datagram in pcap.read_datagrams(pcap.CAPTURES / name):
        payload = datagram.payload
        kinds.add(classify_untrusted(payload))
        for flow in FLOWS.values():
            up, down = upstream(flow, payload), downstream(flow, payload)
            outcome = rig.send(down)
            assert_forwarded(outcome, Reason.FORWARD_DOWN, sent_downstream(flow, down))
            outcome = rig.send(up)
            if is_binding_request_untrusted(payload):
                assert outcome.reason == Reason.DROP_TOKEN_LENGTH
            else:
                assert_forwarded(outcome, Reason.FORWARD_UP, sent_upstream(flow, up))
    assert kinds >= {PacketKind.STUN, PacketKind.DTLS}


@pytest.mark.parametrize("name", CAPTURES)
def test_real_requests_with_a_token_in_them(rig: Rig, name: str) -> None:
    """The checks of real clients, their attributes as they order them, with our ufrag in USERNAME."""
    seen = 0
    for datagram in pcap.read_datagrams(pcap.CAPTURES / name):
        if not is_binding_request_untrusted(datagram.payload):
            continue
        payload = _with_ufrag(datagram.payload, UFRAG)
        for flow in FLOWS.values():
            frame = upstream(flow, payload)
            assert_untouched(rig.send(frame), Reason.PUNT_TOKEN, frame)
            rig.install(flow)
            outcome = rig.send(frame)
            assert_forwarded(outcome, Reason.FORWARD_UP, sent_upstream(flow, frame))
            assert rig.index.unlink(version_of(flow), flow.slot)
        seen += 1
    assert seen > 0


def _with_ufrag(message: bytes, ufrag: bytes) -> bytes:
    attributes, at = b"", 20
    while at < len(message):
        kind, length = struct.unpack_from("!HH", message, at)
        value = message[at + 4 : at + 4 + length]
        if kind == Attribute.USERNAME:
            value = ufrag + b":" + value.partition(b":")[2]
        attributes += struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) & 3)
        at += 4 + (length + 3 & ~3)
    return message[:2] + struct.pack("!H", len(attributes)) + message[4:20] + attributes


# Requests and strangers


@FLOW
def test_another_ufrag_from_a_known_address_is_punted(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    frame = upstream(flow, OTHER_REQUEST)
    assert_untouched(rig.send(frame), Reason.PUNT_UFRAG, frame)
    rig.install(flow, OTHER_UFRAG)
    assert rig.send(frame).reason == Reason.FORWARD_UP


@FLOW
def test_a_known_address_punts_no_forgeries(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    forged = request(b"A" + OTHER_UFRAG[1:] + b":abcd")
    assert rig.send(upstream(flow, forged)).reason == Reason.DROP_TOKEN_VERSION


@FLOW
@pytest.mark.parametrize(
    "payload",
    [
        REQUEST,
        request(UFRAG + b":"),
        request(UFRAG + b":" + b"c" * 256),
        request(UFRAG + b":abcd", (Attribute.SOFTWARE, b"libjuice"), (Attribute.PRIORITY, b"1234")),
        request(UFRAG + b":abcd", *[(0x8099, b"x" * n) for n in range(31)]),
        OTHER_REQUEST,
    ],
)
def test_a_valid_token_is_punted(rig: Rig, flow: FlowRecord, payload: bytes) -> None:
    for program in BOTH:
        frame = upstream(flow, payload)
        assert_untouched(rig.send(frame, program), Reason.PUNT_TOKEN, frame)


BAD_REQUESTS = {
    "no username": (
        encode(MessageType.BINDING_REQUEST, b"transaction!", [(Attribute.PRIORITY, bytes(4))], b"p"),
        Reason.DROP_NO_USERNAME,
    ),
    "empty username": (request(b""), Reason.DROP_TOKEN_LENGTH),
    "no colon": (request(UFRAG), Reason.DROP_TOKEN_LENGTH),
    "colon too early": (request(UFRAG[:27] + b":abcd"), Reason.DROP_TOKEN_LENGTH),
    "colon too late": (request(UFRAG + b"A:abcd"), Reason.DROP_TOKEN_LENGTH),
    "no attributes": (
        MessageType.BINDING_REQUEST.to_bytes(2, "big") + bytes(2) + b"\x21\x12\xa4\x42transaction!",
        Reason.DROP_NO_USERNAME,
    ),
    "length not a multiple of four": (
        REQUEST[:2] + struct.pack("!H", len(REQUEST) - 20 + 1) + REQUEST[4:] + b"\0",
        Reason.DROP_STUN_MALFORMED,
    ),
    "username shorter than what follows it": (
        REQUEST[:2]
        + struct.pack("!3H", 36, 0x2112, 0xA442)
        + REQUEST[8:20]
        + struct.pack("!HH", Attribute.USERNAME, 24)
        + UFRAG
        + b":abc",
        Reason.DROP_TOKEN_LENGTH,
    ),
    "length beyond the datagram": (REQUEST[:2] + b"\x04\x00" + REQUEST[4:], Reason.DROP_STUN_MALFORMED),
    "something behind it": (REQUEST + b"\0\0\0\0", Reason.DROP_STUN_MALFORMED),
    "attribute beyond the message": (
        REQUEST[:22] + b"\xff\xff" + REQUEST[24:],
        Reason.DROP_STUN_MALFORMED,
    ),
    "too many attributes": (
        request(UFRAG + b":abcd", *[(0x8099, b"")] * 32),
        Reason.DROP_STUN_MALFORMED,
    ),
    "too long": (request(UFRAG + b":abcd", (0x8099, bytes(1300))), Reason.DROP_STUN_MALFORMED),
    "wrong cookie": (REQUEST[:4] + b"\0" + REQUEST[5:], Reason.DROP_NOT_WEBRTC),
    "a response": (
        encode(MessageType.BINDING_RESPONSE, b"transaction!", [], b"p"),
        Reason.DROP_NOT_WEBRTC,
    ),
    "an allocate request (TURN)": (encode(3, b"transaction!", [], b"p"), Reason.DROP_NOT_WEBRTC),
}


@FLOW
@pytest.mark.parametrize(("payload", "reason"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_requests_of_strangers(rig: Rig, flow: FlowRecord, payload: bytes, reason: Reason) -> None:
    frame = upstream(flow, payload)
    outcome = rig.send(frame)
    assert_untouched(outcome, reason, frame)
    assert outcome.family == family_of(flow)


TOKEN_REASONS = {
    TokenReason.BAD_ALPHABET: Reason.DROP_TOKEN_ALPHABET,
    TokenReason.BAD_LENGTH: Reason.DROP_TOKEN_LENGTH,
    TokenReason.BAD_VERSION: Reason.DROP_TOKEN_VERSION,
    TokenReason.UNKNOWN_KEY: Reason.DROP_TOKEN_KEY,
    TokenReason.BAD_TAG: Reason.DROP_TOKEN_TAG,
    TokenReason.EXPIRED: Reason.DROP_TOKEN_EXPIRED,
    # Where a genuine token leads is for the relay to judge: it knows the clusters.
    TokenReason.UNKNOWN_CLUSTER: Reason.PUNT_TOKEN,
    TokenReason.HOST_OUT_OF_RANGE: Reason.PUNT_TOKEN,
    TokenReason.PORT_OUT_OF_RANGE: Reason.PUNT_TOKEN,
    TokenReason.NO_PREFIX_IN_FAMILY: Reason.PUNT_TOKEN,
}


@pytest.mark.parametrize(
    ("ufrag", "now_min", "reason"),
    [
        *(
            (mint(token, token_v1.KEYRING), now_min, Reason.PUNT_TOKEN)
            for token, now_min in token_v1.VALID.values()
        ),
        *(
            (ufrag, now_min, TOKEN_REASONS[token_v1.refusal(ufrag, now_min, family)])
            for _, ufrag, now_min, family in token_v1.invalid()
        ),
    ],
    ids=[*token_v1.VALID, *(name for name, *_ in token_v1.invalid())],
)
def test_token_vectors(rig: Rig, ufrag: str, now_min: int, reason: Reason) -> None:
    rig.tables.set_keys(token_v1.KEYRING)
    rig.tables.set_clock(now_min)
    assert rig.send(upstream(FLOW4, request(ufrag.encode() + b":abcd"))).reason == reason


@given(position=st.integers(0, 27), character=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
def test_any_other_character_is_refused(rig: Rig, position: int, character: int) -> None:
    ufrag = bytearray(UFRAG)
    ufrag[position] = character
    reason = rig.send(upstream(FLOW4, request(bytes(ufrag) + b":abcd"))).reason
    if bytes(ufrag) == UFRAG:
        assert reason == Reason.PUNT_TOKEN
    elif chr(character).isascii() and (chr(character).isalnum() or character in b"+/"):
        assert reason in (Reason.DROP_TOKEN_TAG, Reason.DROP_TOKEN_KEY, Reason.DROP_TOKEN_VERSION)
    else:
        assert reason == Reason.DROP_TOKEN_ALPHABET


def test_without_a_clock_no_token_is_believed(rig: Rig) -> None:
    rig.tables.config["clock_min"] = 0
    assert rig.send(upstream(FLOW4, REQUEST)).reason == Reason.DROP_NO_CLOCK


@pytest.mark.parametrize("late", [0, 1])
def test_a_token_lives_through_its_last_minute(rig: Rig, late: int) -> None:
    ufrag = mint(Token(3, 1, 1, 40000, NOW_MIN & 0xFFFF, 1), KEYRING).encode()
    rig.tables.set_clock(NOW_MIN + late)
    reason = rig.send(upstream(FLOW4, request(ufrag + b":abcd"))).reason
    assert reason == (Reason.DROP_TOKEN_EXPIRED if late else Reason.PUNT_TOKEN)


@FLOW
@pytest.mark.parametrize("first", range(256))
def test_a_stranger_without_a_request(rig: Rig, flow: FlowRecord, first: int) -> None:
    payload = bytes([first]) + RTP[1:]
    kind = classify_untrusted(payload)
    passes = kind in (PacketKind.DTLS, PacketKind.MEDIA) and is_well_formed_untrusted(payload)
    frame = upstream(flow, payload)
    assert_untouched(rig.send(frame), Reason.PUNT_MEDIA if passes else Reason.DROP_NOT_WEBRTC, frame)


@FLOW
def test_an_empty_datagram_of_a_stranger(rig: Rig, flow: FlowRecord) -> None:
    assert rig.send(upstream(flow, b"")).reason == Reason.DROP_NOT_WEBRTC


@FLOW
@pytest.mark.parametrize(
    "change",
    ["client", "client port", "vip"],
)
def test_any_other_key_is_another_flow(rig: Rig, flow: FlowRecord, change: str) -> None:
    rig.install(flow)
    frame = upstream(flow)
    host, port = flow.client
    neighbour = host[:-1] + "8"
    other = {
        "client": frame.but(source=Endpoint(neighbour, port)),
        "client port": frame.but(source=Endpoint(host, port + 1)),
        "vip": frame.but(destination=scene.VIP4_OTHER_PORT) if flow is FLOW4 else None,
    }[change]
    if other is not None:
        assert rig.send(other).reason == Reason.PUNT_MEDIA


# Downstream refusals


@FLOW
def test_a_nat_port_without_flow(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    nat = scene.nat_of(flow)
    frame = downstream(flow).but(destination=nat._replace(port=nat.port + 1))
    assert_untouched(rig.send(frame), Reason.DROP_NO_FLOW, frame)


@FLOW
@pytest.mark.parametrize("change", ["host", "port"])
def test_a_nat_port_is_open_to_its_transceiver_only(rig: Rig, flow: FlowRecord, change: str) -> None:
    rig.install(flow)
    host, port = flow.transceiver
    stranger = Endpoint(host[:-1] + "9", port) if change == "host" else Endpoint(host, port + 1)
    assert rig.send(downstream(flow).but(source=stranger)).reason == Reason.DROP_WRONG_PEER


@FLOW
def test_a_disabled_slot_forwards_nothing(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    rig.tables.set_slot_state(version_of(flow), flow.slot, layout.SLOT_OFF)
    assert rig.send(downstream(flow)).reason == Reason.DROP_NO_FLOW
    assert rig.send(upstream(flow)).reason == Reason.PUNT_MEDIA


@FLOW
@pytest.mark.parametrize("differs", ["host", "port", "vip"])
def test_an_entry_that_leads_to_anothers_slot_is_not_believed(
    rig: Rig, flow: FlowRecord, differs: str
) -> None:
    """What a packet may find that looks while flows change, or whose client has the same tag."""
    host, port = flow.client
    other = {
        "host": flow._replace(client=Endpoint(host[:-1] + "8", port)),
        "port": flow._replace(client=Endpoint(host, port + 1)),
        "vip": flow._replace(vip_id=scene.VIP4_OTHER_PORT_ID),
    }[differs]
    rig.install(flow)
    rig.tables.write_slot(other)
    assert rig.send(upstream(flow)).reason == Reason.PUNT_MEDIA
    assert rig.traffic(other) == [(0, 0), (0, 0)]


def test_a_slot_beyond_the_table_is_not_followed(rig: Rig) -> None:
    rig.install(FLOW4)
    buckets = rig.tables.buckets[IpFamily.V4]
    buckets[buckets != 0] |= (1 << layout.SLOT_BITS) - 1
    assert rig.send(upstream(FLOW4)).reason == Reason.PUNT_MEDIA


# Not ours


def test_an_address_may_be_vip_and_backbone_at_once(rig: Rig) -> None:
    flow = FlowRecord(
        NatSlot(layout.PORTS + 5000),
        scene.CLIENT4,
        scene.SHARED_ID,
        scene.TRANSCEIVER4,
        TransceiverId(scene.UP),
        scene.DOWN,
    )
    rig.install(flow)
    up, down = upstream(flow), downstream(flow)
    assert_forwarded(rig.send(up), Reason.FORWARD_UP, sent_upstream(flow, up))
    assert_forwarded(rig.send(down), Reason.FORWARD_DOWN, sent_downstream(flow, down))


@pytest.mark.parametrize(
    "destination",
    [
        Endpoint("198.51.100.11", 3478),
        Endpoint("198.51.100.10", 3479),
        Endpoint("198.51.100.10", 22),
        Endpoint("192.0.2.1", 53),
        Endpoint("192.0.2.1", 4095),
        Endpoint("2001:db8:5::11", 3478),
        Endpoint("2001:db8:5::10", 3479),
        Endpoint("2001:db8:b::1", 4095),
    ],
    ids=str,
)
def test_other_udp_passes(rig: Rig, destination: Endpoint) -> None:
    source = scene.CLIENT6 if ":" in destination.host else scene.CLIENT4
    for program in BOTH:
        frame = UdpFrame(source, destination, RTP)
        assert_untouched(rig.send(frame, program), Reason.PASS_NOT_OURS, frame)


def _with_protocol(flow: FlowRecord, protocol: int) -> bytes:
    frame = bytearray(bytes(upstream(flow)))
    frame[20 if flow is FLOW6 else 23] = protocol
    return bytes(frame)


@FLOW
@pytest.mark.parametrize("protocol", [1, 2, 6, 47, 50, 58, 89, 132])
def test_other_protocols_to_a_vip_pass(rig: Rig, flow: FlowRecord, protocol: int) -> None:
    frame = _with_protocol(flow, protocol)
    outcome = rig.send(frame)
    assert outcome.reason == Reason.PASS_NOT_UDP
    assert outcome.run.frame == frame


@pytest.mark.parametrize(
    "ethertype", [0x0806, 0x88CC, 0x8847, 0x0026, 0x9100], ids=["arp", "lldp", "mpls", "stp", "q-in-q"]
)
def test_what_is_not_ip_passes(rig: Rig, ethertype: int) -> None:
    frame = POP_MAC + CLIENT_MAC + ethertype.to_bytes(2, "big") + bytes(46)
    outcome = rig.send(frame)
    assert (outcome.reason, outcome.family, outcome.counted_bytes) == (Reason.PASS_NOT_IP, Family.NONE, 0)
    assert outcome.run.frame == frame


def test_a_third_tag_passes(rig: Rig) -> None:
    rig.install(FLOW4)
    frame = upstream(FLOW4).but(tags=(TAG, TAG, TAG))
    assert_untouched(rig.send(frame), Reason.PASS_NOT_IP, frame)


# Odd packets: options, fragments, extensions

NOP_OPTIONS = bytes([1, 1, 1, 0])
ROUTER_ALERT = bytes([148, 4, 0, 0])


@pytest.mark.parametrize("options", [NOP_OPTIONS, ROUTER_ALERT, NOP_OPTIONS * 10])
@pytest.mark.parametrize("direction", [upstream, downstream])
def test_ipv4_options_are_dropped(rig: Rig, options: bytes, direction: Direction) -> None:
    rig.install(FLOW4)
    frame = direction(FLOW4).but(options=options)
    assert_untouched(rig.send(frame), Reason.DROP_OPTIONS, frame)


def test_ipv4_options_to_another_port_pass(rig: Rig) -> None:
    frame = upstream(FLOW4).but(options=NOP_OPTIONS, destination=Endpoint(scene.VIP4.host, 53))
    assert_untouched(rig.send(frame), Reason.PASS_NOT_OURS, frame)


@pytest.mark.parametrize("fragment", [MORE_FRAGMENTS, MORE_FRAGMENTS | 185, 185, DONT_FRAGMENT | 1, 0x1FFF])
def test_ipv4_fragments_to_a_vip_are_dropped(rig: Rig, fragment: int) -> None:
    rig.install(FLOW4)
    frame = upstream(FLOW4).but(fragment=fragment)
    assert_untouched(rig.send(frame), Reason.DROP_FRAGMENT, frame)


@pytest.mark.parametrize(
    ("fragment", "reason"), [(MORE_FRAGMENTS, Reason.DROP_FRAGMENT), (185, Reason.PASS_NOT_OURS)]
)
def test_ipv4_fragments_to_a_backbone_address(rig: Rig, fragment: int, reason: Reason) -> None:
    """The first shows its port; a later one may be the host's own business."""
    rig.install(FLOW4)
    frame = downstream(FLOW4).but(fragment=fragment)
    assert_untouched(rig.send(frame), reason, frame)


def test_a_first_fragment_to_another_port_passes(rig: Rig) -> None:
    frame = upstream(FLOW4).but(fragment=MORE_FRAGMENTS, destination=Endpoint(scene.VIP4.host, 53))
    assert_untouched(rig.send(frame), Reason.PASS_NOT_OURS, frame)


HOP_BY_HOP = (0, bytes([0, 1, 4, 0, 0, 0, 0]))
DESTINATION = (60, bytes([1, 1, 12]) + bytes(12))
ROUTING = (43, bytes([2, 0, 0, 0, 0, 0, 0]) + bytes(16))
AUTHENTICATION = (51, bytes([4, 0, 0]) + bytes(20))
FIRST_FRAGMENT = (44, bytes([0, 0, 1, 0, 0, 0, 7]))
LATER_FRAGMENT = (44, bytes([0, 0x05, 0xC9, 0, 0, 0, 7]))
ATOMIC_FRAGMENT = (44, bytes([0, 0, 0, 0, 0, 0, 7]))
EXTENSIONS = {
    "hop-by-hop": ((HOP_BY_HOP,), Reason.DROP_OPTIONS),
    "destination": ((DESTINATION,), Reason.DROP_OPTIONS),
    "routing": ((ROUTING,), Reason.DROP_OPTIONS),
    "authentication": ((AUTHENTICATION,), Reason.DROP_OPTIONS),
    "four of them": ((HOP_BY_HOP, DESTINATION, ROUTING, AUTHENTICATION), Reason.DROP_OPTIONS),
    "first fragment": ((FIRST_FRAGMENT,), Reason.DROP_FRAGMENT),
    "atomic fragment": ((ATOMIC_FRAGMENT,), Reason.DROP_FRAGMENT),
    "fragment behind another": ((HOP_BY_HOP, FIRST_FRAGMENT, DESTINATION), Reason.DROP_FRAGMENT),
    "later fragment": ((LATER_FRAGMENT,), Reason.DROP_FRAGMENT),
    "deeper than we look": ((DESTINATION,) * 7, Reason.PASS_NOT_UDP),
}


@pytest.mark.parametrize(("extensions", "reason"), EXTENSIONS.values(), ids=EXTENSIONS)
def test_ipv6_extensions(rig: Rig, extensions: tuple[tuple[int, bytes], ...], reason: Reason) -> None:
    rig.install(FLOW6)
    frame = upstream(FLOW6).but(extensions=extensions)
    assert_untouched(rig.send(frame), reason, frame)


def test_ipv6_extensions_elsewhere_pass(rig: Rig) -> None:
    other_port = Endpoint(scene.VIP6.host, 53)
    frame = upstream(FLOW6).but(extensions=(HOP_BY_HOP,), destination=other_port)
    assert_untouched(rig.send(frame), Reason.PASS_NOT_OURS, frame)
    later = downstream(FLOW6).but(extensions=(LATER_FRAGMENT,))
    assert_untouched(rig.send(later), Reason.PASS_NOT_OURS, later)


def test_ipv6_without_checksum_is_dropped(rig: Rig) -> None:
    rig.install(FLOW6)
    frame = upstream(FLOW6).but(checksum=False)
    assert_untouched(rig.send(frame), Reason.DROP_NO_CHECKSUM, frame)


# The way out


@FLOW
@pytest.mark.parametrize("ttl", [0, 1])
@pytest.mark.parametrize("direction", [upstream, downstream])
def test_ttl_ends_here(rig: Rig, flow: FlowRecord, ttl: int, direction: Direction) -> None:
    rig.install(flow)
    frame = direction(flow).but(ttl=ttl)
    assert_untouched(rig.send(frame), Reason.DROP_TTL, frame)


@FLOW
@pytest.mark.parametrize("over", [0, 1])
def test_mtu_of_the_way_out(rig: Rig, flow: FlowRecord, over: int) -> None:
    rig.install(flow._replace(transceiver_id=TransceiverId(scene.NARROW)))
    headers = 48 if flow is FLOW6 else 28
    frame = upstream(flow, RTP[:1] + bytes(200 - headers - 1 + over))
    outcome = rig.send(frame)
    if over:
        assert_untouched(outcome, Reason.DROP_TOO_BIG, frame)
    else:
        assert_forwarded(outcome, Reason.FORWARD_UP, sent_upstream(flow, frame))


@FLOW
@pytest.mark.parametrize(
    ("nexthop", "reason"),
    [
        (scene.UNUSABLE, Reason.DROP_NO_NEXTHOP),
        (NextHopId(4000), Reason.DROP_NO_NEXTHOP),
        (NOWHERE, Reason.DROP_NO_NEXTHOP),
        (scene.GONE, Reason.DROP_NO_EGRESS),
    ],
)
def test_no_way_out(rig: Rig, flow: FlowRecord, nexthop: NextHopId, reason: Reason) -> None:
    rig.tables.set_transceiver(scene.SPARE, flow.transceiver, nexthop)
    rig.install(flow._replace(transceiver_id=scene.SPARE))
    assert rig.send(upstream(flow)).reason == reason
    assert rig.traffic(flow) == [(0, 0), (0, 0)]


@FLOW
def test_a_next_hop_that_moves_takes_all_its_flows_along(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    moved = Adjacency(b"\x0a" * 6, scene.OWN_MAC, 1500, scene.EGRESS, (TAG,))
    rig.tables.set_nexthop(scene.UP, moved)
    frame = upstream(flow)
    expected = sent_upstream(flow, frame).but(macs=b"\x0a" * 6 + scene.OWN_MAC, tags=(TAG,))
    assert_forwarded(rig.send(frame), Reason.FORWARD_UP, expected)


@FLOW
@pytest.mark.parametrize("usual", [0, scene.UP, scene.DOWN, scene.UNUSABLE, 0xFFFF])
def test_a_flow_leaves_by_its_own_next_hop_whichever_is_usual(rig: Rig, flow: FlowRecord, usual: int) -> None:
    rig.tables.config["default_nexthop"] = usual
    rig.install(flow)
    up, down = upstream(flow), downstream(flow)
    assert_forwarded(rig.send(up), Reason.FORWARD_UP, sent_upstream(flow, up))
    assert_forwarded(rig.send(down), Reason.FORWARD_DOWN, sent_downstream(flow, down))


# Budgets


@FLOW
@pytest.mark.parametrize(
    ("payload", "punt_class", "reason"),
    [
        (REQUEST, layout.PUNT_CLASS_STUN, Reason.PUNT_TOKEN),
        (DTLS, layout.PUNT_CLASS_MEDIA, Reason.PUNT_MEDIA),
    ],
)
def test_a_source_has_a_budget(
    rig: Rig, flow: FlowRecord, payload: bytes, punt_class: int, reason: Reason
) -> None:
    rates = Rates(source_pps=0.001, source_burst=3, total_pps=1e6, total_burst=1000)
    rig.tables.set_rates(punt_class, rates)
    frame = upstream(flow, payload)
    reasons = [rig.send(frame).reason for _ in range(5)]
    assert reasons == [reason] * 3 + [Reason.DROP_SOURCE_BUDGET] * 2
    same_source = "2001:db8:c:0:ffff::1" if flow is FLOW6 else flow.client.host
    elsewhere = "2001:db8:c:1::77" if flow is FLOW6 else "203.0.113.78"
    assert rig.send(frame.but(source=Endpoint(same_source, 9))).reason == Reason.DROP_SOURCE_BUDGET
    assert rig.send(frame.but(source=Endpoint(elsewhere, 9))).reason == reason
    other_class = REQUEST if payload is DTLS else DTLS
    assert rig.send(upstream(flow, other_class)).reason.action == Action.PASS


def test_all_sources_together_have_a_budget(rig: Rig) -> None:
    rates = Rates(source_pps=1e6, source_burst=1000, total_pps=0.001, total_burst=4)
    rig.tables.set_rates(layout.PUNT_CLASS_MEDIA, rates)
    hosts = [f"203.0.113.{n}" for n in range(4)] + ["2001:db8:c::1", "203.0.113.9"]
    reasons = []
    for host in hosts:
        flow = FLOW6 if ":" in host else FLOW4
        reasons.append(rig.send(upstream(flow, DTLS).but(source=Endpoint(host, 9))).reason)
    assert reasons == [Reason.PUNT_MEDIA] * 4 + [Reason.DROP_TOTAL_BUDGET] * 2
    # What is refused by the total leaves no trace of its source.
    keys, _ = rig.tables.punt_sources.items()
    assert len(keys) == 4
    assert rig.send(upstream(FLOW4, REQUEST)).reason == Reason.PUNT_TOKEN


def test_a_budget_refills(rig: Rig) -> None:
    rates = Rates(source_pps=20, source_burst=1, total_pps=1e6, total_burst=1000)
    rig.tables.set_rates(layout.PUNT_CLASS_MEDIA, rates)
    frame = upstream(FLOW4, DTLS)
    assert rig.send(frame).reason == Reason.PUNT_MEDIA
    deadline = time.monotonic() + 20
    while rig.send(frame).reason != Reason.PUNT_MEDIA:
        assert time.monotonic() < deadline


@FLOW
def test_known_flows_need_no_budget(rig: Rig, flow: FlowRecord) -> None:
    none = Rates(source_pps=0.001, source_burst=1, total_pps=0.001, total_burst=1)
    for punt_class in range(layout.PUNT_CLASSES):
        rig.tables.set_rates(punt_class, none)
    rig.install(flow)
    for payload in (RTP, DTLS, REQUEST) * 3:
        assert rig.send(upstream(flow, payload)).reason == Reason.FORWARD_UP


# Lies and truncations


@FLOW
@pytest.mark.parametrize("direction", [upstream, downstream])
@pytest.mark.parametrize("tags", [(), (TAG,), (TAG, TAG)])
def test_every_truncation(
    rig: Rig, flow: FlowRecord, direction: Direction, tags: tuple[tuple[int, int], ...]
) -> None:
    """Cut anywhere, nothing is forwarded and nothing is changed. The kernel takes no frame below 14."""
    rig.install(flow)
    whole = bytes(direction(flow, REQUEST).but(tags=tags))
    for length in range(14, len(whole)):
        outcome = rig.send(whole[:length])
        assert outcome.reason in (Reason.PASS_NOT_IP, Reason.DROP_MALFORMED)
        assert outcome.run.frame == whole[:length]


@FLOW
@pytest.mark.parametrize("field", ["ip", "udp"])
@pytest.mark.parametrize("change", [-100_000, -200, -1, 1, 200, 100_000])
def test_lengths_that_lie(rig: Rig, flow: FlowRecord, field: str, change: int) -> None:
    rig.install(flow)
    frame = bytearray(bytes(upstream(flow)))
    ip_at, udp_at = (18, 14 + 40 + 4) if flow is FLOW6 else (16, 14 + 20 + 4)
    at = ip_at if field == "ip" else udp_at
    honest = int.from_bytes(frame[at : at + 2], "big")
    frame[at : at + 2] = min(max(honest + change, 0), 0xFFFF).to_bytes(2, "big")
    outcome = rig.send(bytes(frame))
    if field == "udp" and change == -1:
        # Bytes behind UDP within IP are allowed (RFC 9868 puts options there) and travel along.
        assert outcome.reason == Reason.FORWARD_UP
    else:
        assert outcome.reason == Reason.DROP_MALFORMED
        assert outcome.run.frame == frame


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
def test_mutations_are_never_misread(rig: Rig, data: st.DataObject) -> None:
    """Whatever is changed, what is forwarded is a whole packet of the flow, rewritten right."""
    flow = data.draw(st.sampled_from([FLOW4, FLOW6]))
    rig.install(flow)
    payload = data.draw(st.sampled_from([RTP, REQUEST, OTHER_REQUEST]))
    tags = data.draw(st.sampled_from([(), (TAG,), (TAG, TAG)]))
    frame = bytearray(bytes(upstream(flow, payload).but(tags=tags)))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(14, len(frame)))]
    outcome = rig.send(bytes(frame))
    if outcome.run.action != XdpAction.REDIRECT:
        assert outcome.run.frame == frame
        return
    start = 14 + 4 * len(tags)
    assert len(outcome.run.frame) == len(frame) - 4 * len(tags)
    before, after = frame[start:], outcome.run.frame[14:]
    addresses = slice(8, 40) if flow is FLOW6 else slice(12, 20)
    expected = bytes(sent_upstream(flow, upstream(flow)))[14:]
    udp = 40 if flow is FLOW6 else 20
    assert after[addresses] == expected[addresses]
    assert after[udp : udp + 4] == expected[udp : udp + 4]
    assert after[udp + 8 :] == before[udp + 8 :]
    ttl = 7 if flow is FLOW6 else 8
    assert after[ttl] == before[ttl] - 1


@FLOW
@pytest.mark.parametrize("payload", [RTP, DTLS, REQUEST], ids=["media", "dtls", "own check"])
def test_a_contested_address_is_the_relays_and_its_flow_is_carried_downstream(
    rig: Rig, flow: FlowRecord, payload: bytes
) -> None:
    """Two calls have it: the relay has taken the transceiver out of the owner's record."""
    rig.install(flow)
    rig.tables.records[version_of(flow)][layout.UPSTREAM]["common"]["transceiver"][flow.slot] = 0
    frame = upstream(flow, payload)
    for program in BOTH:
        assert_untouched(rig.send(frame, program), Reason.PUNT_CONTESTED, frame)
    assert rig.send(upstream(flow, OTHER_REQUEST)).reason == Reason.PUNT_UFRAG
    assert rig.send(downstream(flow)).reason == Reason.FORWARD_DOWN
    assert [count.packets for count in rig.traffic(flow)] == [0, 1]
    rig.tables.records[version_of(flow)][layout.UPSTREAM]["common"]["transceiver"][flow.slot] = (
        flow.transceiver_id
    )
    assert rig.send(frame).reason == Reason.FORWARD_UP


@FLOW
def test_no_client_is_led_to_a_rival_and_it_is_carried_downstream(rig: Rig, flow: FlowRecord) -> None:
    rig.tables.write_slot(flow, ufrag_mark(UFRAG), 0, layout.SLOT_RIVAL)
    rig.index.link(version_of(flow), flow.slot)
    assert rig.send(upstream(flow)).reason == Reason.PUNT_MEDIA
    assert rig.send(downstream(flow)).reason == Reason.FORWARD_DOWN


def test_a_flow_in_trouble_is_not_taken_for_a_contested_one(rig: Rig) -> None:
    rig.install(FLOW4._replace(transceiver_id=TransceiverId(UNUSABLE)))
    assert rig.send(upstream(FLOW4)).reason == Reason.DROP_NO_NEXTHOP


def test_the_program_says_that_it_knows_of_contests(rig: Rig) -> None:
    assert rig.index.knows_contests()


@FLOW
def test_an_expired_token_is_good_for_a_flow_that_there_is(rig: Rig, flow: FlowRecord) -> None:
    rig.install(flow)
    rig.tables.set_clock(NOW_MIN + 1000)
    frame = upstream(flow, OTHER_REQUEST)
    assert_untouched(rig.send(frame), Reason.PUNT_UFRAG, frame)
    rig.tables.set_slot_state(version_of(flow), flow.slot, layout.SLOT_OFF)
    assert rig.send(frame).reason == Reason.DROP_TOKEN_EXPIRED


def test_an_expired_token_is_no_longer_the_flows_own_business(rig: Rig) -> None:
    """A flow's own ufrag is not checked again: consent goes on after the token's expiry."""
    rig.install(FLOW4)
    rig.tables.set_clock(NOW_MIN + 1000)
    assert TOKEN.expiry_min < (NOW_MIN + 1000) & 0xFFFF
    assert rig.send(upstream(FLOW4, REQUEST)).reason == Reason.FORWARD_UP
