from __future__ import annotations

import pytest

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, MessageType
from transceiver.caller.answers import CheckAnswers

SERVER = Endpoint("192.0.2.1", 3478)
ID = bytes(range(12))


def check(
    username: str = "ours:theirs", password: str = "secret", kind: MessageType = MessageType.BINDING_REQUEST
) -> bytes:
    return stun.encode(kind, ID, [(Attribute.USERNAME, username.encode())], password.encode())


def test_a_check_is_answered_as_a_full_agent_does() -> None:
    """RFC 8445 §7.3: with the address it came from, under our own password."""
    response = CheckAnswers("ours", "secret").respond_untrusted(check(), SERVER)
    assert response is not None
    message = stun.parse_untrusted(response)
    assert (message.type, message.transaction_id) == (MessageType.BINDING_RESPONSE, ID)
    assert message.is_authentic(b"secret")
    assert message.get(Attribute.XOR_MAPPED_ADDRESS) == stun.encode_xor_address(SERVER, ID)


@pytest.mark.parametrize(
    "data",
    [
        check(username="other:theirs"),
        check(password="guessed"),
        check(kind=MessageType.BINDING_RESPONSE),
        check()[:-1],
        b"",
        b"\x80" * 40,
    ],
    ids=["another ufrag", "another password", "a response", "truncated", "nothing", "media"],
)
def test_what_is_no_authentic_check_gets_no_answer(data: bytes) -> None:
    assert CheckAnswers("ours", "secret").respond_untrusted(data, SERVER) is None


def test_after_a_restart_the_credentials_before_it_are_good_and_none_older() -> None:
    answers = CheckAnswers("first", "1")
    answers.restart("second", "2")
    answers.restart("third", "3")
    answered = [
        name
        for name, password in (("first", "1"), ("second", "2"), ("third", "3"))
        if answers.respond_untrusted(check(f"{name}:theirs", password), SERVER)
    ]
    assert answered == ["second", "third"]
