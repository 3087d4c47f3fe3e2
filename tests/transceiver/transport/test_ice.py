from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stun
from core.addr import Endpoint
from core.errors import StunError
from core.stun import Attribute, Message, MessageType
from tests.pcap import CAPTURES, read_datagrams, read_sdp_value
from tests.transceiver.transport.ice_kit import OURS, RESTARTED, START, THEIRS, A, B, S, build
from transceiver.transport.credentials import Credentials
from transceiver.transport.ice import RETIRE_NS, Generation, IceLite
from transceiver.transport.moves import SILENCE_NS
from transceiver.transport.paths import Paths
from transceiver.transport.reasons import IceReason

SALT = bytes(16)


def make(local: Credentials = OURS, theirs: str = THEIRS.ufrag) -> IceLite:
    return IceLite(local, theirs, Paths(), SALT)


def say(
    ice: IceLite,
    source: Endpoint,
    now_ns: int,
    *extra: tuple[int, bytes],
    nominate: bool = False,
    priority: int = 100,
    local: Credentials = OURS,
    theirs: str = THEIRS.ufrag,
) -> None:
    """One good check."""
    message = build(*extra, nominate=nominate, priority=priority, local=local, theirs=theirs)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.find_objection(message, generation) is None
    assert ice.is_fresh(message)
    ice.accept(message, generation, source, now_ns)


def remote(ice: IceLite) -> Endpoint | None:
    return ice._paths.remote


# Who is answered, and how


def test_a_check_is_answered_with_what_its_sender_looks_like() -> None:
    ice = make()
    message = build()
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    for source in (A, Endpoint("2001:db8::7", 65535)):
        response = stun.parse_untrusted(ice.respond(message, generation, source))
        assert response.type == MessageType.BINDING_RESPONSE
        assert response.transaction_id == message.transaction_id
        assert response.is_authentic(OURS.password.encode())
        assert Attribute.FINGERPRINT in response.offsets
        mapped = response.get(Attribute.XOR_MAPPED_ADDRESS)
        assert mapped is not None
        assert stun.parse_xor_address_untrusted(mapped, response.transaction_id) == source


REFUSED = {
    "indication": (build(kind=MessageType.BINDING_INDICATION), IceReason.NOT_A_REQUEST),
    "response": (build(kind=MessageType.BINDING_RESPONSE), IceReason.NOT_A_REQUEST),
    "error": (build(kind=MessageType.BINDING_ERROR), IceReason.NOT_A_REQUEST),
    "other password": (build(password="pasS" * 8), IceReason.BAD_INTEGRITY),
    "empty password": (build(password=""), IceReason.BAD_INTEGRITY),
    "other peer": (build(theirs="Peer"), IceReason.WRONG_USERNAME),
    "no peer": (build(theirs=""), IceReason.WRONG_USERNAME),
    "peer and more": (build(theirs="peer:x"), IceReason.WRONG_USERNAME),
    "other of us": (build(local=RESTARTED), IceReason.WRONG_USERNAME),
    "longer than us": (build(local=Credentials(OURS.ufrag + "x", OURS.password)), IceReason.WRONG_USERNAME),
    "no integrity": (
        stun.parse_untrusted(
            stun.encode(
                MessageType.BINDING_REQUEST,
                bytes(12),
                [(Attribute.USERNAME, f"{OURS.ufrag}:{THEIRS.ufrag}".encode())],
            )
        ),
        IceReason.BAD_INTEGRITY,
    ),
    "no username": (
        stun.parse_untrusted(stun.encode(MessageType.BINDING_REQUEST, bytes(12), [], OURS.password.encode())),
        IceReason.NO_USERNAME,
    ),
    # An unauthenticated sender learns nothing from errors that it provokes either.
    "unknown attribute, other password": (build((0x7777, b""), password="x" * 32), IceReason.BAD_INTEGRITY),
    "same role, other password": (
        build(role=Attribute.ICE_CONTROLLED, password="x" * 32),
        IceReason.BAD_INTEGRITY,
    ),
}


@pytest.mark.parametrize(("message", "reason"), REFUSED.values(), ids=REFUSED)
def test_who_proves_nothing_gets_no_answer(message: Message, reason: IceReason) -> None:
    ice = make()
    assert ice.authenticate_untrusted(message) is reason
    assert (remote(ice), ice._paths.heard_ns, ice._paths.addresses) == (None, None, [])


def _objection(message: Message) -> tuple[Message, IceReason]:
    ice = make()
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    objection = ice.find_objection(message, generation)
    assert objection is not None
    assert (remote(ice), ice._paths.addresses) == (None, [])
    response = stun.parse_untrusted(objection.response)
    assert response.type == MessageType.BINDING_ERROR
    assert response.transaction_id == message.transaction_id
    assert response.is_authentic(OURS.password.encode())
    return response, objection.reason


