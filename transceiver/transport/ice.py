"""ICE-lite for one session (RFC 8445 §2.5, §6.1.1, §7.3): who the client is, and where. Sans-IO.

A lite agent sends no checks and has no candidate pairs to rate. It answers the client's checks, and has
one decision of its own: which of the addresses that the client has checked from it sends to. The first
one is used at once, since a client may have to wait long for its nomination. After that `MOVES` is the
table, in words in docs/session.md: what may come from another address, and when that is then sent to.

Clients differ too much for nomination alone: Chromium nominates with every check of the pair that it
uses, Firefox with the first check of every pair and never again, so a NAT that changes Firefox's port
is followed by plain checks. A known address is a spare pair that the client keeps open beside the one it
uses; only a client that sends no media at all makes its checks count, and these come every 6 s.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, Message, MessageType
from transceiver.transport.reasons import IceReason

MS = 1_000_000
SILENCE_NS = 600 * MS
"""An Opus sender in DTX is heard from every 400 ms (RFC 6716 §2.1.9), any other every 20 ms."""
SPARE_SILENCE_NS = 8_000 * MS
"""Longer than any client's pause between checks of the pair that it uses: 4–6 s."""
RETIRE_NS = 10_000 * MS
"""How long a client may go on using its old credentials after the first check with the new ones."""
CONSENT_NS = 30_000 * MS
"""An address that has not been heard from for this long is sent nothing more (RFC 7675 §5.1). The client
may be alive elsewhere, and whoever can fake a source address must not have a stranger flooded for an hour.
"""
MAX_SPARES = 3
"""Addresses beside the one in use that are kept open: two PoPs, two families."""
LIFELINE_NS = 10_000 * MS
"""How long spares are sent to as well once media has stopped. Firefox takes 10 s to go over by itself."""
MAX_ADDRESSES = 16
"""Addresses of one client: interfaces times families times PoPs."""


class Sign(Enum):
    """What comes from an address that is not the one in use, and says that the client is there."""

    RESTARTED = "a nominating check of a later ICE generation"
    FIRST_NOMINATED = "a nominating check, while the one in use was never nominated"
    RENOMINATED = "a check with a higher NOMINATION than any before"
    BETTER_NOMINATED = "a nominating check with a higher PRIORITY"
    NOMINATED = "any other nominating check"
    MEDIA = "authentic media"
    NEW = "a check without nomination, or of an old generation, from an address that was not known"
    SPARE = "the same from one that was known"


class Needs(Enum):
    """What the address in use must have been without for an address to take its place."""

    NOTHING = "it is left at once"
    USE = "media and nominating checks"
    ANYTHING = "anything authentic"


MOVES: Final = {
    Sign.RESTARTED: (Needs.NOTHING, 0),
    Sign.FIRST_NOMINATED: (Needs.NOTHING, 0),  # the one in use was provisional
    Sign.RENOMINATED: (Needs.NOTHING, 0),  # it says itself that it comes after
    Sign.BETTER_NOMINATED: (Needs.NOTHING, 0),  # of several nominated the best counts
    Sign.NOMINATED: (Needs.USE, SILENCE_NS),
    Sign.MEDIA: (Needs.USE, SILENCE_NS),
    Sign.NEW: (Needs.ANYTHING, SILENCE_NS),
    Sign.SPARE: (Needs.ANYTHING, SPARE_SILENCE_NS),
}
"""When another address is sent to: at once, or when the one in use has gone without for so many ns."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a session is addressed and authenticated by."""

    ufrag: str
    password: str = field(repr=False)


@dataclass(slots=True)
class Generation:
    """The credentials between two ICE restarts (RFC 8445 §2.4)."""

    number: int
    local: Credentials
    username: bytes
    """What a request must carry: our ufrag, a colon, theirs."""
    retires_ns: int | None = None


@dataclass(slots=True)
class _Address:
    """One address that the client has proved to be at."""

    endpoint: Endpoint
    generation: int
    priority: int
    is_nominated: bool
    heard_ns: int
    """Anything authentic."""
    used_ns: int
    """Media or a nominating check: signs that the client sends from here by choice."""
    media_ns: int | None = None
    """Media alone; None where none has come."""
    is_left: bool = False
    """The handshake has gone on from another one. The client may not hear us here, and repeats its checks,
    nominating ones too: they are no news until media comes from here.
    """


