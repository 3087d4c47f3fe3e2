"""edge.relay.decide: the verdict on every kind of datagram, from an unknown source and from a known one."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.keyring import Keyring
from core.stun import (
    Attribute,
    Message,
    MessageType,
    StunReason,
    encode,
    is_binding_request_untrusted,
    parse_untrusted,
)
from core.token import TokenReason
from core.ufrag import split_username_untrusted
from edge.relay.decide import Relay
from edge.relay.forwarder import Sockaddr, VipIndex
from edge.relay.verdict import (
    DROPS,
    FORWARD,
    FORWARD_BOTH,
    FORWARD_RIVAL,
    REFUSALS,
    Action,
    RelayReason,
    Verdict,
)
from tests.edge.kit import (
    CLIENT_UFRAG,
    CLUSTER,
    DTLS,
    KEYRING,
    MASTERS,
    MEDIA,
    flip_tag,
    mint_ufrag,
    now_min,
    request,
)
from tests.pcap import CAPTURES, read_datagrams

S = 1_000_000_000
TAKEOVER_NS = 5 * S
VIP = VipIndex(0)
PORT, OTHER_PORT = 4000, 4001
LEAD, OTHER_LEAD = Endpoint("127.77.0.1", PORT), Endpoint("127.77.0.1", OTHER_PORT)
CLUSTERS = {
    CLUSTER: Cluster(CLUSTER, IPv4Network("127.77.0.0/16"), IPv6Network("2001:db8::/64"), 4000, 4009),
    8: Cluster(8, None, IPv6Network("2001:db8:8::/64"), 4000, 4009),
}
STRANGER_KEYRING = Keyring({1: MASTERS[2]}, 1)


@dataclass(frozen=True)
class AFlow:
    """What a decision looks at; the forwarder's own flows are in test_slowpath."""

    ufrag: bytes
    client: Sockaddr = ("127.0.0.1", 9)
    vip: VipIndex = VIP
    transceiver: Endpoint = LEAD
    last_upstream_ns: int = 100 * S
    last_downstream_ns: int = 100 * S
    is_confirmed: bool = True

    def matches_ufrag(self, ufrag: bytes) -> bool:
        return ufrag == self.ufrag


def make_relay(keyring: Keyring = KEYRING) -> Relay:
    return Relay(keyring, CLUSTERS, TAKEOVER_NS)


def decide(
    data: bytes, flow: AFlow | None = None, rival: AFlow | None = None, family: IpFamily = IpFamily.V4
) -> Verdict:
    return make_relay().decide_untrusted(memoryview(data), family, flow, rival, now_min())


UFRAG = mint_ufrag(PORT)
REQUEST = request(UFRAG)


def with_username(username: bytes) -> bytes:
    return encode(1, bytes(12), [(Attribute.USERNAME, username)], b"x" * 32)


