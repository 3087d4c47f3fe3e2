from __future__ import annotations

from core import stun
from core.addr import Endpoint
from core.stun import Attribute
from tests.transceiver.transport.ice_kit import (
    MS,
    NEXT,
    OURS,
    PACKET_BYTES,
    RESTARTED,
    START,
    A,
    B,
    S,
    answer,
    anybody,
    build,
    established,
    make_agent,
    media,
)
from transceiver.transport.agent import CONTEST_NS, RECENT_PACKETS, SILENT_CONTEST_NS
from transceiver.transport.reasons import IceReason, MuxReason


def nobody(endpoint: Endpoint) -> bool:
    """A port at which every address is another session's."""
    return False


def test_a_repeated_check_is_answered_and_nothing_else() -> None:
    agent = make_agent()
    message = build(nominate=True)
    first = agent.receive_check_untrusted(message, A, anybody, START)
    again = agent.receive_check_untrusted(message, A, anybody, START + MS)
    elsewhere = agent.receive_check_untrusted(message, B, nobody, START + S)
    assert first.refused is None
    assert again.refused == elsewhere.refused == IceReason.REPEATED
    assert again.replies == first.replies[:1], "it has just been asked"
    mapped = stun.parse_untrusted(elsewhere.replies[0]).get(Attribute.XOR_MAPPED_ADDRESS)
    assert mapped is not None
    assert stun.parse_xor_address_untrusted(mapped, message.transaction_id) == B
    assert agent.paths.addresses == [A]
    assert agent.paths.heard_ns == START


def test_a_reply_to_whoever_and_a_check_of_ours_are_less_than_three_times_what_came() -> None:
    for host in ("192.0.2.1", "2001:db8:1234:5678:9abc:def0:1234:5678"):
        agent = make_agent()
        message = build(priority=None)
        for _ in range(2):
            reaction = agent.receive_check_untrusted(message, Endpoint(host, 65535), anybody, START + S)
            assert sum(map(len, reaction.replies)) <= 3 * len(message.data)


def test_who_proves_nothing_gets_nothing_and_who_has_a_fault_is_told() -> None:
    agent = make_agent()
    refused = agent.receive_check_untrusted(build(password="x" * 32), A, anybody, START)
    assert (refused.replies, refused.refused) == ((), IceReason.BAD_INTEGRITY)
    fault = agent.receive_check_untrusted(build((0x7777, b"")), A, anybody, START)
    assert (len(fault.replies), fault.refused) == (1, IceReason.UNKNOWN_ATTRIBUTE)
    taken = agent.receive_check_untrusted(build(), A, nobody, START)
    assert (taken.replies, taken.refused) == ((), MuxReason.ADDRESS_IN_USE)
    assert agent.paths.addresses == []


def test_an_answer_from_another_s_address_proves_nothing() -> None:
    client = established()
    reaction = client.agent.receive_check_untrusted(build(), B, anybody, START)
    message = answer(reaction.replies[1])
    refused = client.agent.receive_answer_untrusted(message, B, nobody, START)
    assert refused == MuxReason.ADDRESS_IN_USE
    assert not client.agent.paths.is_proven(B)


def test_what_matters_more_than_a_check_of_ours_goes_first() -> None:
    agent = make_agent()
    agent.reserve_bytes = 200
    reaction = agent.receive_check_untrusted(build(), A, anybody, START)
    assert len(reaction.replies) == 1
    assert agent.pay(A, 200, is_media=False)


def test_media_from_another_s_address_is_heard_and_leaves_no_trace() -> None:
    client = established(A)
    assert client.agent.hear_media(media(1), B, nobody, START + S) is None
    assert client.agent.paths.addresses == [A]
    assert client.agent.paths.heard_ns == START + S


