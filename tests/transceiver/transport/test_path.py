from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint
from transceiver.transport.path import ASK_NS, CONSENT_NS, FACTOR, INSIST_NS, PROOF_NS, REASSURE_NS, Path

NOW = 1_000_000_000_000
SIZES = st.integers(1, 1500)


def path() -> Path:
    return Path(Endpoint("203.0.113.1", 5000), 0, heard_ns=NOW, used_ns=NOW, shown_ns=NOW)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), SIZES), max_size=60))
def test_an_unproven_path_is_sent_three_bytes_for_one_and_of_media_one_for_a_fresh_one(
    steps: list[tuple[bool, bool, int]],
) -> None:
    """Whatever comes and goes, in any order. The booleans: comes or goes, and is fresh or media."""
    one, came, fresh, sent, media = path(), 0, 0, 0, 0
    for comes, flag, size in steps:
        if comes:
            one.earn(size, is_fresh=flag)
            came, fresh = came + size, fresh + size * flag
        elif one.pay(size, is_media=flag):
            sent, media = sent + size, media + size * flag
        assert sent <= FACTOR * came
        assert media <= fresh


def test_a_reserve_is_left_for_what_must_still_go() -> None:
    one = path()
    one.earn(100, is_fresh=True)
    assert not one.pay(201, is_media=False, reserve=100)
    assert one.pay(200, is_media=False, reserve=100)


def test_a_proof_opens_and_its_end_closes_with_nothing_left_over() -> None:
    one = path()
    one.earn(1000, is_fresh=True)
    one.prove(NOW)
    assert one.pay(10**9, is_media=True)
    assert one.holds(NOW + PROOF_NS - 1, answers=True)
    assert not one.holds(NOW + PROOF_NS, answers=True)
    one.disprove()
    assert not one.pay(1, is_media=False)


def test_a_client_that_answers_nothing_keeps_its_handshakes_proof_while_it_is_heard() -> None:
    one = path()
    one.prove(NOW)
    one.is_sole = True
    one.heard_ns = NOW + 10 * PROOF_NS
    assert one.holds(one.heard_ns + CONSENT_NS - 1, answers=False)
    assert not one.holds(one.heard_ns + CONSENT_NS, answers=False)
    assert not one.holds(one.heard_ns, answers=True), "who answers has to go on doing so"


def test_pauses_between_checks_grow_until_there_is_an_answer() -> None:
    one, now_ns, pauses = path(), NOW, list[int]()
    assert one.may_ask(now_ns)
    one.note_asked(now_ns)
    for _ in range(len(ASK_NS) + 1):
        pause_ns = next(each for each in ASK_NS if one.may_ask(now_ns + each))
        assert not one.may_ask(now_ns + pause_ns - 1)
        now_ns += pause_ns
        one.note_asked(now_ns)
        pauses.append(pause_ns)
    assert pauses == [*ASK_NS, ASK_NS[-1]]
    one.prove(now_ns)
    assert not one.may_ask(now_ns + ASK_NS[-1])
    assert not one.must_ask(now_ns + REASSURE_NS - 1)
    assert one.must_ask(now_ns + REASSURE_NS)
    one.note_asked(now_ns)
    assert one.must_ask(now_ns + INSIST_NS), "one that is not answered is repeated soon"