def flip(data: bytes, bit: int) -> bytes:
    """The same with one bit of it changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def test_a_proven_request_of_a_stranger_creates_a_flow() -> None:
    assert decide(REQUEST) == Verdict(Action.CREATE, None, UFRAG, LEAD)


def test_a_flow_keeps_its_family() -> None:
    verdict = decide(REQUEST, family=IpFamily.V6)
    assert verdict.transceiver == Endpoint("2001:db8::1", PORT)


STRANGERS: dict[str, tuple[bytes, object]] = {
    "empty": (b"", RelayReason.UNKNOWN_FLOW_OTHER),
    "media": (MEDIA, RelayReason.UNKNOWN_FLOW_MEDIA),
    "dtls": (DTLS, RelayReason.UNKNOWN_FLOW_DTLS),
    "media cut": (MEDIA[:15], RelayReason.UNKNOWN_FLOW_OTHER),
    "dtls of no version": (b"\x16\x03" + DTLS[2:], RelayReason.UNKNOWN_FLOW_OTHER),
    "turn channel": (b"\x40\x00" + bytes(30), RelayReason.UNKNOWN_FLOW_OTHER),
    "quic": (b"\xc3" + bytes(1200), RelayReason.UNKNOWN_FLOW_OTHER),
    "indication": (request(UFRAG, kind=MessageType.BINDING_INDICATION), RelayReason.NOT_BINDING_REQUEST),
    "response": (request(UFRAG, kind=MessageType.BINDING_RESPONSE), RelayReason.NOT_BINDING_REQUEST),
    "TURN allocate": (request(UFRAG, kind=0x0003), RelayReason.NOT_BINDING_REQUEST),
    "wrong cookie": (flip(REQUEST, 4 * 8), StunReason.BAD_COOKIE),
    "length too long": (REQUEST[:2] + struct.pack("!H", 4000) + REQUEST[4:], StunReason.BAD_LENGTH),
    "length odd": (REQUEST[:3] + b"\x01" + REQUEST[4:], StunReason.BAD_LENGTH),
    "trailing bytes": (REQUEST + bytes(4), StunReason.BAD_LENGTH),
    "bad fingerprint": (flip(REQUEST, len(REQUEST) * 8 - 1), StunReason.BAD_FINGERPRINT),
    "a hundred attributes": (encode(1, bytes(12), [(0x8001, b"")] * 100), StunReason.TOO_MANY_ATTRIBUTES),
    "no username": (encode(1, bytes(12), []), TokenReason.NO_USERNAME),
    "username without colon": (with_username(UFRAG), TokenReason.NO_USERNAME),
    "another alphabet": (with_username(b"-" * 28 + b":x"), TokenReason.BAD_ALPHABET),
    "token off by one bit": (request(flip_tag(UFRAG), b"x" * 32), TokenReason.BAD_TAG),
    "token of another keyring": (
        request(mint_ufrag(PORT, keyring=STRANGER_KEYRING), b"x" * 32),
        TokenReason.BAD_TAG,
    ),
    "unknown key id": (
        request(mint_ufrag(PORT, keyring=Keyring({9: MASTERS[1]}, 9), key_id=9), b"x" * 32),
        TokenReason.UNKNOWN_KEY,
    ),
    "expired": (request(mint_ufrag(PORT, lifetime_min=-1)), TokenReason.EXPIRED),
    "unknown cluster": (request(mint_ufrag(PORT, cluster=99)), TokenReason.UNKNOWN_CLUSTER),
    "port below the range": (request(mint_ufrag(3999)), TokenReason.PORT_OUT_OF_RANGE),
    "port above the range": (request(mint_ufrag(4010)), TokenReason.PORT_OUT_OF_RANGE),
    "host outside the prefix": (request(mint_ufrag(PORT, host=1 << 16)), TokenReason.HOST_OUT_OF_RANGE),
    "cluster of the other family": (
        request(mint_ufrag(PORT, cluster=8)),
        TokenReason.NO_PREFIX_IN_FAMILY,
    ),
    "no integrity": (
        encode(1, bytes(12), [(Attribute.USERNAME, UFRAG + b":" + CLIENT_UFRAG)]),
        RelayReason.BAD_INTEGRITY,
    ),
    "wrong password": (request(UFRAG, b"x" * 32), RelayReason.BAD_INTEGRITY),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_what_a_stranger_cannot_prove_is_dropped_by_reason(case: str) -> None:
    data, reason = STRANGERS[case]
    assert decide(data) == Verdict(Action.DROP, reason)  # type: ignore[arg-type]


def test_a_truncated_request_creates_nothing() -> None:
    for length in range(len(REQUEST)):
        assert decide(REQUEST[:length]).action is Action.DROP


@pytest.mark.parametrize("length", [n for n in range(64) if n != 28])
def test_a_ufrag_of_any_other_length_is_no_token(length: int) -> None:
    assert decide(with_username(UFRAG[:1] * length + b":x")) == DROPS[TokenReason.BAD_LENGTH]


def test_no_single_bit_up_to_the_end_of_the_integrity_may_differ() -> None:
    """FINGERPRINT, integrity or tag: something notices every one."""
    for bit in range((len(REQUEST) - 8) * 8):
        assert decide(flip(REQUEST, bit)).action is Action.DROP, bit


@given(st.binary(max_size=200))
def test_noise_creates_nothing(data: bytes) -> None:
    assert decide(data).action is Action.DROP


@given(st.binary(max_size=200), st.integers(0, len(REQUEST)))
def test_noise_from_a_known_address_is_forwarded_or_dropped(tail: bytes, kept: int) -> None:
    verdict = decide(REQUEST[:kept] + tail, AFlow(UFRAG))
    assert verdict.action in {Action.FORWARD, Action.DROP}


FROM_A_KNOWN_ADDRESS: dict[str, bytes] = {
    "media": MEDIA,
    "dtls": DTLS,
    "own check": REQUEST,
    "own check with a forged integrity": request(UFRAG, b"x" * 32),
    "indication": request(UFRAG, kind=MessageType.BINDING_INDICATION),
    "response": request(UFRAG, kind=MessageType.BINDING_RESPONSE),
    "error response": request(UFRAG, kind=MessageType.BINDING_ERROR),
}


@pytest.mark.parametrize("case", FROM_A_KNOWN_ADDRESS)
def test_a_known_flow_is_forwarded(case: str) -> None:
    assert decide(FROM_A_KNOWN_ADDRESS[case], AFlow(UFRAG)) is FORWARD


@pytest.mark.parametrize(
    "payload", [b"", b"\xff" * 20, b"\x04", b"\x40\x00\x00\x01a", b"\x00", MEDIA[:12], DTLS[:13]]
)
def test_what_no_transceiver_speaks_is_not_carried(payload: bytes) -> None:
    assert decide(payload, AFlow(UFRAG)) is DROPS[RelayReason.NOT_WEBRTC]


def test_a_token_that_expires_during_the_call_does_not_end_it() -> None:
    expired = mint_ufrag(PORT, lifetime_min=-5)
    assert decide(request(expired), AFlow(expired)) is FORWARD


def test_a_broken_request_from_a_known_address_is_dropped() -> None:
    assert decide(REQUEST + bytes(4), AFlow(UFRAG)) == DROPS[StunReason.BAD_LENGTH]
    assert decide(encode(1, bytes(12), []), AFlow(UFRAG)) == DROPS[TokenReason.NO_USERNAME]


def test_another_ufrag_of_the_same_transceiver_relabels_a_live_flow() -> None:
    renewed = mint_ufrag(PORT)
    assert decide(request(renewed), AFlow(UFRAG)) == Verdict(Action.REBIND_UFRAG, None, renewed, LEAD)


def test_an_expired_token_renames_a_flow_that_leads_there_and_opens_none() -> None:
    expired = mint_ufrag(PORT, lifetime_min=-5)
    assert decide(request(expired), AFlow(UFRAG)) == Verdict(Action.REBIND_UFRAG, None, expired, LEAD)
    assert decide(request(expired, b"x" * 32), AFlow(UFRAG)) == DROPS[RelayReason.BAD_INTEGRITY]
    assert decide(request(expired), AFlow(UFRAG, transceiver=OTHER_LEAD)) == DROPS[TokenReason.EXPIRED]
    assert decide(request(expired)) == DROPS[TokenReason.EXPIRED]


def test_another_call_contests_an_address() -> None:
    other = mint_ufrag(OTHER_PORT)
    verdict = decide(request(other), AFlow(UFRAG))
    assert verdict == Verdict(Action.CONTEST, None, other, OTHER_LEAD)


def test_at_a_contested_address_a_request_goes_where_its_ufrag_leads_and_all_else_to_both() -> None:
    owner, rival = AFlow(UFRAG), AFlow(mint_ufrag(OTHER_PORT), transceiver=OTHER_LEAD)
    assert decide(request(owner.ufrag), owner, rival) is FORWARD
    assert decide(request(rival.ufrag), owner, rival) is FORWARD_RIVAL
    for data in (MEDIA, DTLS, request(UFRAG, kind=MessageType.BINDING_RESPONSE)):
        assert decide(data, owner, rival) is FORWARD_BOTH
    renewed = mint_ufrag(OTHER_PORT)
    rebound = Verdict(Action.REBIND_UFRAG, None, renewed, OTHER_LEAD, is_of_rival=True)
    assert decide(request(renewed), owner, rival) == rebound


def test_a_contender_without_proof_is_refused() -> None:
    other = mint_ufrag(OTHER_PORT)
    assert decide(request(other, b"x" * 32), AFlow(UFRAG)) == DROPS[RelayReason.BAD_INTEGRITY]
    forged = request(flip_tag(other), b"x" * 32)
    assert decide(forged, AFlow(UFRAG)) == DROPS[TokenReason.BAD_TAG]


def test_a_draining_relay_takes_no_new_flow_and_carries_the_old() -> None:
    relay = make_relay()
    relay.is_draining = True
    flow, other = AFlow(UFRAG), request(mint_ufrag(OTHER_PORT))

    def on(data: bytes, flow: AFlow | None) -> Verdict:
        return relay.decide_untrusted(memoryview(data), IpFamily.V4, flow, None, now_min())

    assert on(REQUEST, None) == DROPS[RelayReason.DRAINING]
    assert on(other, flow) == DROPS[RelayReason.DRAINING]
    assert on(request(UFRAG, b"x" * 32), None) == DROPS[RelayReason.BAD_INTEGRITY]
    assert on(REQUEST, flow) is FORWARD
    assert on(MEDIA, flow) is FORWARD
    assert on(request(mint_ufrag(PORT)), flow).action is Action.REBIND_UFRAG


def test_keys_rotate_with_both_accepted() -> None:
    both = Keyring(MASTERS, 2)
    for key_id in (1, 2):
        ufrag = mint_ufrag(PORT, keyring=both, key_id=key_id)
        check = request(ufrag, both.ice_password(key_id, ufrag))
        verdict = make_relay(both).decide_untrusted(memoryview(check), IpFamily.V4, None, None, now_min())
        assert verdict.action is Action.CREATE


def captured_checks() -> list[Message]:
    """Binding requests that real clients sent to a server, one of each shape per capture."""
    found: dict[tuple[object, ...], Message] = {}
    for capture in sorted(CAPTURES.glob("*lite*.pcap")):
        for datagram in read_datagrams(capture):
            if is_binding_request_untrusted(datagram.payload):
                message = parse_untrusted(datagram.payload)
                found.setdefault((capture.stem, *message.offsets), message)
    return list(found.values())


@pytest.mark.parametrize("captured", captured_checks(), ids=lambda m: "-".join(f"{a:x}" for a in m.offsets))
def test_checks_of_real_clients_create_flows(captured: Message) -> None:
    """The client's own attributes in its own order, with a token where the server's ufrag was."""
    username = captured.get(Attribute.USERNAME)
    assert username is not None
    parts = split_username_untrusted(username)
    assert parts is not None
    replaced = {Attribute.USERNAME: UFRAG + b":" + parts[1]}
    attributes = [
        (kind, replaced.get(kind, captured.get(kind)) or b"")  # type: ignore[call-overload]
        for kind in captured.offsets
        if kind not in {Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT}
    ]
    check = encode(captured.type, captured.transaction_id, attributes, KEYRING.ice_password(1, UFRAG))
    assert decide(check) == Verdict(Action.CREATE, None, UFRAG, LEAD)
    assert decide(captured.data) == DROPS[TokenReason.BAD_LENGTH]  # with the ufrag of another server


def test_every_refusal_has_a_label_of_its_own() -> None:
    assert len({str(reason) for reason in REFUSALS}) == len(REFUSALS)