@dataclass(frozen=True, slots=True)
class Check:
    """What an authentic, acceptable request came to."""

    response: bytes
    has_moved: bool
    """The session's address has changed; so it does with the first check."""
    forgotten: Endpoint | None
    """An address that had to make room."""


@dataclass(frozen=True, slots=True)
class Objection:
    """What an authentic request with a fault is answered with."""

    response: bytes
    reason: IceReason


class IceLite:
    """One session's ICE. `remote` is where to send, None before the first check."""

    def __init__(self, local: Credentials, remote_ufrag: str) -> None:
        self.remote: Endpoint | None = None
        self.heard_ns: int | None = None
        """When anything authentic last came, from wherever."""
        self._generations = [_generation(0, local, remote_ufrag)]
        self._addresses: dict[Endpoint, _Address] = {}
        self._selected: _Address | None = None
        self._nomination = (0, 0)
        """The highest NOMINATION, within the latest generation that had one."""

    @property
    def ufrags(self) -> list[str]:
        """Every local ufrag that is answered to, oldest first."""
        return [g.local.ufrag for g in self._generations]

    @property
    def addresses(self) -> list[Endpoint]:
        """Where the client has proved to be."""
        return list(self._addresses)

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

    def accept(self, message: Message, generation: Generation, source: Endpoint, now_ns: int) -> Check:
        """Answer an authentic request, and draw from it what it says about the client's address."""
        self._retire_older_than(generation, now_ns)
        nomination = (generation.number, _nomination_untrusted(message))
        is_latest = nomination[1] > 0 and nomination > self._nomination
        is_nominating = self._is_nominating_untrusted(message, nomination)
        self._nomination = max(self._nomination, nomination)
        known = self._addresses.get(source)
        forgotten = self._make_room() if known is None else None
        address = known or _Address(source, generation.number, 0, False, now_ns, now_ns)
        self._addresses[source] = address
        address.generation = max(address.generation, generation.number)
        address.priority = _priority_untrusted(message)
        selected = self._selected
        must_move = selected is None
        if selected is not None and selected is not address:
            sign = _read(address, selected, is_nominating, known is None)
            if is_latest and sign in (Sign.BETTER_NOMINATED, Sign.NOMINATED):
                sign = Sign.RENOMINATED
            must_move = _is_due(sign, selected, now_ns)
        address.is_nominated |= is_nominating
        self.heard_ns = address.heard_ns = now_ns
        if is_nominating:
            address.used_ns = now_ns
        if must_move:
            self._select(address)
        mapped = (Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(source, message.transaction_id))
        return Check(
            _respond(message, generation, MessageType.BINDING_RESPONSE, mapped), must_move, forgotten
        )

    def _is_nominating_untrusted(self, message: Message, nomination: tuple[int, int]) -> bool:
        """Whether the check nominates its pair: it says so, and no later one has taken that back."""
        if nomination[1] > 0:
            return nomination >= self._nomination
        return message.get(Attribute.USE_CANDIDATE) is not None

    # Everything else that authenticates

    def hear(self, now_ns: int) -> None:
        """Something authentic came that says nothing about addresses."""
        self.heard_ns = now_ns

    def hear_handshake(self, source: Endpoint, now_ns: int) -> None:
        """A DTLS datagram came from `source` before there were keys, so nothing in it is authentic; but it
        only chooses among addresses that the client has proved to be at.
        """
        address, selected = self._addresses.get(source), self._selected
        if address is None:
            return
        address.used_ns = now_ns
        if address is not selected:
            if selected is not None:
                selected.is_left = True
            address.is_left = False
            self._select(address)

    def hear_media(self, source: Endpoint, now_ns: int) -> bool:
        """Media that authenticates came from `source`, an address known or not. True when the session
        should `move` there.
        """
        self.heard_ns = now_ns
        address = self._addresses.get(source)
        if address is not None:
            address.heard_ns = address.used_ns = address.media_ns = now_ns
            address.is_left = False
        selected = self._selected
        return selected is None or (selected is not address and _is_due(Sign.MEDIA, selected, now_ns))

    def move(self, source: Endpoint, now_ns: int) -> Endpoint | None:
        """Send to `source` from here on, as `hear_media` said. Returns an address that had to make room."""
        address = self._addresses.get(source)
        forgotten = None
        if address is None:
            forgotten = self._make_room()
            # Very likely the same interface behind another port of its NAT, so it ranks the same.
            old = self._selected
            generation, priority = (
                (old.generation, old.priority) if old else (self._generations[-1].number, 0)
            )
            address = _Address(source, generation, priority, True, now_ns, now_ns, now_ns)
            self._addresses[source] = address
        self._select(address)
        return forgotten

    # Spares

    def spares(self, now_ns: int) -> list[Endpoint]:
        """Addresses beside the one in use at which the client was heard not long ago, the latest first."""
        selected = self._selected
        if selected is None:
            return []
        found = [
            address
            for address in self._addresses.values()
            if address is not selected
            and not address.is_left
            and address.generation == selected.generation
            and now_ns - address.heard_ns < CONSENT_NS
        ]
        found.sort(key=lambda address: address.heard_ns, reverse=True)
        return [address.endpoint for address in found[:MAX_SPARES]]

    def hear_answer(self, source: Endpoint, now_ns: int) -> None:
        """The client has answered a check of ours at one of its addresses."""
        address = self._addresses.get(source)
        if address is not None:
            self.heard_ns = address.heard_ns = now_ns

    def lifelines(self, now_ns: int) -> list[Endpoint]:
        """Where to send as well, as the path in use may be dead: a client that was sending media has fallen
        silent there. Its ICE notices after seconds; until then it hears us by another path.
        """
        selected = self._selected
        if selected is None or selected.media_ns is None or now_ns - selected.heard_ns < SILENCE_NS:
            return []
        return self.spares(now_ns) if now_ns - selected.media_ns < LIFELINE_NS else []

    def expire_consent(self, now_ns: int) -> None:
        """Have nowhere to send to once the address in use was silent for `CONSENT_NS`, until a check or
        authentic media shows the client somewhere again. For calling now and then.
        """
        if self._selected is not None and now_ns - self._selected.heard_ns >= CONSENT_NS:
            self._selected = self.remote = None

    def is_live_at(self, endpoint: Endpoint, now_ns: int, silence_ns: int) -> bool:
        """Whether the client was heard from that address less than `silence_ns` ago."""
        address = self._addresses.get(endpoint)
        return address is not None and now_ns - address.heard_ns < silence_ns

    def forget(self, endpoint: Endpoint) -> None:
        """The address belongs to somebody else; nothing of this session may go there."""
        if self._addresses.pop(endpoint, None) is self._selected:
            self._selected = self.remote = None

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

    # Addresses

    def _select(self, address: _Address) -> None:
        self._selected = address
        self.remote = address.endpoint

    def _make_room(self) -> Endpoint | None:
        """Forget the address that was silent for longest, should there be too many."""
        if len(self._addresses) < MAX_ADDRESSES:
            return None
        spare = [a for a in self._addresses.values() if a is not self._selected]
        oldest = min(spare, key=lambda a: a.heard_ns).endpoint
        del self._addresses[oldest]
        return oldest


def _read(address: _Address, selected: _Address, is_nominating: bool, is_new: bool) -> Sign:
    """What a check from `address` says, while `selected` is in use."""
    if not is_nominating or address.generation < selected.generation:
        return Sign.NEW if is_new else Sign.SPARE
    if address.generation > selected.generation:
        return Sign.RESTARTED
    if address.is_left:
        return Sign.NOMINATED
    if not selected.is_nominated:
        return Sign.FIRST_NOMINATED
    return Sign.BETTER_NOMINATED if address.priority > selected.priority else Sign.NOMINATED


def _is_due(sign: Sign, selected: _Address, now_ns: int) -> bool:
    """Whether `selected` gives way, by `MOVES`."""
    needs, silence_ns = MOVES[sign]
    match needs:
        case Needs.NOTHING:
            return True
        case Needs.USE:
            return now_ns - selected.used_ns >= silence_ns
        case Needs.ANYTHING:
            return now_ns - selected.heard_ns >= silence_ns


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
