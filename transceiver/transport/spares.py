"""Our own checks on the paths that a client has opened beside the one in use. Sans-IO.

An answer names two PoPs, so a client has a path through each. Browsers let go of the one that they do not
use: Chromium checks it no more, drops it after 30 s without a packet, and the relay there ends its flow. A
lite agent owes no checks (RFC 8445 §6.2), but every full one answers them (§7.3). A check of ours every few
seconds keeps the path, the flow and the NAT in front of the client open, and the answer is the client's
consent to be sent to there (RFC 7675).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, Message, MessageType
from transceiver.transport.ice import Credentials

CHECK_NS = 5_000_000_000
"""A few are lost before the relay's flow ends and consent is over, 30 s after the last answer."""
PRIORITY = 1
"""Of the pairs that these checks would make for a client that does not know the address yet: last."""


@dataclass(frozen=True, slots=True)
class _Asked:
    transaction_id: bytes
    at_ns: int


class SpareChecks:
    """Of one session. `remote` is what the client goes by; `tie_breaker` has 64 bits (RFC 8445 §7.1.3)."""

    def __init__(self, remote: Credentials, tie_breaker: int) -> None:
        self._remote = remote
        self._tie_breaker = tie_breaker
        self._asked: dict[Endpoint, _Asked] = {}

    def restart(self, remote: Credentials) -> None:
        """The client has new credentials."""
        self._remote = remote

    def due(
        self, local_ufrag: str, spares: Sequence[Endpoint], now_ns: int, transaction_id: Callable[[], bytes]
    ) -> list[tuple[Endpoint, bytes]]:
        """The checks to be sent now, each with where to. For calling now and then; `transaction_id` makes one
        that nobody can foresee.
        """
        self._asked = {spare: self._asked[spare] for spare in spares if spare in self._asked}
        found = []
        for spare in spares:
            asked = self._asked.get(spare)
            if asked is None or now_ns - asked.at_ns >= CHECK_NS:
                asked = self._asked[spare] = _Asked(transaction_id(), now_ns)
                found.append((spare, self._check(local_ufrag, asked.transaction_id)))
        return found

    def _check(self, local_ufrag: str, transaction_id: bytes) -> bytes:
        attributes = (
            (Attribute.USERNAME, f"{self._remote.ufrag}:{local_ufrag}".encode()),
            (Attribute.ICE_CONTROLLED, stun.encode_u64(self._tie_breaker)),
            (Attribute.PRIORITY, stun.encode_u32(PRIORITY)),
        )
        return stun.encode(
            MessageType.BINDING_REQUEST, transaction_id, attributes, self._remote.password.encode()
        )

    def is_answer_untrusted(self, message: Message, source: Endpoint) -> bool:
        """Whether it is the client's answer to the latest check that went to `source`; it counts once."""
        asked = self._asked.get(source)
        if message.type != MessageType.BINDING_RESPONSE or asked is None:
            return False
        if message.transaction_id != asked.transaction_id:
            return False
        if not message.is_authentic(self._remote.password.encode()):
            return False
        self._asked[source] = _Asked(b"", asked.at_ns)
        return True