def _code(response: Message) -> int:
    value = response.get(Attribute.ERROR_CODE)
    assert value is not None
    return stun.parse_error_code_untrusted(value)


def test_a_client_that_wants_to_be_controlled_is_told_to_change() -> None:
    """RFC 8445 §7.3.1.1; the tie-breaker does not matter to a lite agent, which cannot control."""
    response, reason = _objection(build(role=Attribute.ICE_CONTROLLED))
    assert (_code(response), reason) == (487, IceReason.ROLE_CONFLICT)


def test_what_must_be_understood_and_is_not_is_listed() -> None:
    response, reason = _objection(build((0x7001, b"abc"), (0x8001, b""), (0x0031, b"")))
    assert (_code(response), reason) == (420, IceReason.UNKNOWN_ATTRIBUTE)
    listed = response.get(Attribute.UNKNOWN_ATTRIBUTES)
    assert listed is not None
    assert struct.unpack("!2H", listed) == (0x7001, 0x0031)


def test_optional_attributes_of_newer_clients_do_no_harm() -> None:
    ice = make()
    message = build((0xC057, bytes(4)), (0xC070, bytes(900)), (0xC071, b""))
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.find_objection(message, generation) is None


@given(
    st.permutations(
        [Attribute.USERNAME, Attribute.PRIORITY, Attribute.ICE_CONTROLLING, Attribute.USE_CANDIDATE, 0xC057]
    )
)
def test_attributes_may_come_in_any_order(order: list[int]) -> None:
    values = {
        Attribute.USERNAME: f"{OURS.ufrag}:{THEIRS.ufrag}".encode(),
        Attribute.PRIORITY: stun.encode_u32(7),
        Attribute.ICE_CONTROLLING: stun.encode_u64(1),
        Attribute.USE_CANDIDATE: b"",
        0xC057: b"abc",
    }
    data = stun.encode(
        MessageType.BINDING_REQUEST,
        bytes(12),
        [(k, values[Attribute(k) if k != 0xC057 else k]) for k in order],
        OURS.password.encode(),
    )
    message = stun.parse_untrusted(data)
    ice = make()
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    ice.accept(message, generation, A, START)
    assert remote(ice) == A


@pytest.mark.parametrize("priority", [b"", b"\0", b"\xff" * 4, b"\xff" * 9])
def test_a_priority_of_any_length_is_survived(priority: bytes) -> None:
    message = build((Attribute.PRIORITY, priority), priority=None)
    ice = make()
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    ice.accept(message, generation, A, START)
    assert remote(ice) == A


def _captured_requests(name: str) -> list[tuple[Endpoint, Message]]:
    found = []
    for datagram in read_datagrams(CAPTURES / f"{name}.pcap"):
        try:
            message = stun.parse_untrusted(datagram.payload)
        except StunError:
            continue
        if message.type == MessageType.BINDING_REQUEST:
            found.append((datagram.source, message))
    return found


@pytest.mark.parametrize("name", ["chromium-lite", "firefox-lite", "werift-lite", "chromium-nopq"])
def test_every_captured_check_of_a_client_of_a_lite_server_is_accepted(name: str) -> None:
    offer, answer = CAPTURES / f"{name}.offer.sdp", CAPTURES / f"{name}.answer.sdp"
    local = Credentials(read_sdp_value(answer, "ice-ufrag"), read_sdp_value(answer, "ice-pwd"))
    ice = make(local, read_sdp_value(offer, "ice-ufrag"))
    requests = _captured_requests(name)
    assert requests
    for number, (source, message) in enumerate(requests):
        generation = ice.authenticate_untrusted(message)
        assert isinstance(generation, Generation)
        assert ice.find_objection(message, generation) is None
        ice.accept(message, generation, source, START + number)
    nominated = {s for s, m in requests if m.get(Attribute.USE_CANDIDATE) is not None}
    assert remote(ice) in nominated


# ICE restart


def _authenticates(ice: IceLite, local: Credentials, theirs: str) -> bool:
    return isinstance(ice.authenticate_untrusted(build(local=local, theirs=theirs)), Generation)


