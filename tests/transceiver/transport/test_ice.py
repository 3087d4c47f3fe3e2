from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stun
from core.addr import Endpoint
from core.errors import StunError
from core.stun import Attribute, Message, MessageType
from tests.pcap import CAPTURES, read_datagrams, read_sdp_value
from transceiver.transport.ice import (
    CONSENT_NS,
    LIFELINE_NS,
    MAX_ADDRESSES,
    MAX_SPARES,
    RETIRE_NS,
    SILENCE_NS,
    SPARE_SILENCE_NS,
    Credentials,
    Generation,
    IceLite,
)
from transceiver.transport.reasons import IceReason

OURS = Credentials("AbCdEfGhIjKlMnOpQrStUvWxYz01", "pass" * 8)
RESTARTED = Credentials("zYxWvUtSrQpOnMlKjIhGfEdCbA98", "word" * 8)
THEIRS = "peer"
A, B, C = (Endpoint("192.0.2.1", port) for port in (1001, 1002, 1003))
S = 1_000_000_000
START = 5 * S


def build(
    *extra: tuple[int, bytes],
    local: Credentials = OURS,
    theirs: str = THEIRS,
    nominate: bool = False,
    priority: int | None = 100,
    role: int = Attribute.ICE_CONTROLLING,
    kind: MessageType = MessageType.BINDING_REQUEST,
    password: str | None = None,
) -> Message:
    attributes: list[tuple[int, bytes]] = [(Attribute.USERNAME, f"{local.ufrag}:{theirs}".encode())]
    attributes.append((role, stun.encode_u64(1)))
    if priority is not None:
        attributes.append((Attribute.PRIORITY, stun.encode_u32(priority)))
    if nominate:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    attributes.extend(extra)
    key = (local.password if password is None else password).encode()
    return stun.parse_untrusted(stun.encode(kind, os.urandom(12), attributes, key))


def check(
    ice: IceLite,
    source: Endpoint,
    now_ns: int,
    *,
    nominate: bool = False,
    priority: int = 100,
    local: Credentials = OURS,
    theirs: str = THEIRS,
) -> bool:
    """One good check; whether the session moved."""
    message = build(nominate=nominate, priority=priority, local=local, theirs=theirs)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.find_objection(message, generation) is None
    before = ice.remote
    result = ice.accept(message, generation, source, now_ns)
    assert result.has_moved == (ice.remote != before)
    return result.has_moved


def media(ice: IceLite, source: Endpoint, now_ns: int) -> bool:
    if not ice.hear_media(source, now_ns):
        return False
    ice.move(source, now_ns)
    return True


def established(*, nominated: bool = True, priority: int = 100) -> IceLite:
    """A session whose client is at A, and has just been heard there."""
    ice = IceLite(OURS, THEIRS)
    assert check(ice, A, START, nominate=nominated, priority=priority)
    return ice


# Who is answered, and how


def test_a_check_is_answered_with_what_its_sender_looks_like() -> None:
    ice = IceLite(OURS, THEIRS)
    message = build()
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    for source in (A, Endpoint("2001:db8::7", 65535)):
        response = stun.parse_untrusted(ice.accept(message, generation, source, START).response)
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
                [(Attribute.USERNAME, f"{OURS.ufrag}:{THEIRS}".encode())],
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
    ice = IceLite(OURS, THEIRS)
    assert ice.authenticate_untrusted(message) is reason
    assert (ice.remote, ice.heard_ns, ice.addresses) == (None, None, [])


def _objection(message: Message) -> tuple[Message, IceReason]:
    ice = IceLite(OURS, THEIRS)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    objection = ice.find_objection(message, generation)
    assert objection is not None
    assert (ice.remote, ice.addresses) == (None, [])
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
    ice = IceLite(OURS, THEIRS)
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
        Attribute.USERNAME: f"{OURS.ufrag}:{THEIRS}".encode(),
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
    ice = IceLite(OURS, THEIRS)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.accept(message, generation, A, START).has_moved


