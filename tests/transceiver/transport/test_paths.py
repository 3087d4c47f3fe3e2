from __future__ import annotations

from dataclasses import dataclass

import pytest

from core.addr import Endpoint
from tests.transceiver.transport.ice_kit import (
    NEXT,
    OURS,
    PACKET_BYTES,
    RESTARTED,
    START,
    A,
    B,
    C,
    Client,
    D,
    S,
    answer,
    anybody,
    build,
    established,
)
from transceiver.transport.moves import SILENCE_NS, SPARE_SILENCE_NS
from transceiver.transport.path import COMPANY_NS, CONSENT_NS, PROOF_NS, REASSURE_NS
from transceiver.transport.paths import CLAIM_NS, LIFELINE_NS, MAX_PATHS, MAX_SPARES, MAX_WAYS

EVERYWHERE = (A, B, C, D)
ELSEWHERE = tuple(Endpoint("203.0.113.9", 2000 + n) for n in range(200))

# Where the client is


@pytest.mark.parametrize("nominate", [True, False])
def test_the_first_check_decides_nominated_or_not(nominate: bool) -> None:
    client = Client()
    assert client.check(B, START, nominate=nominate)
    assert client.at == B


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
    "media at once": Move(0, True, is_media=True),
    "media from a spare at once": Move(0, True, is_media=True, is_known=True),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_moves(move: Move) -> None:
    client = Client(A, B)
    client.check(A, START - S)
    if move.is_known:
        client.check(B, START - S, priority=move.priority)
    if move.was_nominated:
        client.check(A, START, nominate=True)
    client.speak(A, START)
    now_ns = START + move.after_ns
    if move.is_media:
        assert client.speak(B, now_ns) == move.moves
    else:
        assert client.check(B, now_ns, nominate=move.nominate, priority=move.priority) == move.moves
    assert client.at == (B if move.moves else A)


@pytest.mark.parametrize("name", [name for name, move in MOVES.items() if move.moves])
def test_nothing_moves_to_where_the_client_has_not_shown_that_it_hears(name: str) -> None:
    client, move = Client(A), MOVES[name]
    client.check(A, START - S)
    if move.is_known:
        client.check(B, START - S, priority=move.priority)
    client.check(A, START, nominate=move.was_nominated)
    client.speak(A, START)
    now_ns = START + move.after_ns
    if move.is_media:
        client.speak(B, now_ns)
    else:
        client.check(B, now_ns, nominate=move.nominate, priority=move.priority)
    assert client.at == A
    assert B in client.asked


def test_a_claim_waits_for_its_proof_a_while() -> None:
    for pause_ns, at in ((CLAIM_NS - 1, B), (CLAIM_NS, A)):
        client = established(A)
        client.speak(B, START + S)
        client.agent.paths.expire(START + S + pause_ns)
        client.agent.paths.prove(B, 1 << 60, START + S + pause_ns)
        assert client.at == at


def test_a_silent_caller_s_plain_checks_keep_its_address_against_plain_checks_only() -> None:
    """Checks of a spare pair, such as Chromium's, must not hold back a nomination of another."""
    client = established(*EVERYWHERE)
    for seconds in range(1, 4):
        client.check(A, START + seconds * S)
    at = START + 3 * S
    assert not client.check(B, at + SILENCE_NS - 1)
    assert client.check(B, at + SILENCE_NS - 1, nominate=True)


def test_a_muted_client_with_a_spare_pair_does_not_swing() -> None:
    client = established(*EVERYWHERE)
    client.check(B, START)
    for number in range(1, 20):
        assert not client.check((A, B)[number % 2], START + number * 3 * S)


def test_aggressive_nomination_ends_at_the_best_pair_whatever_the_order() -> None:
    """Firefox nominates every pair with its first check, and uses the best that works."""
    for order in ([(A, 1), (B, 2), (C, 3)], [(C, 3), (A, 1), (B, 2)], [(B, 2), (C, 3), (A, 1)]):
        client = Client(*EVERYWHERE)
        for number, (source, priority) in enumerate(order):
            client.check(source, START + number, nominate=True, priority=priority)
        assert client.at == C


def test_media_from_behind_a_new_nat_port_then_checks_from_there() -> None:
    client = established(*EVERYWHERE, priority=500)
    assert client.speak(B, START + SILENCE_NS)
    # It ranks as the address before it: a spare that was nominated once does not take over.
    assert not client.check(C, START + SILENCE_NS, nominate=True, priority=400)
    assert not client.check(B, START + SILENCE_NS, priority=500)
    assert client.at == B