def test_after_a_restart_both_credentials_work_until_the_new_ones_have_been_used_for_a_while() -> None:
    ice = make()
    say(ice, A, START, nominate=True)
    assert ice.restart(RESTARTED, "next") == []
    assert ice.retire(START + 3600 * S) == []
    assert _authenticates(ice, OURS, THEIRS.ufrag)
    assert not _authenticates(ice, OURS, "next")
    assert not _authenticates(ice, RESTARTED, THEIRS.ufrag)
    say(ice, A, START + S, local=RESTARTED, theirs="next")
    assert _authenticates(ice, OURS, THEIRS.ufrag)
    say(ice, A, START + 5 * S, local=RESTARTED, theirs="next")  # the first one counts
    assert ice.retire(START + S + RETIRE_NS - 1) == []
    assert ice.retire(START + S + RETIRE_NS) == [OURS.ufrag]
    assert not _authenticates(ice, OURS, THEIRS.ufrag)
    assert _authenticates(ice, RESTARTED, "next")
    assert ice.ufrags == [RESTARTED.ufrag]


def test_restarts_do_not_pile_up() -> None:
    ice = make()
    say(ice, A, START, nominate=True)
    names = [Credentials(f"{n:028}", "x" * 32) for n in range(4)]
    assert ice.restart(names[0], "a") == []
    assert ice.restart(names[1], "b") == [names[0].ufrag]  # was never taken up
    say(ice, A, START, local=names[1], theirs="b")
    assert ice.restart(names[2], "c") == [OURS.ufrag]  # was on its way out
    assert ice.ufrags == [names[1].ufrag, names[2].ufrag]
    assert ice.restart(names[3], "d") == [names[2].ufrag]


def test_a_transaction_is_fresh_once() -> None:
    ice = make()
    first, second = build(), build()
    assert ice.is_fresh(first)
    assert ice.is_fresh(second)
    assert not ice.is_fresh(first)
    assert not ice.is_fresh(second)


def test_passwords_are_in_no_repr() -> None:
    ice = make()
    say(ice, A, START, nominate=True)
    generation = ice.authenticate_untrusted(build())
    assert OURS.password not in repr(generation)


# Renomination (draft-thatcher-ice-renomination)

PION_CHECK = bytes.fromhex(
    "000100682112a4420a1b2c3d4e5f60718293a4b500060021"
    + (b"T" * 28 + b":cLnt").hex()
    + "000000002400046e7f1eff802a0008112233445566778800250000003000040000000100080014"
    "b9cad06b6a0012e54f501be5584da4e1d9495aeb8028000416076941"
)
"""A check with USE-CANDIDATE and NOMINATION 1, in the order that Pion writes attributes."""


def nomination(count: int, kind: int = Attribute.NOMINATION) -> tuple[int, bytes]:
    return kind, stun.encode_u32(count)


def test_a_check_of_pion_s_is_answered_and_taken_as_a_nomination() -> None:
    ice = make(Credentials("T" * 28, "P" * 32), "cLnt")
    message = stun.parse_untrusted(PION_CHECK)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.find_objection(message, generation) is None
    ice.accept(message, generation, A, START)
    response = ice.respond(message, generation, A)
    assert stun.parse_untrusted(response).type == MessageType.BINDING_RESPONSE
    assert remote(ice) == A


@pytest.mark.parametrize("kind", [Attribute.NOMINATION, Attribute.GOOG_NOMINATION])
def test_a_later_nomination_moves_the_session_whatever_its_priority(kind: int) -> None:
    ice = make()
    say(ice, A, START, nomination(1, kind), priority=100)
    say(ice, B, START, priority=100)
    assert remote(ice) == A
    say(ice, B, START, nomination(2, kind), priority=50)  # no USE-CANDIDATE beside it
    assert remote(ice) == B
    say(ice, A, START, nomination(1, kind), (Attribute.USE_CANDIDATE, b""))  # delayed on its way
    assert remote(ice) == B
    say(ice, A, START, nomination(3, kind))
    assert remote(ice) == A


def test_a_nomination_that_was_taken_back_says_nothing_of_the_address_in_use() -> None:
    ice = make()
    say(ice, A, START, nomination(2))
    say(ice, B, START + SILENCE_NS, nomination(1))  # as good as a plain check from an address that is new
    assert remote(ice) == B
    say(ice, A, START + SILENCE_NS + 1, nomination(1))
    assert remote(ice) == B


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0", b"\0", b"\xff" * 9])
def test_a_nomination_of_any_length_is_read(value: bytes) -> None:
    ice = make()
    say(ice, A, START, (Attribute.NOMINATION, value))
    assert remote(ice) == A


@pytest.mark.parametrize("kind", [0x0003, 0x001D, 0x0026])
def test_what_a_check_means_the_same_without_is_no_reason_for_420(kind: int) -> None:
    ice = make()
    say(ice, A, START, (kind, bytes(40)))
    assert remote(ice) == A