@pytest.mark.parametrize("priority", [b"", b"\0", b"\xff" * 4, b"\xff" * 9])
def test_a_priority_of_any_length_is_survived(priority: bytes) -> None:
    message = build((Attribute.PRIORITY, priority), priority=None)
    ice = IceLite(OURS, THEIRS)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.accept(message, generation, A, START).has_moved


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
    ice = IceLite(local, read_sdp_value(offer, "ice-ufrag"))
    requests = _captured_requests(name)
    assert requests
    for number, (source, message) in enumerate(requests):
        generation = ice.authenticate_untrusted(message)
        assert isinstance(generation, Generation)
        assert ice.find_objection(message, generation) is None
        ice.accept(message, generation, source, START + number)
    nominated = {s for s, m in requests if m.get(Attribute.USE_CANDIDATE) is not None}
    assert ice.remote in nominated


# Where the client is


def test_the_first_check_decides_nominated_or_not() -> None:
    for nominate in (True, False):
        ice = IceLite(OURS, THEIRS)
        assert check(ice, B, START, nominate=nominate)
        assert ice.remote == B


@dataclass(frozen=True)
class Move:
    """What comes from B to a session at A, how long after A was last heard, and what follows."""

    after_ns: int
    moves: bool
    nominate: bool = False
    is_media: bool = False
    is_known: bool = False
    was_nominated: bool = True
    priority: int = 100


