"""Answers to clients whose call is gone: its process died, or the call has ended and they have not heard it.

The ICE password of a token follows from the token and a key that this process has, so a client's check can
be told from a stranger's without any session. The answer, 403 Forbidden, is what implementations take for
consent revoked (RFC 7675 §5.2 leaves how to them); without it they would wait for theirs to run out.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import stun, token
from core.errors import TokenError
from core.keyring import Keyring
from core.stun import Attribute, Message, MessageType
from core.token import UFRAG_CHARS

FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Place:
    """Where tokens of this process lead."""

    cluster: int
    host: int
    port: int


def turn_away_untrusted(message: Message, keyring: Keyring, place: Place, now_min: int) -> bytes | None:
    """The response to a check for no session that lives. None for all that does not prove, by a valid token
    to this very process and MESSAGE-INTEGRITY under its password, that it once had one.
    """
    username = message.get(Attribute.USERNAME)
    if message.type != MessageType.BINDING_REQUEST or username is None:
        return None
    ufrag = username[:UFRAG_CHARS]
    try:
        minted = token.open_untrusted(ufrag, keyring, now_min)
    except TokenError:
        return None
    if Place(minted.cluster, minted.host, minted.port) != place:
        return None
    password = keyring.ice_password(minted.key_id, ufrag)
    if not message.is_authentic(password):
        return None
    error = (Attribute.ERROR_CODE, stun.encode_error_code(FORBIDDEN, "Forbidden"))
    return stun.encode(MessageType.BINDING_ERROR, message.transaction_id, [error], password)
