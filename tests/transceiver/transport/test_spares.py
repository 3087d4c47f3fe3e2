from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, Message, MessageType
from transceiver.transport.ice import CONSENT_NS, Credentials
from transceiver.transport.spares import CHECK_NS, SpareChecks

OURS = "AbCdEfGhIjKlMnOpQrStUvWxYz01"
THEIRS = Credentials("peer", "p" * 24)
A, B = (Endpoint("192.0.2.1", port) for port in (1001, 1002))
START = 5_000_000_000


def fresh() -> Callable[[], bytes]:
    """Transaction ids, each another."""
    numbers = itertools.count(1)
    return lambda: next(numbers).to_bytes(12, "big")


def asked(*spares: Endpoint) -> tuple[SpareChecks, dict[Endpoint, Message]]:
    """Those checked, and the checks."""
    checks = SpareChecks(THEIRS, 7)
    sent = dict(checks.due(OURS, spares, START, fresh()))
    return checks, {spare: stun.parse_untrusted(check) for spare, check in sent.items()}


def answer(
    check: Message, password: str = THEIRS.password, kind: MessageType = MessageType.BINDING_RESPONSE
) -> Message:
    return stun.parse_untrusted(stun.encode(kind, check.transaction_id, [], password.encode()))


def test_a_check_is_what_a_full_agent_answers() -> None:
    _, sent = asked(A)
    check = sent[A]
    assert check.type == MessageType.BINDING_REQUEST
    assert check.get(Attribute.USERNAME) == f"{THEIRS.ufrag}:{OURS}".encode()
    assert check.get(Attribute.ICE_CONTROLLED) == (7).to_bytes(8, "big")
    assert check.get(Attribute.PRIORITY) is not None
    assert check.get(Attribute.USE_CANDIDATE) is None
    assert check.is_authentic(THEIRS.password.encode())


def test_each_is_checked_in_its_own_time_and_with_another_transaction() -> None:
    checks, sent = asked(A)
    draw = fresh()
    draw()
    ((to, _),) = checks.due(OURS, [A, B], START + 1, draw)
    assert to == B, "A was asked just now"
    ((to, second),) = checks.due(OURS, [A, B], START + CHECK_NS, draw)
    assert to == A
    assert stun.parse_untrusted(second).transaction_id != sent[A].transaction_id
    assert 4 * CHECK_NS < CONSENT_NS, "a few may be lost"


def test_an_answer_counts_once_and_from_where_it_was_asked() -> None:
    checks, sent = asked(A, B)
    assert not checks.is_answer_untrusted(answer(sent[A]), B)
    assert checks.is_answer_untrusted(answer(sent[A]), A)
    assert not checks.is_answer_untrusted(answer(sent[A]), A), "a replay"
    assert checks.is_answer_untrusted(answer(sent[B]), B)


@pytest.mark.parametrize(
    "forged",
    [
        lambda check: answer(check, "q" * 24),
        lambda check: answer(check, kind=MessageType.BINDING_ERROR),
        lambda check: stun.parse_untrusted(
            stun.encode(MessageType.BINDING_RESPONSE, check.transaction_id, [])
        ),
        lambda check: answer(
            stun.parse_untrusted(stun.encode(MessageType.BINDING_REQUEST, os.urandom(12), []))
        ),
        lambda check: check,
    ],
    ids=["other password", "error", "no integrity", "other transaction", "the check itself"],
)
def test_what_is_no_answer(forged: Callable[[Message], Message]) -> None:
    checks, sent = asked(A)
    assert not checks.is_answer_untrusted(forged(sent[A]), A)
    assert checks.is_answer_untrusted(answer(sent[A]), A), "and it takes nothing away"


def test_the_answer_of_a_spare_that_is_none_any_more_is_nothing() -> None:
    checks, sent = asked(A)
    assert checks.due(OURS, [], START + 1, fresh()) == []
    assert not checks.is_answer_untrusted(answer(sent[A]), A)


def test_after_a_restart_the_new_credentials_count() -> None:
    checks, sent = asked(A)
    checks.restart(Credentials("anew", "n" * 24))
    assert not checks.is_answer_untrusted(answer(sent[A]), A)
    ((_, check),) = checks.due(OURS, [A], START + CHECK_NS, fresh())
    message = stun.parse_untrusted(check)
    assert message.get(Attribute.USERNAME) == f"anew:{OURS}".encode()
    assert checks.is_answer_untrusted(answer(message, "n" * 24), A)


@given(st.lists(st.tuples(st.sets(st.sampled_from([A, B])), st.integers(0, 2 * CHECK_NS)), max_size=40))
def test_none_is_checked_more_often_than_it_should(rounds: list[tuple[set[Endpoint], int]]) -> None:
    checks, draw, now_ns = SpareChecks(THEIRS, 7), fresh(), START
    before: set[Endpoint] = set()
    at_ns: dict[Endpoint, int] = {}
    for spares, pause_ns in rounds:
        now_ns += pause_ns
        sent = [to for to, _ in checks.due(OURS, sorted(spares), now_ns, draw)]
        for spare in spares:
            is_due = spare not in before or now_ns - at_ns[spare] >= CHECK_NS
            assert (spare in sent) == is_due
        at_ns.update(dict.fromkeys(sent, now_ns))
        before = spares
        assert set(sent) <= spares
