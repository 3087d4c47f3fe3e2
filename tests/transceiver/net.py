"""One transceiver process's network side on loopback, and a client of it made of the same parts.

The client is as plain as can be: it sends the checks that a test tells it to, from the sockets that a
test tells it to, and otherwise does what a browser would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from core import stun
from core.addr import Endpoint, from_sockaddr
from core.cluster import Cluster
from core.config import TransceiverSettings
from core.demux import PacketKind, classify_untrusted
from core.keyring import Keyring
from core.stun import Attribute, Message, MessageType
from transceiver.backends.base import Backend, BackendFactory, SessionContext
from transceiver.caller.answers import CheckAnswers
from transceiver.media import FRAME_BYTES, FRAME_MS
from transceiver.media.keys import SrtpKeys
from transceiver.media.path import AudioPath
from transceiver.media.ticker import Ticker
from transceiver.observer import NullObserver
from transceiver.realtime.event import Event
from transceiver.sdp import LocalDescription, Offer, build_offer, parse_offer_untrusted
from transceiver.session.manager import SessionManager
from transceiver.session.request import CallRequest
from transceiver.session.session import Session, Shared
from transceiver.signaling.shapes import LiveShape
from transceiver.transport.certificate import Certificate
from transceiver.transport.channels import CHANNEL_LABEL
from transceiver.transport.credentials import Credentials
from transceiver.transport.mux import Mux, open_udp_port
from transceiver.transport.peer import ChannelTerms, Peer

PATIENCE_S = 20.0
"""How long an event may take on a machine that is busy with other things."""
CLUSTER = Cluster(1, IPv4Network("127.0.0.0/8"), IPv6Network("::/127"), 1, 65535)
SETTINGS = TransceiverSettings(
    cluster=1, host=1, http=Endpoint("127.0.0.1", 8080), open=True, max_loop_lag_ms=10_000
)
"""A busy machine must not refuse the calls of a test."""
KEYRING = Keyring({3: bytes(range(32))}, mint_with=3)
CLIENT_UFRAG = "cLnt"
CLIENT_SSRC = 0xC11E47


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


class Counts(NullObserver):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.ended: list[str] = []
        self.refused: Counter[str] = Counter()

    def setup_stage(self, stage: str, seconds: float) -> None:
        assert seconds >= 0
        self.stages.append(stage)

    def session_ended(self, reason: str) -> None:
        self.ended.append(reason)

    def packet_refused(self, reason: str) -> None:
        self.refused[reason] += 1


class Echo:
    """A backend that says at once what it hears, and returns each event with `echo.` before its type."""

    def __init__(self, context: SessionContext) -> None:
        self._emit = context.emit
        self.end = context.end
        self._pcm: bytes | None = None
        self.is_closed = False

    def opened(self) -> None:
        self._emit({"type": "session.created"})

    def hear(self, pcm: bytes, now_ns: int) -> None:
        assert len(pcm) == FRAME_BYTES
        self._pcm = pcm

    def speak(self, now_ns: int) -> bytes | None:
        pcm, self._pcm = self._pcm, None
        return pcm

    def receive_event(self, event: Event) -> None:
        self._emit({**event, "type": f"echo.{event['type']}"})

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class Factory:
    """A backend that shares nothing among its sessions."""

    def __init__(self, create: Callable[[SessionContext], Backend] = Echo) -> None:
        self.make = create

    async def start(self) -> None:
        pass

    def create(self, context: SessionContext) -> Backend:
        return self.make(context)

    async def close(self) -> None:
        pass


def now_min() -> int:
    """Of the wall clock, since the epoch."""
    return int(time.time()) // 60


class Server:
    """What a transceiver process has without its HTTP side."""

    def __init__(
        self, settings: TransceiverSettings, addresses: Sequence[str], factory: BackendFactory | None = None
    ) -> None:
        self.counts = Counts()
        self.host = settings.host
        self.ticker = Ticker()
        self.mux = Mux(open_udp_port(addresses, 0), self.counts)
        self.factory = Factory()
        behind = factory or self.factory
        shared = Shared(settings, self.mux, self.ticker, Certificate.generate(), behind, self.counts)
        self.manager = SessionManager(shared, CLUSTER, KEYRING, 7)

    def create(
        self, offer: Offer, owner: str = "me", live: Event | None = None, settings: Event | None = None
    ) -> Session:
        """A session, now; of GPT-Live where there are settings of it."""
        request = CallRequest(offer, settings or {}, owner)
        if live is not None:
            request = LiveShape().call(offer, live, owner, int(time.time()))
        return self.manager.create(request, time.monotonic_ns(), now_min())

    def restart_ice(self, session: Session, remote_ufrag: str) -> LocalDescription:
        """New credentials, now."""
        return self.manager.restart_ice(session, Credentials(remote_ufrag, "p" * 24), now_min())

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.mux.port)

    async def close(self) -> None:
        await self.manager.close_all()
        self.ticker.close()
        self.mux.close()


@contextlib.asynccontextmanager
async def running(
    settings: TransceiverSettings = SETTINGS,
    addresses: Sequence[str] = ("127.0.0.1",),
    factory: BackendFactory | None = None,
) -> AsyncIterator[Server]:
    server = Server(settings, addresses, factory)
    try:
        yield server
    finally:
        await server.close()


def make_offer(
    certificate: Certificate,
    setup: str = "actpass",
    *,
    has_channel: bool = True,
    direction: str = "sendrecv",
) -> Offer:
    """The offer of a client with that certificate, by way of its SDP."""
    local = LocalDescription(
        ufrag=CLIENT_UFRAG,
        password="p" * 22,
        fingerprint=certificate.fingerprint,
        setup=setup,
        candidates=(),
        ssrc=CLIENT_SSRC,
        cname="client",
        stream_id="stream",
        track_id="track",
        session_version=0,
    )
    return parse_offer_untrusted(build_offer(local, direction, has_channel))


class Client:
    """One client, the `PeerEvents` of its peer. `check` speaks STUN; DTLS, media and events need `start`."""

    def __init__(
        self, server: Endpoint, offer: Offer, answer: LocalDescription, certificate: Certificate
    ) -> None:
        self.offer = offer
        self.loop = asyncio.get_running_loop()
        self.server = server
        self.answer = answer
        self.certificate = certificate
        self.sockets: list[socket.socket] = []
        self.current = self.open()
        self.responses: dict[bytes, asyncio.Future[Message]] = {}
        self.messages: asyncio.Queue[str] = asyncio.Queue(100)
        self.opened = asyncio.Event()
        self.closed: asyncio.Future[str] = self.loop.create_future()
        self.keyed = asyncio.Event()
        self.heard = asyncio.Event()
        self.heard_at: Counter[int] = Counter()
        """Authentic media by the index of the socket that got it."""
        self.received: list[bytes] = []
        """STUN that nobody waits for."""
        self.answers = CheckAnswers(offer.ufrag, offer.password)
        self.is_answering = True
        """Whether checks of the server's are answered, which are in `received` otherwise."""
        self.path: AudioPath | None = None
        role: Literal["client", "server"] = "client" if answer.setup == "passive" else "server"
        terms = ChannelTerms(5000, open_label=CHANNEL_LABEL)
        self.peer = Peer(certificate, role, [answer.fingerprint], self, terms)

    def open(self) -> socket.socket:
        """Another address of this client."""
        opened = socket.socket(self.server.af, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.bind(("::1" if opened.family == socket.AF_INET6 else "127.0.0.1", 0))
        index = len(self.sockets)
        self.loop.add_reader(opened.fileno(), self._read, opened, index)
        self.sockets.append(opened)
        return opened

    def endpoint(self, index: int) -> Endpoint:
        return from_sockaddr(self.sockets[index].getsockname())

    def send(self, datagram: bytes) -> None:
        """From the address in use."""
        self.current.sendto(datagram, self.server)

    def request(
        self,
        *extra: tuple[int, bytes],
        priority: int = 1000,
        nominate: bool = False,
        ufrag: str = CLIENT_UFRAG,
        transaction_id: bytes | None = None,
    ) -> bytes:
        attributes = [
            (int(Attribute.USERNAME), f"{self.answer.ufrag}:{ufrag}".encode()),
            (int(Attribute.PRIORITY), stun.encode_u32(priority)),
            *extra,
        ]
        if nominate:
            attributes.append((Attribute.USE_CANDIDATE, b""))
        if not any(kind == Attribute.ICE_CONTROLLED for kind, _ in extra):
            attributes.append((Attribute.ICE_CONTROLLING, stun.encode_u64(1)))
        return stun.encode(
            MessageType.BINDING_REQUEST,
            transaction_id or os.urandom(12),
            attributes,
            self.answer.password.encode(),
        )

    async def check(
        self,
        *extra: tuple[int, bytes],
        via: int | None = None,
        nominate: bool = False,
        priority: int = 1000,
        ufrag: str = CLIENT_UFRAG,
    ) -> Message:
        """Send one check, wait for its response, whatever it is."""
        transaction_id = os.urandom(12)
        answered: asyncio.Future[Message] = self.loop.create_future()
        self.responses[transaction_id] = answered
        sender = self.current if via is None else self.sockets[via]
        request = self.request(
            *extra, priority=priority, nominate=nominate, ufrag=ufrag, transaction_id=transaction_id
        )
        sender.sendto(request, self.server)
        async with asyncio.timeout(PATIENCE_S):
            return await answered

    async def connect(self) -> None:
        """Check, handshake, first audio from the server."""
        await self.check(nominate=True)
        self.peer.start()
        async with asyncio.timeout(PATIENCE_S):
            await self.keyed.wait()
            await self.heard.wait()

    def speak(self, pcm: bytes | None = None) -> None:
        """One packet of audio from the address in use."""
        assert self.path is not None
        packet = self.path.push(pcm, time.monotonic_ns())
        assert packet is not None, "only packets of 10 and 20 ms go with every tick"
        self.send(packet)

    async def close(self) -> None:
        await self.peer.close()
        if self.path is not None:
            self.path.close()
            self.path = None
        while self.sockets:
            closing = self.sockets.pop()
            self.loop.remove_reader(closing.fileno())
            closing.close()

    def send_dtls(self, datagram: bytes) -> None:
        self.send(datagram)

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        self.path = AudioPath(keys, self.offer.codec, CLIENT_SSRC, "client", now_ns)
        self.keyed.set()

    def channel_opened(self) -> None:
        self.opened.set()

    def receive_message_untrusted(self, text: str) -> None:
        self.messages.put_nowait(text)

    def record_received(self, now_ns: int) -> None:
        assert now_ns <= time.monotonic_ns()

    def refuse(self, reason: StrEnum) -> None:
        pass

    def peer_closed(self, reason: str) -> None:
        self.closed.set_result(reason)

    def _read(self, sock: socket.socket, index: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                self._receive(sock.recv(2048), index)

    def _receive(self, datagram: bytes, index: int) -> None:
        kind = classify_untrusted(datagram)
        if kind is PacketKind.DTLS:
            self.peer.receive_untrusted(datagram)
        elif kind is PacketKind.MEDIA:
            if self.path is not None and self.path.receive_untrusted(datagram, time.monotonic_ns()):
                self.heard_at[index] += 1
                self.heard.set()
        else:
            message = stun.parse_untrusted(datagram)
            response = self.answers.respond_untrusted(datagram, self.server)
            if response is not None and self.is_answering:
                self.sockets[index].sendto(response, self.server)
                return
            sender = self.offer if message.type == MessageType.BINDING_REQUEST else self.answer
            assert message.is_authentic(sender.password.encode())
            answered = self.responses.pop(message.transaction_id, None)
            if answered is None:
                self.received.append(datagram)
            else:
                answered.set_result(message)


@contextlib.asynccontextmanager
async def calling(
    server: Server,
    setup: str = "actpass",
    to: Endpoint | None = None,
    *,
    has_channel: bool = True,
    direction: str = "sendrecv",
    packet_ms: int = FRAME_MS,
    live: Event | None = None,
    settings: Event | None = None,
) -> AsyncIterator[tuple[Client, Session]]:
    """A session, and a client that has its answer and has sent nothing yet."""
    certificate = Certificate.generate()
    offer = make_offer(certificate, setup, has_channel=has_channel, direction=direction)
    offer = replace(offer, codec=replace(offer.codec, packet_ms=packet_ms))
    session = server.create(offer, live=live, settings=settings)
    client = Client(to or server.endpoint, session.offer, session.answer, certificate)
    try:
        yield client, session
    finally:
        await client.close()


def with_settings(**changes: object) -> TransceiverSettings:
    return replace(SETTINGS, **changes)  # type: ignore[arg-type]