MOVES = {
    "first nomination": Move(0, True, nominate=True, was_nominated=False),
    "first nomination of a spare": Move(0, True, nominate=True, was_nominated=False, is_known=True),
    "first nomination, low priority": Move(0, True, nominate=True, was_nominated=False, priority=1),
    "better nomination": Move(0, True, nominate=True, priority=101),
    "better nomination of a spare": Move(0, True, nominate=True, priority=101, is_known=True),
    "equal nomination at once": Move(0, False, nominate=True),
    "worse nomination at once": Move(0, False, nominate=True, priority=99),
    "equal nomination, not silent yet": Move(SILENCE_NS - 1, False, nominate=True),
    "equal nomination, silent": Move(SILENCE_NS, True, nominate=True),
    "worse nomination, silent": Move(SILENCE_NS, True, nominate=True, priority=1),
    "nominated spare, silent": Move(SILENCE_NS, True, nominate=True, is_known=True),
    "plain at once": Move(0, False),
    "plain at once, better": Move(0, False, priority=999),
    "plain at once, nothing nominated": Move(0, False, was_nominated=False),
    "plain, not silent yet": Move(SILENCE_NS - 1, False),
    "plain, silent": Move(SILENCE_NS, True),
    "plain, silent, nothing nominated": Move(SILENCE_NS, True, was_nominated=False),
    "plain spare, silent": Move(SILENCE_NS, False, is_known=True),
    "plain spare, not silent for long yet": Move(SPARE_SILENCE_NS - 1, False, is_known=True),
    "plain spare, silent for long": Move(SPARE_SILENCE_NS, True, is_known=True),
    "media at once": Move(0, False, is_media=True),
    "media, not silent yet": Move(SILENCE_NS - 1, False, is_media=True),
    "media, silent": Move(SILENCE_NS, True, is_media=True),
    "media from a spare at once": Move(0, False, is_media=True, is_known=True),
    "media from a spare, silent": Move(SILENCE_NS, True, is_media=True, is_known=True),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_moves(move: Move) -> None:
    ice = IceLite(OURS, THEIRS)
    check(ice, A, START - S)
    if move.is_known:
        check(ice, B, START - S, priority=move.priority)
    if move.was_nominated:
        check(ice, A, START, nominate=True)
    assert not media(ice, A, START)
    now_ns = START + move.after_ns
    if move.is_media:
        assert media(ice, B, now_ns) == move.moves
    else:
        assert check(ice, B, now_ns, nominate=move.nominate, priority=move.priority) == move.moves
    assert ice.remote == (B if move.moves else A)


def test_a_silent_caller_s_plain_checks_keep_its_address_against_plain_checks_only() -> None:
    """Checks of a spare pair, such as Chromium's, must not hold back a nomination of another."""
    ice = established()
    for seconds in range(1, 4):
        check(ice, A, START + seconds * S)
    at = START + 3 * S
    assert not check(ice, B, at + SILENCE_NS - 1)
    assert check(ice, B, at + SILENCE_NS - 1, nominate=True)


def test_a_muted_client_with_a_spare_pair_does_not_swing() -> None:
    ice = established()
    check(ice, B, START)
    for number in range(1, 20):
        source = (A, B)[number % 2]
        assert not check(ice, source, START + number * 3 * S)


def test_aggressive_nomination_ends_at_the_best_pair_whatever_the_order() -> None:
    """Firefox nominates every pair with its first check, and uses the best that works."""
    for order in ([(A, 1), (B, 2), (C, 3)], [(C, 3), (A, 1), (B, 2)], [(B, 2), (C, 3), (A, 1)]):
        ice = IceLite(OURS, THEIRS)
        for number, (source, priority) in enumerate(order):
            check(ice, source, START + number, nominate=True, priority=priority)
        assert ice.remote == C


def test_media_from_behind_a_new_nat_port_then_checks_from_there() -> None:
    ice = established(priority=500)
    assert media(ice, B, START + SILENCE_NS)
    # It ranks as the address before it: a spare that was nominated once does not take over.
    assert not check(ice, C, START + SILENCE_NS, nominate=True, priority=400)
    assert not check(ice, B, START + SILENCE_NS, priority=500)
    assert ice.remote == B


def test_going_back_is_a_move_like_any_other() -> None:
    ice = established()
    assert media(ice, B, START + S)
    assert not media(ice, A, START + S)
    assert media(ice, A, START + S + SILENCE_NS)
    assert ice.remote == A


def test_an_address_that_was_lost_is_sent_to_no_more() -> None:
    ice = established()
    check(ice, B, START)
    ice.forget(C)
    assert ice.remote == A
    ice.forget(A)
    assert ice.remote is None
    assert ice.addresses == [B]
    assert media(ice, B, START)
    ice.forget(B)
    assert media(ice, C, START)
    assert check(ice, A, START, nominate=True)


def test_liveness_is_by_address_and_for_the_whole() -> None:
    ice = established()
    assert ice.is_live_at(A, START + S - 1, S)
    assert not ice.is_live_at(A, START + S, S)
    assert not ice.is_live_at(B, START, S)
    media(ice, A, START + S)
    assert ice.is_live_at(A, START + S, S)
    assert ice.heard_ns == START + S
    ice.hear(START + 2 * S)
    assert ice.heard_ns == START + 2 * S
    assert not ice.is_live_at(A, START + 2 * S, S)


@pytest.mark.parametrize("speak", [check, media])
def test_an_address_without_consent_is_sent_to_no_more(
    speak: Callable[[IceLite, Endpoint, int], bool],
) -> None:
    """Whatever else shows that the client lives: it may have named the address of somebody else."""
    ice = established()
    lapse_ns = START + CONSENT_NS
    ice.hear(lapse_ns - 1)
    ice.expire_consent(lapse_ns - 1)
    assert ice.remote == A
    ice.expire_consent(lapse_ns)
    assert ice.remote is None
    assert ice.heard_ns == lapse_ns - 1
    assert speak(ice, A, lapse_ns)
    assert ice.remote == A


def test_addresses_are_bounded_and_the_one_in_use_stays() -> None:
    ice = established()
    sources = [Endpoint("198.51.100.1", 2000 + n) for n in range(MAX_ADDRESSES + 10)]
    forgotten = []
    for number, source in enumerate(sources):
        message = build()
        generation = ice.authenticate_untrusted(message)
        assert isinstance(generation, Generation)
        forgotten.append(ice.accept(message, generation, source, START + number).forgotten)
    assert ice.remote == A
    assert len(ice.addresses) == MAX_ADDRESSES
    assert [f for f in forgotten if f] == sources[:11]
    assert ice.move(B, START + S) == sources[11]
    assert len(ice.addresses) == MAX_ADDRESSES


# ICE restart


def _authenticates(ice: IceLite, local: Credentials, theirs: str) -> bool:
    return isinstance(ice.authenticate_untrusted(build(local=local, theirs=theirs)), Generation)


def test_after_a_restart_both_credentials_work_until_the_new_ones_have_been_used_for_a_while() -> None:
    ice = established()
    assert ice.restart(RESTARTED, "next") == []
    assert ice.retire(START + 3600 * S) == []
    assert _authenticates(ice, OURS, THEIRS)
    assert not _authenticates(ice, OURS, "next")
    assert not _authenticates(ice, RESTARTED, THEIRS)
    check(ice, A, START + S, local=RESTARTED, theirs="next")
    assert _authenticates(ice, OURS, THEIRS)
    check(ice, A, START + 5 * S, local=RESTARTED, theirs="next")  # the first one counts
    assert ice.retire(START + S + RETIRE_NS - 1) == []
    assert ice.retire(START + S + RETIRE_NS) == [OURS.ufrag]
    assert not _authenticates(ice, OURS, THEIRS)
    assert _authenticates(ice, RESTARTED, "next")
    assert ice.ufrags == [RESTARTED.ufrag]


def test_a_nomination_after_a_restart_moves_at_once_and_an_old_one_does_not_move_back() -> None:
    ice = established(priority=1000)
    ice.restart(RESTARTED, "next")
    assert not check(ice, B, START, local=RESTARTED, theirs="next", priority=1)
    assert check(ice, B, START, nominate=True, local=RESTARTED, theirs="next", priority=1)
    assert not check(ice, A, START, nominate=True, priority=1000)
    assert not check(ice, C, START, nominate=True, priority=2000)
    assert ice.remote == B


def test_restarts_do_not_pile_up() -> None:
    ice = established()
    names = [Credentials(f"{n:028}", "x" * 32) for n in range(4)]
    assert ice.restart(names[0], "a") == []
    assert ice.restart(names[1], "b") == [names[0].ufrag]  # was never taken up
    check(ice, A, START, local=names[1], theirs="b")
    assert ice.restart(names[2], "c") == [OURS.ufrag]  # was on its way out
    assert ice.ufrags == [names[1].ufrag, names[2].ufrag]
    assert ice.restart(names[3], "d") == [names[2].ufrag]


def test_passwords_are_in_no_repr() -> None:
    ice = established()
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


def say(ice: IceLite, source: Endpoint, now_ns: int, *extra: tuple[int, bytes], priority: int = 100) -> None:
    message = build(*extra, priority=priority)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.find_objection(message, generation) is None
    ice.accept(message, generation, source, now_ns)


def test_a_check_of_pion_s_is_answered_and_taken_as_a_nomination() -> None:
    ice = IceLite(Credentials("T" * 28, "P" * 32), "cLnt")
    message = stun.parse_untrusted(PION_CHECK)
    generation = ice.authenticate_untrusted(message)
    assert isinstance(generation, Generation)
    assert ice.find_objection(message, generation) is None
    check = ice.accept(message, generation, A, START)
    assert stun.parse_untrusted(check.response).type == MessageType.BINDING_RESPONSE
    assert ice.remote == A


@pytest.mark.parametrize("kind", [Attribute.NOMINATION, Attribute.GOOG_NOMINATION])
def test_a_later_nomination_moves_the_session_whatever_its_priority(kind: int) -> None:
    ice = IceLite(OURS, THEIRS)
    say(ice, A, START, nomination(1, kind), priority=100)
    say(ice, B, START, priority=100)
    assert ice.remote == A
    say(ice, B, START, nomination(2, kind), priority=50)  # no USE-CANDIDATE beside it
    assert ice.remote == B
    say(ice, A, START, nomination(1, kind), (Attribute.USE_CANDIDATE, b""))  # delayed on its way
    assert ice.remote == B
    say(ice, A, START, nomination(3, kind))
    assert ice.remote == A


def test_a_nomination_that_was_taken_back_says_nothing_of_the_address_in_use() -> None:
    ice = IceLite(OURS, THEIRS)
    say(ice, A, START, nomination(2))
    say(ice, B, START + SILENCE_NS, nomination(1))  # as good as a plain check from an address that is new
    assert ice.remote == B
    say(ice, A, START + SILENCE_NS + 1, nomination(1))
    assert ice.remote == B


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0", b"\0", b"\xff" * 9])
def test_a_nomination_of_any_length_is_read(value: bytes) -> None:
    ice = IceLite(OURS, THEIRS)
    say(ice, A, START, (Attribute.NOMINATION, value))
    assert ice.remote == A


@pytest.mark.parametrize("kind", [0x0003, 0x001D, 0x0026])
def test_what_a_check_means_the_same_without_is_no_reason_for_420(kind: int) -> None:
    ice = IceLite(OURS, THEIRS)
    say(ice, A, START, (kind, bytes(40)))
    assert ice.remote == A


# Handshakes


def test_a_handshake_is_answered_where_it_comes_from() -> None:
    ice = established(nominated=False)
    check(ice, B, START)
    assert ice.remote == A
    ice.hear_handshake(B, START)
    assert ice.remote == B
    ice.hear_handshake(A, START)
    assert ice.remote == A
    ice.hear_handshake(C, START)  # where no check has shown the client
    assert (ice.remote, ice.addresses) == (A, [A, B])


@pytest.mark.parametrize("nominated", [False, True])
def test_repeated_checks_on_a_path_that_the_handshake_has_left_are_no_news(nominated: bool) -> None:
    ice = established(nominated=nominated, priority=100)
    check(ice, B, START, priority=50)
    ice.hear_handshake(B, START)
    assert not check(ice, A, START + SILENCE_NS - 1, nominate=True, priority=100)
    assert media(ice, B, START + SILENCE_NS - 1) is False
    assert not check(ice, A, START + 2 * SILENCE_NS - 2, nominate=True, priority=100)
    assert check(ice, A, START + 2 * SILENCE_NS, nominate=True, priority=100)


def test_a_path_that_the_handshake_has_left_is_as_good_as_any_once_media_comes_from_it() -> None:
    ice = established(priority=100)
    check(ice, B, START, priority=50)
    ice.hear_handshake(B, START)
    assert not media(ice, A, START)
    assert check(ice, A, START, nominate=True, priority=100)


# Spares


def test_spares_are_where_the_client_was_heard_not_long_ago_beside_where_it_is() -> None:
    ice = established()
    assert ice.spares(START) == []
    check(ice, B, START + 1)
    check(ice, C, START + 2)
    assert ice.spares(START + 2) == [C, B]
    ice.hear_answer(B, START + 3)
    assert ice.spares(START + 3) == [B, C]
    assert ice.spares(START + 2 + CONSENT_NS) == [B], "C has not consented for 30 s"
    ice.hear_answer(Endpoint("192.0.2.9", 9), START + 4)
    assert ice.addresses == [A, B, C]


def test_there_are_never_many_spares() -> None:
    ice = established()
    for port in range(2000, 2000 + 2 * MAX_SPARES):
        check(ice, Endpoint("192.0.2.1", port), START)
    assert len(ice.spares(START)) == MAX_SPARES


def test_a_spare_of_before_a_restart_is_none() -> None:
    ice = established()
    check(ice, B, START)
    ice.restart(RESTARTED, "anew")
    check(ice, C, START + S, nominate=True, local=RESTARTED, theirs="anew")
    assert ice.remote == C
    assert ice.spares(START + S) == []


def test_lifelines_are_thrown_while_media_has_just_stopped() -> None:
    ice = established()
    check(ice, B, START)
    assert ice.lifelines(START + SILENCE_NS) == [], "it never sent media"
    media(ice, A, START + S)
    assert ice.lifelines(START + S + SILENCE_NS - 1) == []
    assert ice.lifelines(START + S + SILENCE_NS) == [B]
    check(ice, A, START + S + SILENCE_NS)
    assert ice.lifelines(START + S + SILENCE_NS) == [], "a check of its own: it has only stopped to speak"
    assert ice.lifelines(START + S + LIFELINE_NS - 1) == [B]
    assert ice.lifelines(START + S + LIFELINE_NS) == [], "somebody who does not speak is not sent all twice"


def test_who_goes_over_needs_no_lifeline() -> None:
    ice = established()
    check(ice, B, START)
    media(ice, A, START)
    assert ice.lifelines(START + S) == [B]
    assert media(ice, B, START + S)
    assert ice.remote == B
    assert ice.lifelines(START + S) == []
