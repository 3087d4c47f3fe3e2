"""Fuzz STUN: `parse_untrusted`, the values in a message, and the writer.

Invariant: any bytes either raise StunError, or give a message whose attributes lie inside them, of which
any password can be tried, and which, written again and parsed, has the same attributes. Address and
error values raise StunError or give something that is written as it was.
"""

from __future__ import annotations

import contextlib

from core import stun
from core.errors import StunError
from core.stun import Attribute

_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
_OURS = (Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT)


def test_one_input(data: bytes) -> None:
    """Parse the input as a datagram, and as the values of two attributes."""
    assert stun.is_binding_request_untrusted(data) in (True, False)
    with contextlib.suppress(StunError):
        _use(stun.parse_untrusted(data))
    with contextlib.suppress(StunError):
        endpoint = stun.parse_xor_address_untrusted(data, bytes(12))
        assert stun.encode_xor_address(endpoint, bytes(12))[1:] == data[1:]
    with contextlib.suppress(StunError):
        assert 300 <= stun.parse_error_code_untrusted(data) <= 699


def _use(message: stun.Message) -> None:
    message.is_authentic(_PASSWORD)
    assert len(message.transaction_id) == 12
    assert len(message.unknown_required) <= len(message.offsets) <= stun.MAX_ATTRIBUTES
    values = {kind: message.data[at : at + length] for kind, (at, length) in message.offsets.items()}
    for kind, (at, length) in message.offsets.items():
        assert 24 <= at <= at + length <= len(message.data)
        assert message.get(kind) == values[kind]
    attributes = [(kind, value) for kind, value in values.items() if kind not in _OURS]
    if len(attributes) <= stun.MAX_ATTRIBUTES - len(_OURS):
        again = stun.parse_untrusted(stun.encode(message.type, message.transaction_id, attributes, _PASSWORD))
        assert again.is_authentic(_PASSWORD)
        assert [(kind, again.get(kind)) for kind in again.offsets if kind not in _OURS] == attributes