def test_after_a_restart_a_nomination_moves_at_once_and_an_old_one_does_not_move_back() -> None:
    client = established(*EVERYWHERE, priority=1000)
    client.agent.restart(RESTARTED, NEXT)
    client.remote = NEXT
    assert not client.check(B, START, local=RESTARTED, theirs="next", priority=1)
    assert client.check(B, START, nominate=True, local=RESTARTED, theirs="next", priority=1)
    assert not client.check(A, START, nominate=True, priority=1000)
    assert not client.check(C, START, nominate=True, priority=2000)
    assert client.at == B


def test_an_address_that_was_lost_is_sent_to_no_more() -> None:
    client = established(*EVERYWHERE)
    client.check(B, START)
    paths = client.agent.paths
    paths.forget(C)
    assert client.at == A
    paths.forget(A)
    assert (client.at, paths.ways, paths.addresses) == (None, (), [B])
    assert not paths.pay(A, 1, is_media=False)
    assert client.speak(B, START)
    paths.forget(B)
    assert client.speak(C, START)


def test_an_address_without_consent_is_sent_to_no_more() -> None:
    """Whatever else shows that the client lives: it may have named the address of somebody else."""
    client = established()
    paths = client.agent.paths
    lapse_ns = START + CONSENT_NS
    paths.hear(lapse_ns - 1)
    paths.expire(lapse_ns - 1)
    assert client.at == A
    paths.expire(lapse_ns)
    assert (client.at, paths.ways) == (None, ())
    assert paths.heard_ns == lapse_ns - 1
    assert client.check(A, lapse_ns)
    assert client.at == A


# Proof and credit


def test_until_it_has_answered_a_client_is_sent_three_bytes_for_one_and_then_all() -> None:
    client = Client()
    message = build(nominate=True)
    reaction = client.agent.receive_check_untrusted(message, A, anybody, START)
    spent = sum(map(len, reaction.replies))
    assert len(reaction.replies) == 2, "the answer, and a check of ours right behind"
    left = 3 * len(message.data) - spent
    agent = client.agent
    assert not agent.pay(A, left + 1, is_media=False)
    assert agent.pay(A, left, is_media=True), "there is no proven path that media goes to anyhow"
    assert not agent.pay(A, 1, is_media=False)
    assert not agent.pay(B, 1, is_media=False), "nobody was ever there"
    client.hears.add(A)
    client.take(reaction.replies[1], A, START)
    assert agent.pay(A, 1 << 30, is_media=True)


