"""Checks for calls that are gone: answered where they prove to be of one, and nobody else's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stun, token
from core.keyring import Keyring
from core.stun import Attribute, Message, MessageType
from core.token import Token
from tests.transceiver.net import CLUSTER, KEYRING, calling, running, until
from transceiver.session.gone import Place, turn_away_untrusted

HERE = Place(CLUSTER.id, 1, 20000)
OTHER_KEYS = Keyring({3: bytes(32)}, mint_with=3)
NOW_MIN = 29_000_000
Change = Callable[[], bytes]


def check(
    place: Place = HERE,
    *,
    keyring: Keyring = KEYRING,
    password: bytes | None = None,
    lives_min: int = 60,
    kind: MessageType = MessageType.BINDING_REQUEST,
) -> bytes:
    expiry = (NOW_MIN + lives_min) & 0xFFFF
    ufrag = token.mint(Token(3, place.cluster, place.host, place.port, expiry, 9), keyring)
    username = (Attribute.USERNAME, f"{ufrag}:theirs".encode())
    secret = keyring.ice_password(3, ufrag.encode()) if password is None else password
    return stun.encode(kind, os.urandom(12), [username], secret)


def without_integrity() -> bytes:
    whole = check()
    end = stun.parse_untrusted(whole).offsets[Attribute.MESSAGE_INTEGRITY][0] - 4
    return whole[:2] + (end - 20).to_bytes(2, "big") + whole[4:end]


def turn_away(datagram: bytes) -> bytes | None:
    return turn_away_untrusted(stun.parse_untrusted(datagram), KEYRING, HERE, NOW_MIN)


def test_a_client_that_proves_to_have_had_a_call_is_told_that_it_is_gone() -> None:
    request = check()
    response = turn_away(request)
    assert response is not None
    answer = stun.parse_untrusted(response)
    assert answer.type == MessageType.BINDING_ERROR
    assert answer.transaction_id == stun.parse_untrusted(request).transaction_id
    assert stun.parse_error_code_untrusted(answer.get(Attribute.ERROR_CODE) or b"") == 403
    ufrag = (stun.parse_untrusted(request).get(Attribute.USERNAME) or b"")[:28]
    assert answer.is_authentic(KEYRING.ice_password(3, ufrag)), "or its client would not believe it"
    assert len(response) <= len(request), "nobody's traffic grows by us"


@pytest.mark.parametrize(
    "make",
    {
        "without integrity": without_integrity,
        "another password": lambda: check(password=b"guessed" * 5),
        "another's keys": lambda: check(keyring=OTHER_KEYS),
        "another host": lambda: check(Place(CLUSTER.id, 2, 20000)),
        "another process": lambda: check(Place(CLUSTER.id, 1, 20001)),
        "another cluster": lambda: check(Place(CLUSTER.id + 1, 1, 20000)),
        "expired": lambda: check(lives_min=-1),
        "an indication": lambda: check(kind=MessageType.BINDING_INDICATION),
        "a response": lambda: check(kind=MessageType.BINDING_RESPONSE),
        "no username": lambda: stun.encode(MessageType.BINDING_REQUEST, bytes(12), [], b"x"),
        "no token": lambda: stun.encode(
            MessageType.BINDING_REQUEST, bytes(12), [(Attribute.USERNAME, b"x" * 28 + b":y")], b"x"
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_all_others_get_no_answer(make: tuple[str, Change]) -> None:
    assert turn_away(make[1]()) is None


@given(st.binary(max_size=40))
def test_no_username_raises(username: bytes) -> None:
    message = stun.encode(MessageType.BINDING_REQUEST, bytes(12), [(Attribute.USERNAME, username)], b"x")
    assert turn_away(message) is None


def test_a_client_of_a_call_that_has_ended_hears_of_it_with_its_first_check_after_the_goodbye() -> None:
    async def scenario() -> Message:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            server.manager.close(session, "drained")
            client.current.sendto(client.request(), client.server)
            await until(lambda: server.counts.refused["call_ending"] == 1)
            await until(lambda: not server.mux.routes)  # and nothing is kept of it
            assert not server.counts.refused["call_gone"], "or it would never know why"
            answer = await client.check()
            await until(lambda: server.counts.refused["call_gone"] == 1)
            return answer

    answer = asyncio.run(scenario())
    assert answer.type == MessageType.BINDING_ERROR
    assert stun.parse_error_code_untrusted(answer.get(Attribute.ERROR_CODE) or b"") == 403
