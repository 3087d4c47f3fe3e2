"""ICE-lite for one session (RFC 8445 §2.5, §6.1.1, §7.3): whose a check is, and what it is answered. Sans-IO.

A lite agent has no candidate pairs to rate. It answers the client's checks, and draws from each that is
fresh what it says of the client's paths: see `paths`. Beyond what a lite agent must, it sends checks of its
own: see `challenges`. `agent` has all three.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, Message, MessageType
from transceiver.transport.credentials import Credentials
from transceiver.transport.paths import CheckNews, Paths
from transceiver.transport.reasons import IceReason
from transceiver.transport.seen import SeenTransactions

RETIRE_NS = 10_000_000_000
"""How long a client may go on using its old credentials after the first check with the new ones."""


@dataclass(slots=True)
class Generation:
    """The credentials between two ICE restarts (RFC 8445 §2.4)."""

    number: int
    local: Credentials
    username: bytes
    """What a request must carry: our ufrag, a colon, theirs."""
    retires_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Objection:
    """What an authentic request with a fault is answered with."""

    response: bytes
    reason: IceReason


class IceLite:
    """One session's ICE; it tells `paths` what it hears. `salt`, 16 bytes, is secret."""

    def __init__(self, local: Credentials, remote_ufrag: str, paths: Paths, salt: bytes) -> None:
        self._paths = paths
        self._generations = [_generation(0, local, remote_ufrag)]
        self._seen = SeenTransactions(salt)
        self._nomination = (0, 0)
        """The highest NOMINATION, within the latest generation that had one."""

    @property
    def ufrags(self) -> list[str]:
        """Every local ufrag that is answered to, oldest first."""
        return [g.local.ufrag for g in self._generations]

    # Checks

    def authenticate_untrusted(self, message: Message) -> Generation | IceReason:
        """Which credentials a request proves to know. A reason is the end of it: no answer."""
        if message.type != MessageType.BINDING_REQUEST:
            return IceReason.NOT_A_REQUEST
        username = message.get(Attribute.USERNAME)
        if username is None:
            return IceReason.NO_USERNAME
        for generation in self._generations:
            if generation.username == username:
                is_authentic = message.is_authentic(generation.local.password.encode())
                return generation if is_authentic else IceReason.BAD_INTEGRITY
        return IceReason.WRONG_USERNAME

    def find_objection(self, message: Message, generation: Generation) -> Objection | None:
        """An error response to a request that has been authenticated, if one is due."""
        if unknown := message.unknown_required:
            attribute = (Attribute.UNKNOWN_ATTRIBUTES, struct.pack(f"!{len(unknown)}H", *unknown))
            return _object(message, generation, 420, IceReason.UNKNOWN_ATTRIBUTE, attribute)
        if message.get(Attribute.ICE_CONTROLLED) is not None:
            # RFC 8445 §7.3.1.1; with a lite agent it is always the other that has to change.
            return _object(message, generation, 487, IceReason.ROLE_CONFLICT)
        return None

    def is_fresh(self, message: Message) -> bool:
        """Whether an authentic check has a transaction that no check had before. It has been had then."""
        return self._seen.add(message.transaction_id)

    def accept(self, message: Message, generation: Generation, source: Endpoint, now_ns: int) -> None:
        """Draw from an authentic, fresh check what it says of the client's paths."""
        self._retire_older_than(generation, now_ns)
        nomination = (generation.number, _nomination_untrusted(message))
        news = CheckNews(
            message.transaction_id,
            len(message.data),
            generation.number,
            _priority_untrusted(message),
            is_nominating=self._is_nominating_untrusted(message, nomination),
            is_latest=nomination[1] > 0 and nomination > self._nomination,
        )
        self._nomination = max(self._nomination, nomination)
        self._paths.hear_check(source, news, now_ns)

    def respond(self, message: Message, generation: Generation, source: Endpoint) -> bytes:
        """The answer to an authentic check, a repeated one too; never longer than the check, but for IPv6."""
        mapped = (Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(source, message.transaction_id))
        return _respond(message, generation, MessageType.BINDING_RESPONSE, mapped)

    def _is_nominating_untrusted(self, message: Message, nomination: tuple[int, int]) -> bool:
        """Whether the check nominates its pair: it says so, and no later one has taken that back."""
        if nomination[1] > 0:
            return nomination >= self._nomination
        return message.get(Attribute.USE_CANDIDATE) is not None

    # Restart

    def restart(self, local: Credentials, remote_ufrag: str) -> list[str]:
        """Take new credentials; the ones in use stay valid until the client has used the new ones for a
        while. Returns the ufrags that are not answered to any more, so that there are never more than two.
        """
        unused = self._generations[1:] if self._generations[0].retires_ns is None else self._generations[:1]
        number = self._generations[-1].number + 1
        self._generations = [g for g in self._generations if g not in unused]
        self._generations.append(_generation(number, local, remote_ufrag))
        return [g.local.ufrag for g in unused]

    def retire(self, now_ns: int) -> list[str]:
        """Drop credentials whose time is over, and say which. For calling now and then."""
        gone = [g for g in self._generations if g.retires_ns is not None and g.retires_ns <= now_ns]
        self._generations = [g for g in self._generations if g not in gone]
        return [g.local.ufrag for g in gone]

    def _retire_older_than(self, generation: Generation, now_ns: int) -> None:
        for other in self._generations:
            if other.number < generation.number and other.retires_ns is None:
                other.retires_ns = now_ns + RETIRE_NS


def _generation(number: int, local: Credentials, remote_ufrag: str) -> Generation:
    return Generation(number, local, f"{local.ufrag}:{remote_ufrag}".encode())


def _priority_untrusted(message: Message) -> int:
    """RFC 8445 §7.1.1; 0 for a client that leaves it out, which ranks it last and hurts nobody else."""
    return int.from_bytes((message.get(Attribute.PRIORITY) or b"")[:4], "big")


def _nomination_untrusted(message: Message) -> int:
    """draft-thatcher-ice-renomination §5: how many times the client has nominated a pair, from 1; 0 for one
    that does not count. 24 bits of 32 in the draft, all of them with libwebrtc.
    """
    value = message.get(Attribute.NOMINATION) or message.get(Attribute.GOOG_NOMINATION) or b""
    return int.from_bytes(value[:4], "big")


def _respond(
    message: Message, generation: Generation, kind: MessageType, *attributes: tuple[int, bytes]
) -> bytes:
    return stun.encode(kind, message.transaction_id, list(attributes), generation.local.password.encode())


def _object(
    message: Message, generation: Generation, code: int, reason: IceReason, *more: tuple[int, bytes]
) -> Objection:
    """RFC 8489 §6.3.1.1; the client is authentic, so it may know."""
    phrase = "Unknown Attribute" if code == 420 else "Role Conflict"
    error = (Attribute.ERROR_CODE, stun.encode_error_code(code, phrase))
    return Objection(_respond(message, generation, MessageType.BINDING_ERROR, error, *more), reason)