def test_media_to_an_unproven_path_is_no_more_than_came_from_it_while_there_is_a_proven_one() -> None:
    client = established(A)
    client.speak(A, START)
    client.speak(B, START + 20 * S // 1000)
    paths = client.agent.paths
    assert paths.ways == (A, B)
    assert paths.pay(B, PACKET_BYTES, is_media=True)
    assert not paths.pay(B, 1, is_media=True)
    assert paths.pay(B, 1, is_media=False)


def test_a_proof_lapses_and_then_bytes_are_counted_again() -> None:
    client = established(A)
    paths = client.agent.paths
    paths.expire(START + PROOF_NS - 1)
    assert paths.pay(A, 1 << 20, is_media=True)
    paths.expire(START + PROOF_NS)
    assert not paths.pay(A, 1, is_media=False)
    assert client.at == A
    client.hears.clear()
    client.check(A, START + PROOF_NS, nominate=True)
    assert not paths.is_proven(A), "a check of the client's renews nothing"


def test_a_client_in_use_is_asked_often_enough_to_stay_proven_though_answers_are_lost() -> None:
    client = established(A)
    client.hears.clear()
    asked = 0
    for half_seconds in range(1, 31):
        asked = len(client.asked)
        client.sweep(START + half_seconds * S // 2 - 1)
        if half_seconds * S // 2 <= REASSURE_NS:
            assert len(client.asked) == asked
    assert len(client.asked) >= 9
    assert client.agent.paths.is_proven(A)


def test_a_client_without_answers_is_asked_less_often_in_the_end() -> None:
    client = established()
    for seconds in range(1, 121):
        client.check(A, START + seconds * S, nominate=True)
        client.sweep(START + seconds * S)
    late = len(client.asked)
    for seconds in range(121, 181):
        client.sweep(START + seconds * S)
    assert len(client.asked) - late <= 12


def test_a_handshake_proves_its_path_where_all_of_it_came_from_there() -> None:
    client = established()
    paths = client.agent.paths
    paths.finish_handshake(A, START, is_sole=False)
    assert not paths.is_proven(A)
    paths.finish_handshake(A, START, is_sole=True)
    assert paths.is_proven(A)
    paths.finish_handshake(ELSEWHERE[0], START, is_sole=True)
    assert paths.addresses == [A]


def test_a_client_that_answers_nothing_keeps_the_proof_of_its_handshake_while_it_is_heard() -> None:
    client = established()
    paths = client.agent.paths
    paths.finish_handshake(A, START, is_sole=True)
    for seconds in range(0, 100, 20):
        client.speak(A, START + seconds * S)
        paths.expire(START + seconds * S)
        assert paths.is_proven(A)
    paths.expire(START + 80 * S + CONSENT_NS)
    assert not paths.is_proven(A)


def test_a_client_that_answers_nothing_moves_by_its_media_at_three_bytes_for_one() -> None:
    client = established()
    paths = client.agent.paths
    paths.finish_handshake(A, START, is_sole=True)
    client.speak(A, START)
    now_ns = START + S
    while now_ns < START + 4 * S:
        client.speak(B, now_ns)
        assert paths.pay(B, PACKET_BYTES, is_media=True) or now_ns == START + S
        paths.expire(now_ns)
        now_ns += 20 * S // 1000
    assert client.at == B
    assert paths.ways == (B,), "and A is left alone"
    assert paths.pay(B, PACKET_BYTES, is_media=True)
    assert not paths.pay(B, 1 << 16, is_media=True)
    paths.expire(now_ns + S)
    assert client.at == B, "a pause is no reason to go back"


# Company


def test_the_path_that_was_left_is_sent_to_as_well_until_it_is_plain_that_it_is_not_used() -> None:
    client = established(*EVERYWHERE)
    paths = client.agent.paths
    client.speak(A, START)
    assert client.speak(B, START + S)
    assert paths.ways == (B, A)
    paths.expire(START + S + COMPANY_NS - 1)
    assert paths.ways == (B, A)
    paths.expire(START + S + COMPANY_NS)
    assert paths.ways == (B,)


def test_a_path_whose_media_comes_second_keeps_company() -> None:
    client = established(*EVERYWHERE)
    paths = client.agent.paths
    client.speak(B, START)
    for seconds in range(1, 10):
        client.speak(B, START + seconds * S)
        paths.hear_copy(A, START + seconds * S)
        paths.expire(START + seconds * S)
        assert paths.ways == (B, A)


def test_without_proof_there_is_no_company() -> None:
    client = established(A, B)
    paths = client.agent.paths
    client.speak(B, START)
    client.hears = {B}
    for seconds in range(1, PROOF_NS // S + 1):
        client.sweep(START + seconds * S)
        client.speak(B, START + seconds * S)
        paths.hear_copy(A, START + seconds * S)
        paths.hear_repeat(A, b"x" * 12, START + seconds * S)
    paths.expire(START + PROOF_NS)
    assert paths.ways == (B,)


def test_a_check_that_a_client_repeats_itself_makes_no_company() -> None:
    client = established(*EVERYWHERE)
    message = build()
    client.send(message, B, START)
    client.send(message, B, START + S)
    assert client.agent.paths.ways == (A,)
    client.send(message, A, START + S)
    client.send(message, C, START + S)
    assert client.agent.paths.ways == (A,), "C is not proven when it comes"
    client.send(message, C, START + 2 * S)
    assert client.agent.paths.ways == (A, C), "one check from two addresses"


def test_a_claim_by_a_check_is_sent_nothing_but_the_question() -> None:
    client = established(A)
    client.check(B, START, nominate=True, priority=9999)
    assert client.asked[-1] == B
    assert client.agent.paths.ways == (A,)


def test_company_is_bounded_and_whoever_was_proven_first_stays() -> None:
    client = established(*EVERYWHERE)
    paths = client.agent.paths
    for number, source in enumerate((B, C, D), 1):
        client.speak(source, START + number)
    assert len(paths.ways) == MAX_WAYS
    assert paths.ways[0] == D
    assert A in paths.ways


# Spares


def test_spares_are_where_the_client_was_heard_not_long_ago_beside_where_it_is() -> None:
    client = established(A)
    paths = client.agent.paths
    assert paths.spares(START) == []
    client.check(B, START + 1)
    client.check(C, START + 2)
    assert paths.spares(START + 2) == [C, B]
    paths.prove(B, 1 << 60, START + 3)
    assert paths.spares(START + 3) == [B, C]
    assert paths.spares(START + 2 + CONSENT_NS) == [B], "C has not been heard for 30 s"


def test_there_are_never_many_spares() -> None:
    client = established()
    for source in ELSEWHERE[: 2 * MAX_SPARES]:
        client.check(source, START)
    assert len(client.agent.paths.spares(START)) == MAX_SPARES


def test_a_spare_of_before_a_restart_is_none() -> None:
    client = established(*EVERYWHERE)
    client.check(B, START)
    client.agent.restart(RESTARTED, NEXT)
    client.remote = NEXT
    client.check(C, START + S, nominate=True, local=RESTARTED, theirs="next")
    assert client.at == C
    client.agent.paths.expire(START + S + COMPANY_NS)
    assert client.agent.paths.spares(START + S) == []


def test_lifelines_are_thrown_while_media_has_just_stopped_to_who_has_answered() -> None:
    client = established(A, B)
    paths = client.agent.paths
    client.check(B, START)
    client.check(C, START)
    assert paths.lifelines(START + SILENCE_NS) == [], "it never sent media"
    client.speak(A, START + S)
    assert paths.lifelines(START + S + SILENCE_NS - 1) == []
    assert paths.lifelines(START + S + SILENCE_NS) == [B], "and C has answered nothing"
    client.check(A, START + S + SILENCE_NS)
    assert paths.lifelines(START + S + SILENCE_NS) == [], "a check of its own: it has only stopped to speak"
    assert paths.lifelines(START + S + LIFELINE_NS - 1) == [B]
    assert paths.lifelines(START + S + LIFELINE_NS) == [], "somebody who does not speak is not sent all twice"


def test_who_goes_over_needs_no_lifeline() -> None:
    client = established(A, B)
    client.check(B, START)
    client.speak(A, START)
    assert client.agent.paths.lifelines(START + S) == [B]
    assert client.speak(B, START + S)
    assert client.agent.paths.lifelines(START + S) == []


# The table


def test_addresses_that_never_answered_make_room_first_and_those_in_use_never() -> None:
    client = established(A, B)
    client.check(B, START)
    paths = client.agent.paths
    for number, source in enumerate(ELSEWHERE):
        client.check(source, START + number)
    assert len(paths.addresses) == MAX_PATHS
    assert paths.addresses[:2] == [A, B]
    assert paths.forgotten == list(ELSEWHERE[: len(ELSEWHERE) - MAX_PATHS + 2])


def test_who_answers_gets_the_place_of_who_does_not_and_never_the_other_way() -> None:
    client = established(A)
    for source in ELSEWHERE[: MAX_PATHS - 1]:
        client.hears.add(source)
        client.check(source, START)
    stranger, newcomer = ELSEWHERE[50], ELSEWHERE[51]
    client.check(stranger, START + 1)
    paths = client.agent.paths
    assert (stranger in client.asked, paths.knows(stranger)) == (True, False)
    client.hears.add(newcomer)
    client.check(newcomer, START + 1)
    assert paths.is_proven(newcomer)
    assert len(paths.addresses) == MAX_PATHS


def test_a_copy_of_an_answer_counts_for_nothing() -> None:
    client = established()
    reaction = client.agent.receive_check_untrusted(build(), B, anybody, START)
    message = answer(reaction.replies[1])
    assert client.agent.receive_answer_untrusted(message, C, anybody, START) is not None
    assert client.agent.receive_answer_untrusted(message, B, anybody, START) is None
    client.agent.paths.expire(START + PROOF_NS)
    assert client.agent.receive_answer_untrusted(message, B, anybody, START + S) is not None
    assert not client.agent.paths.is_proven(B)


def test_old_credentials_move_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = established(*EVERYWHERE, priority=1000)
    client.agent.restart(RESTARTED, NEXT)
    client.remote = NEXT
    assert client.check(B, START, nominate=True, local=RESTARTED, theirs="next")
    assert not client.check(A, START + 1, nominate=True, priority=2000, local=OURS)
