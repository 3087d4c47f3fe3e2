"""Callers for `make bench ONLY=realtime`: of our transceiver, which is ICE-lite, and of a full ICE agent.

They talk all the time, so that a backend's link carries both ways what it does in a call.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import aiohttp
from yarl import URL

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, MessageType
from tests.sound import frames
from tests.tones import pitch, voice
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import describe
from transceiver.caller.ice import Nomination
from transceiver.caller.transport import Transport
from transceiver.media.ticker import Handle, Ticker
from transceiver.sdp import build_offer, parse_answer_untrusted
from transceiver.transport.certificate import Certificate

PATIENCE_S = 20.0
SAYING = frames(voice(pitch(7), 4.0))


class CheckedTransport(Transport):
    """Also answers checks, which a full agent sends (RFC 8445 §7.3); a lite one does not."""

    def _receive_stun_untrusted(self, data: bytes, source: Endpoint) -> None:
        if not stun.is_binding_request_untrusted(data):
            super()._receive_stun_untrusted(data, source)
            return
        request = stun.parse_untrusted(data)
        password = self._local.password.encode()
        if request.is_authentic(password):
            mapped = stun.encode_xor_address(source, request.transaction_id)
            attributes = [(Attribute.XOR_MAPPED_ADDRESS, mapped)]
            self._links.send(
                stun.encode(MessageType.BINDING_RESPONSE, request.transaction_id, attributes, password),
                source,
            )


@dataclass(frozen=True, slots=True)
class SetUp:
    """Of one call, in monotonic ns."""

    posted_ns: int
    audio_ns: int
    """The first authentic packet, of silence as a rule."""


class Caller:
    """One call, which a backend knows by `name`. `connect`, then always `hang_up`."""

    def __init__(self, url: str, name: str, ticker: Ticker, certificate: Certificate) -> None:
        self._url = calls_url(url)
        self._session = {"type": "realtime", "instructions": name}
        self._ticker = ticker
        self._certificate = certificate
        self._saying = itertools.cycle(SAYING)
        self._handle: Handle | None = None
        self._location: URL | None = None
        self.name = name
        self.transport: Transport | None = None
        self.port = 0
        """Where its audio comes to, once it is connected."""

    async def connect(self) -> SetUp:
        """As a new client does it, with an HTTP connection of its own. It has no candidates, but its checks
        tell where it is; a full agent that reads of their end would wait for none.
        """
        local = describe(self._certificate)
        async with aiohttp.ClientSession() as http:
            posted_ns = time.monotonic_ns()
            offer = build_offer(local).replace("a=end-of-candidates\r\n", "")
            placed = await SignalingClient(http, self._url, None).place(offer, self._session)
        answer = parse_answer_untrusted(placed.answer_sdp)
        transport = CheckedTransport(local, answer, self._certificate, Nomination.ALWAYS, lambda text: None)
        self.transport, self._location = transport, placed.location
        transport.start()
        self._handle = self._ticker.add(self._tick)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.shield(transport.ready)
        address = transport.local_address
        assert address is not None
        assert transport.marks.audio_ns is not None
        self.port = address.port
        return SetUp(posted_ns, transport.marks.audio_ns)

    async def hang_up(self) -> None:
        """Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
        transport, self.transport = self.transport, None
        if transport is None:
            return
        await transport.close()
        async with aiohttp.ClientSession() as http:
            if self._location is not None:
                await SignalingClient(http, self._url, None).hang_up(self._location)

    def _tick(self, now_ns: int) -> None:
        transport = self.transport
        if transport is not None and transport.path is not None:
            transport.hear(now_ns)
            transport.say(next(self._saying), now_ns)