def test_a_packet_is_told_from_what_never_came_for_a_while() -> None:
    client = established(A)
    packets = [media(number) for number in range(RECENT_PACKETS + 1)]
    for packet in packets:
        assert not client.agent.is_copy_untrusted(packet)
        client.agent.hear_media(packet, A, anybody, START)
    assert not client.agent.is_copy_untrusted(packets[0])
    assert all(map(client.agent.is_copy_untrusted, packets[1:]))
    assert not client.agent.is_copy_untrusted(packets[1][:-1] + b"x")


def test_a_repeated_check_pays_for_its_answer_and_for_nothing_else() -> None:
    agent = make_agent()
    message = build(nominate=True)
    agent.receive_check_untrusted(message, A, anybody, START)
    while agent.pay(A, 1, is_media=False):
        pass
    for number in range(50):
        agent.receive_check_untrusted(message, A, anybody, START + number * S)
        assert not agent.pay(A, 1, is_media=False)


def test_a_copy_from_an_address_unknown_is_asked_if_it_pays_for_that() -> None:
    client = established(A)
    for size, is_asked in ((30, False), (PACKET_BYTES, True)):
        packet = media(size, size)
        client.agent.hear_media(packet, A, anybody, START + S)
        check = client.agent.hear_copy(packet, B, START + S)
        assert (check is not None) == is_asked
        assert check is None or len(check) <= 3 * size
    assert client.agent.paths.addresses == [A]


def test_a_path_that_does_not_answer_is_asked_again_and_ever_more_seldom() -> None:
    client = established(A)
    for number in range(200):
        client.speak(B, START + S + number * 20 * MS)
    assert client.asked.count(B) == 6, "after 0, 0.1, 0.3, 0.7, 1.5 and 3.1 s, if it is paid for"


# Contests


def test_an_address_is_a_session_s_while_its_client_answers_there() -> None:
    client = established(A)
    agent = client.agent
    for tenths in range(100):
        now_ns = START + 6 * S + tenths * 100 * MS
        is_held, check = agent.contest(A, now_ns)
        assert is_held
        if check is not None:
            client.take(check, A, now_ns + 50 * MS)
    assert len(client.asked) > 10


def test_an_address_where_nobody_answers_changes_hands_within_a_second() -> None:
    client = established(A)
    agent = client.agent
    checks = 0
    for tenths in range(CONTEST_NS // (100 * MS)):
        is_held, check = agent.contest(A, START + 6 * S + tenths * 100 * MS)
        assert is_held
        checks += check is not None
    assert checks == 4, "a few may be lost"
    assert agent.contest(A, START + 6 * S + CONTEST_NS) == (False, None)


def test_an_address_that_was_never_proven_is_anybody_s() -> None:
    client = established()
    assert client.agent.contest(A, START) == (False, None)
    assert client.agent.contest(B, START) == (False, None)


def test_media_does_not_hold_an_address_of_a_client_that_answers() -> None:
    client = established(A)
    client.agent.contest(A, START + S)
    client.hears.clear()
    client.speak(A, START + 2 * S)
    assert client.agent.contest(A, START + S + CONTEST_NS) == (False, None)


def test_a_client_that_answers_nothing_holds_its_address_by_what_is_authentic() -> None:
    client = established()
    agent = client.agent
    agent.paths.finish_handshake(A, START, is_sole=True)
    assert agent.contest(A, START + S)[0]
    client.speak(A, START + 2 * S)
    assert agent.contest(A, START + 3 * S)[0]
    assert agent.contest(A, START + 3 * S + SILENT_CONTEST_NS - 1)[0]
    assert agent.contest(A, START + 3 * S + SILENT_CONTEST_NS) == (False, None)


def test_a_restart_and_what_retires() -> None:
    client = established(A)
    assert client.agent.restart(RESTARTED, NEXT) == []
    client.check(A, START + S, local=RESTARTED, theirs=NEXT.ufrag)
    assert client.agent.retire(START + 12 * S) == [OURS.ufrag]
    assert client.agent.ufrags == [RESTARTED.ufrag]
