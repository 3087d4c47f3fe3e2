"""Our own checks: whether the client hears us at an address. Sans-IO.

A lite agent owes no checks (RFC 8445 §6.2), but every full one answers them (§7.3), on any pair and at any
time. The answer proves that the client is there and takes what we send (RFC 9000 §8.1, §8.2 do the same), it
is consent (RFC 7675), and it keeps the relay's flow and the client's NAT open.

Nothing is kept of what was asked. A transaction id is made of the session, the address and the time, by a key
of the session's own, so nobody can make the one of an address without hearing there:

    | session, 3 bytes | slot mod 256 | BLAKE2b(key, address, slot), 8 bytes |

The first part is how the port finds the session of an answer that comes from an address unknown to it. A slot
is 100 ms, the least pause between two checks of an address.
"""

from __future__ import annotations

import hashlib
import hmac

from core import stun
from core.addr import Endpoint
from core.errors import StunError
from core.stun import Attribute, Message, MessageType
from transceiver.transport.credentials import Credentials

SLOT_NS = 100_000_000
SLOTS = 50
"""For how many slots an answer may be on its way: 5 s."""
LOCATOR_BYTES = 3
PRIORITY = 1
"""Of the pairs that these checks would make for a client that does not know the address yet: last."""

_MAC_BYTES = stun.TRANSACTION_BYTES - LOCATOR_BYTES - 1


class Challenges:
    """Of one session. `remote` is what the client goes by; `locator`, 3 bytes, is no other session's here;
    `key`, 32 bytes, is secret.
    """

    def __init__(self, remote: Credentials, locator: bytes, key: bytes) -> None:
        self._remotes = [remote]
        self.locator = locator
        self._key = key
        self._tie_breaker = stun.encode_u64(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()))

    def restart(self, remote: Credentials) -> None:
        """The client has new credentials. It may answer with those before them for a while."""
        self._remotes = [remote, self._remotes[0]]

    def build(self, local_ufrag: str, to: Endpoint, now_ns: int) -> bytes:
        """The check for an address, as a controlled agent sends it."""
        remote = self._remotes[0]
        attributes = (
            (Attribute.USERNAME, f"{remote.ufrag}:{local_ufrag}".encode()),
            (Attribute.ICE_CONTROLLED, self._tie_breaker),
            (Attribute.PRIORITY, stun.encode_u32(PRIORITY)),
        )
        transaction_id = self._transaction_id(to, now_ns // SLOT_NS)
        return stun.encode(MessageType.BINDING_REQUEST, transaction_id, attributes, remote.password.encode())

    def find_slot_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> int | None:
        """When the check was sent that this answers, a number that grows; None for whatever is no answer."""
        if message.type != MessageType.BINDING_RESPONSE or not _says_address_untrusted(message):
            return None
        latest = now_ns // SLOT_NS
        slot = latest - (latest - message.transaction_id[LOCATOR_BYTES]) % 256
        if latest - slot > SLOTS:
            return None
        if not hmac.compare_digest(message.transaction_id, self._transaction_id(source, slot)):
            return None
        is_theirs = any(message.is_authentic(each.password.encode()) for each in self._remotes)
        return slot if is_theirs else None

    def _transaction_id(self, to: Endpoint, slot: int) -> bytes:
        text = f"{to.host} {to.port} {slot}".encode()
        mac = hashlib.blake2b(text, digest_size=_MAC_BYTES, key=self._key).digest()
        return self.locator + bytes((slot & 0xFF,)) + mac


def _says_address_untrusted(message: Message) -> bool:
    """Whether it says where our check came from, as every answer does (RFC 8445 §7.3.1.3)."""
    value = message.get(Attribute.XOR_MAPPED_ADDRESS)
    try:
        return value is not None and bool(stun.parse_xor_address_untrusted(value, message.transaction_id))
    except StunError:
        return False
