"""Answers to the server's own checks, as a full agent gives them (RFC 8445 §7.3). Sans-IO.

A lite server owes no checks, but ours asks by them whether it is heard where it sends to: docs/paths.md.
"""

from __future__ import annotations

from core import stun
from core.addr import Endpoint
from core.errors import StunError
from core.stun import Attribute, MessageType


class CheckAnswers:
    """Of one call, whose own credentials these are."""

    def __init__(self, ufrag: str, password: str) -> None:
        self._passwords = {ufrag: password}

    def restart(self, ufrag: str, password: str) -> None:
        """New credentials of ours. The server may go on for a while with those before them."""
        latest = list(self._passwords.items())[-1:]
        self._passwords = dict([*latest, (ufrag, password)])

    def respond_untrusted(self, data: bytes, source: Endpoint) -> bytes | None:
        """The answer to a check from `source`; None for whatever is no authentic one. Never raises."""
        try:
            message = stun.parse_untrusted(data)
        except StunError:
            return None
        username = message.get(Attribute.USERNAME)
        if message.type != MessageType.BINDING_REQUEST or username is None:
            return None
        password = self._passwords.get(username.partition(b":")[0].decode(errors="replace"))
        if password is None or message.unknown_required or not message.is_authentic(password.encode()):
            return None
        mapped = stun.encode_xor_address(source, message.transaction_id)
        return stun.encode(
            MessageType.BINDING_RESPONSE,
            message.transaction_id,
            [(Attribute.XOR_MAPPED_ADDRESS, mapped)],
            password.encode(),
        )
