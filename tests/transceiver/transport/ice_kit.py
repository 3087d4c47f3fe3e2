"""A client's half of ICE, and a session's agent to try it on."""

from __future__ import annotations

import itertools

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, Message, MessageType
from transceiver.transport.agent import IceAgent, Reaction
from transceiver.transport.credentials import Credentials

OURS = Credentials("AbCdEfGhIjKlMnOpQrStUvWxYz01", "pass" * 8)
RESTARTED = Credentials("zYxWvUtSrQpOnMlKjIhGfEdCbA98", "word" * 8)
THEIRS = Credentials("peer", "p" * 24)
NEXT = Credentials("next", "n" * 24)
A, B, C, D = (Endpoint("192.0.2.1", port) for port in (1001, 1002, 1003, 1004))
VIP = Endpoint("198.51.100.1", 3478)
S = 1_000_000_000
MS = 1_000_000
START = 5 * S
PACKET_BYTES = 90
"""Of audio, in either direction."""

_numbers = itertools.count(1)


def transaction() -> bytes:
    """One that was never before."""
    return next(_numbers).to_bytes(12, "big")


def build(
    *extra: tuple[int, bytes],
    local: Credentials = OURS,
    theirs: str = THEIRS.ufrag,
    nominate: bool = False,
    priority: int | None = 100,
    role: int = Attribute.ICE_CONTROLLING,
    kind: MessageType = MessageType.BINDING_REQUEST,
    password: str | None = None,
) -> Message:
    """A check of the client's."""
    attributes: list[tuple[int, bytes]] = [(Attribute.USERNAME, f"{local.ufrag}:{theirs}".encode())]
    attributes.append((role, stun.encode_u64(1)))
    if priority is not None:
        attributes.append((Attribute.PRIORITY, stun.encode_u32(priority)))
    if nominate:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    attributes.extend(extra)
    key = (local.password if password is None else password).encode()
    return stun.parse_untrusted(stun.encode(kind, transaction(), attributes, key))


def answer(
    check: bytes,
    remote: Credentials = THEIRS,
    mapped: Endpoint | None = VIP,
    kind: MessageType = MessageType.BINDING_RESPONSE,
) -> Message:
    """What a full agent says to a check of ours."""
    asked = stun.parse_untrusted(check)
    attributes = []
    if mapped is not None:
        value = stun.encode_xor_address(mapped, asked.transaction_id)
        attributes.append((Attribute.XOR_MAPPED_ADDRESS, value))
    return stun.parse_untrusted(stun.encode(kind, asked.transaction_id, attributes, remote.password.encode()))


def anybody(endpoint: Endpoint) -> bool:
    """A port at which no address is another session's."""
    return True


def make_agent() -> IceAgent:
    """Of a session that has not heard of its client."""
    return IceAgent(OURS, THEIRS, b"loc", bytes(range(32)))


def media(number: int, size: int = PACKET_BYTES) -> bytes:
    """An authentic packet, each another."""
    return b"\x80\x6f" + number.to_bytes(8) + bytes(size - 10)


class Client:
    """A client at several addresses, and the agent of its session. Checks of ours are answered at once where
    `hears` has the address.
    """

    def __init__(self, *hears: Endpoint, agent: IceAgent | None = None) -> None:
        self.agent = agent or make_agent()
        self.hears = set(hears)
        self.asked: list[Endpoint] = []
        self.remote = THEIRS
        self._packets = itertools.count()

    @property
    def at(self) -> Endpoint | None:
        """Where the session sends."""
        return self.agent.paths.remote

    def check(
        self,
        source: Endpoint,
        now_ns: int,
        *extra: tuple[int, bytes],
        nominate: bool = False,
        priority: int = 100,
        local: Credentials = OURS,
        theirs: str = THEIRS.ufrag,
    ) -> bool:
        """One good check. Whether the session has moved once the client has answered."""
        message = build(*extra, nominate=nominate, priority=priority, local=local, theirs=theirs)
        return self.send(message, source, now_ns)

    def send(self, message: Message, source: Endpoint, now_ns: int) -> bool:
        """A check, new or not. Whether the session has moved."""
        before = self.at
        reaction: Reaction = self.agent.receive_check_untrusted(message, source, anybody, now_ns)
        for challenge in reaction.replies[1:]:
            self.take(challenge, source, now_ns)
        return self.at != before

    def speak(self, source: Endpoint, now_ns: int) -> bool:
        """A packet of audio. Whether the session has moved."""
        before = self.at
        packet = media(next(self._packets))
        challenge = self.agent.hear_media(packet, source, anybody, now_ns)
        if challenge is not None:
            self.take(challenge, source, now_ns)
        return self.at != before

    def take(self, challenge: bytes, at: Endpoint, now_ns: int) -> None:
        """A check of ours has arrived."""
        self.asked.append(at)
        if at in self.hears:
            message = answer(challenge, self.remote)
            assert self.agent.receive_answer_untrusted(message, at, anybody, now_ns) is None

    def sweep(self, now_ns: int) -> None:
        """What the session does every half a second."""
        self.agent.paths.expire(now_ns)
        for endpoint, challenge in self.agent.due_checks(now_ns):
            self.take(challenge, endpoint, now_ns)


def established(*hears: Endpoint, nominated: bool = True, priority: int = 100) -> Client:
    """A client at A, where it has just been heard and has answered, if it hears there."""
    client = Client(*hears)
    assert client.check(A, START, nominate=nominated, priority=priority)
    return client
