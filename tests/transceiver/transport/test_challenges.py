from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, Message, MessageType
from tests.transceiver.transport.ice_kit import NEXT, OURS, START, THEIRS, A, B, answer
from transceiver.transport.challenges import LOCATOR_BYTES, SLOT_NS, SLOTS, Challenges
from transceiver.transport.credentials import Credentials

KEY = bytes(range(32))


def make(locator: bytes = b"loc", key: bytes = KEY) -> Challenges:
    return Challenges(THEIRS, locator, key)


def test_a_check_is_what_a_full_agent_answers() -> None:
    check = stun.parse_untrusted(make().build(OURS.ufrag, A, START))
    assert check.type == MessageType.BINDING_REQUEST
    assert check.get(Attribute.USERNAME) == f"{THEIRS.ufrag}:{OURS.ufrag}".encode()
    assert check.get(Attribute.ICE_CONTROLLED) is not None
    assert check.get(Attribute.PRIORITY) is not None
    assert check.get(Attribute.USE_CANDIDATE) is None
    assert check.is_authentic(THEIRS.password.encode())
    assert check.transaction_id[:LOCATOR_BYTES] == b"loc"


def test_transactions_differ_by_session_address_and_time() -> None:
    ids = {
        stun.parse_untrusted(challenges.build(OURS.ufrag, to, at_ns)).transaction_id[LOCATOR_BYTES + 1 :]
        for challenges in (make(), make(key=bytes(32)))
        for to in (A, B, Endpoint("2001:db8::1", A.port))
        for at_ns in (START, START + SLOT_NS, START + 256 * SLOT_NS)
    }
    assert len(ids) == 18


def test_an_answer_tells_when_it_was_asked_and_counts_for_a_while() -> None:
    challenges = make()
    message = answer(challenges.build(OURS.ufrag, A, START))
    slot = challenges.find_slot_untrusted(message, A, START)
    assert slot == START // SLOT_NS
    assert challenges.find_slot_untrusted(message, A, START + SLOTS * SLOT_NS) == slot
    assert challenges.find_slot_untrusted(message, A, START + (SLOTS + 1) * SLOT_NS) is None
    assert challenges.find_slot_untrusted(message, A, START + 256 * SLOT_NS) is None
    assert challenges.find_slot_untrusted(message, A, START - SLOT_NS) is None, "from the future"


@pytest.mark.parametrize(
    "forged",
    [
        lambda check: answer(check, Credentials("peer", "q" * 24)),
        lambda check: answer(check, kind=MessageType.BINDING_ERROR),
        lambda check: answer(check, mapped=None),
        lambda check: answer(make(key=bytes(32)).build(OURS.ufrag, A, START)),
        lambda check: answer(make().build(OURS.ufrag, B, START)),
        stun.parse_untrusted,
    ],
    ids=["other password", "error", "no address", "other session", "other address", "the check itself"],
)
def test_what_is_no_answer(forged: Callable[[bytes], Message]) -> None:
    challenges = make()
    check = challenges.build(OURS.ufrag, A, START)
    assert challenges.find_slot_untrusted(forged(check), A, START) is None
    assert challenges.find_slot_untrusted(answer(check), A, START) is not None


def test_after_a_restart_either_password_answers_and_the_new_name_is_asked() -> None:
    challenges = make()
    challenges.restart(NEXT)
    check = challenges.build(OURS.ufrag, A, START)
    asked = stun.parse_untrusted(check)
    assert asked.get(Attribute.USERNAME) == f"{NEXT.ufrag}:{OURS.ufrag}".encode()
    for remote in (THEIRS, NEXT):
        assert challenges.find_slot_untrusted(answer(check, remote), A, START) is not None
    challenges.restart(Credentials("third", "t" * 24))
    assert challenges.find_slot_untrusted(answer(check, THEIRS), A, START) is None


@given(st.binary(min_size=12, max_size=12), st.integers(0, 1 << 62))
def test_made_up_transactions_answer_nothing(transaction_id: bytes, now_ns: int) -> None:
    value = stun.encode_xor_address(A, transaction_id)
    data = stun.encode(
        MessageType.BINDING_RESPONSE,
        transaction_id,
        [(Attribute.XOR_MAPPED_ADDRESS, value)],
        THEIRS.password.encode(),
    )
    assert make().find_slot_untrusted(stun.parse_untrusted(data), A, now_ns) is None
