"""Fuzz the ICE of `voxpop call`, which takes what comes back from a server that may be anybody's.

Invariant: no bytes raise, and none that lack MESSAGE-INTEGRITY under the server's password connect the
client, change the address that it takes for its own, or make it remember more.
"""

from __future__ import annotations

from core import stun
from core.addr import Endpoint
from core.errors import StunError
from transceiver.caller.ice import CheckOutcome, IceClient, IceState

SERVER = Endpoint("192.0.2.1", 3478)
PASSWORD = "password-of-the-fuzzed-session"
TRANSACTION = b"transaction!"


def _entropy(size: int) -> bytes:
    return TRANSACTION[:size]


def test_one_input(data: bytes) -> None:
    """Send one check, and receive the input as it is, then with the integrity that it lacks."""
    ice = IceClient("theirs:ours", PASSWORD, [SERVER], 0, entropy=_entropy)
    ice.poll(0)
    outcome = ice.receive_untrusted(data, SERVER, 1)
    if not _is_authentic(data):
        assert outcome is CheckOutcome.IGNORED
        assert (ice.state, ice.selected, ice.reflexive) == (IceState.CHECKING, None, None)
    for signed in _signed(data):
        ice.receive_untrusted(signed, SERVER, 2)
    assert (ice.state is IceState.CONNECTED) is (ice.selected is not None)
    ice.poll(10**12)


def _is_authentic(data: bytes) -> bool:
    try:
        return stun.parse_untrusted(data).is_authentic(PASSWORD.encode())
    except StunError:
        return False


def _signed(data: bytes) -> list[bytes]:
    """Authentic answers of either class, with the input for an address and for attributes unknown."""
    attributes = [(stun.Attribute.XOR_MAPPED_ADDRESS, data[:64]), (0x7F00, data[64:512])]
    classes = (stun.MessageType.BINDING_ERROR, stun.MessageType.BINDING_RESPONSE)
    return [stun.encode(kind, TRANSACTION, list(attributes), PASSWORD.encode()) for kind in classes]
