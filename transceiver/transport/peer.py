"""DTLS, SCTP and the event channel of one session. The sole importer of aiortc.

aiortc's DTLS object reads from and writes to a transport with four members; `Link` is that, between it
and our socket. Its SCTP object in turn stands on `_Carrier` in place of the DTLS object, so that what a
caller sends is looked at before, and nothing that it provokes gets out. Media never comes here.

    datagrams ⇄ Link ⇄ RTCDtlsTransport ⇄ _Carrier ⇄ RTCSctpTransport ⇄ RTCDataChannel "oai-events"
                              └─ keys of SRTP, once

aiortc calls us back from tasks of its own, so this is where the clock is read for what it tells.
"""

# ruff: noqa: SLF001 - what aiortc's objects ask of the transport below them has names with underscores

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol, cast

from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)
from aiortc.rtcdtlstransport import (
    SRTP_PROFILES,
    X509_DIGEST_ALGORITHMS,
    SRTPProtectionProfile,
    certificate_digest,
)
from OpenSSL import SSL

from core.errors import UnavailableError
from transceiver.media.keys import SrtpKeys
from transceiver.transport.dtls_link import DTLS_MTU, Link
from transceiver.transport.sctp_guard import MAX_STREAMS, carries_data_untrusted, find_fault_untrusted

logger = logging.getLogger(__name__)

CHANNEL_LABEL = "oai-events"
HANDSHAKE_TIMEOUT_S = 20.0
"""Room for four retransmissions, which come after 1, 3, 7 and 15 s (RFC 6347 §4.2.4.1)."""
SEND_BUFFER_BYTES = 65_536
"""Messages that may wait for a slow peer."""
RECEIVE_WINDOW_BYTES = 524_288
"""Twice the longest message that we take."""
MAX_FRAGMENTS = 1024
"""Pieces of messages that may wait for their missing ones, and chunks received out of order."""
DEFAULT_SCTP_PORT = 5000
SCTP_RTO_INITIAL_S = 1.0
"""RFC 9260 §16; aiortc waits the 3 s of RFC 4960 before it repeats what was lost."""


class PeerReason(StrEnum):
    """Why something that the peer sent was dropped; a metric label."""

    INBOX_FULL = "dtls_inbox_full"
    SCTP_UNPROCESSABLE = "sctp_unprocessable"
    SCTP_EXCESSIVE = "sctp_excessive"
    OTHER_CHANNEL = "channel_not_ours"
    BINARY_MESSAGE = "channel_binary_message"


class Certificate(RTCCertificate):
    """An ECDSA certificate that a whole process shares; its TLS context is made once."""

    _context: SSL.Context | None = None

    @classmethod
    def generate(cls) -> Certificate:
        """A new self-signed certificate with a P-256 key."""
        return cls.generateCertificate()

    @property
    def fingerprint(self) -> tuple[str, str]:
        """(`sha-256`, colon-separated upper-case hex) for SDP (RFC 8122 §5)."""
        return next((f.algorithm, f.value) for f in self.getFingerprints() if f.algorithm == "sha-256")

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
            # The MTU is ours to set: over memory there is no path to ask.
            self._context.set_options(SSL.OP_NO_QUERY_MTU)
        return self._context


class _Dtls(RTCDtlsTransport):
    """Satisfied when one signaled fingerprint is the certificate's: a client may name several certificates
    and show any of them (RFC 8122 §5), where aiortc wants each fingerprint to match.
    """

    def _validate_peer_identity(self, signaled: RTCDtlsParameters) -> None:
        shown = cast(SSL.Connection, self._ssl).get_peer_certificate(as_cryptography=True)
        assert shown is not None, "the handshake demands one"
        matching = [
            f
            for f in signaled.fingerprints
            if f.algorithm.lower() in X509_DIGEST_ALGORITHMS
            and f.value.upper() == certificate_digest(shown, f.algorithm.lower())
        ]
        super()._validate_peer_identity(RTCDtlsParameters(matching or signaled.fingerprints))


class _Carrier:
    """The DTLS transport as RTCSctpTransport sees it, with the guard in between."""

    def __init__(
        self, dtls: RTCDtlsTransport, on_data: Callable[[], None], refuse: Callable[[StrEnum], None]
    ) -> None:
        self._dtls = dtls
        self._on_data = on_data
        self._refuse = refuse
        self._sctp: RTCSctpTransport | None = None

    @property
    def state(self) -> str:
        return self._dtls.state

    @property
    def _role(self) -> str:
        return self._dtls._role

    def _register_data_receiver(self, sctp: RTCSctpTransport) -> None:
        self._sctp = sctp
        self._dtls._register_data_receiver(self)

    def _unregister_data_receiver(self, sctp: RTCSctpTransport) -> None:
        self._sctp = None
        self._dtls._unregister_data_receiver(self)

    async def _send_data(self, data: bytes) -> None:
        # SCTP's timers may still fire while the session ends, and the other side may have shut DTLS down.
        if self.state == "connected":
            with contextlib.suppress(SSL.Error):
                await self._dtls._send_data(data)

    def close(self) -> None:
        """Let go of the owner, which has a way to us: a cycle would live until a full collection."""
        self._on_data = _nothing
        self._refuse = _nothing
        self._sctp = None

    async def _handle_data(self, data: bytes) -> None:
        """RTCDtlsTransport reads one record per datagram; the others of this one are read here."""
        while True:
            self._on_data()
            await self._deliver_untrusted(data)
            try:
                data = cast(SSL.Connection, self._dtls._ssl).recv(2048)
            except SSL.ZeroReturnError:
                raise ConnectionError from None  # close_notify, as RTCDtlsTransport itself reports it
            except SSL.Error:
                return

    async def _deliver_untrusted(self, packet: bytes) -> None:
        sctp = self._sctp
        fault = find_fault_untrusted(packet)
        if sctp is None or fault is not None:
            if fault is not None:
                self._refuse(fault)
            return
        try:
            await sctp._handle_data(packet)
        except Exception as error:  # noqa: BLE001  aiortc raises whatever a strange packet leads it to
            logger.debug("SCTP packet dropped: %s", type(error).__name__)
            self._refuse(PeerReason.SCTP_UNPROCESSABLE)
        if carries_data_untrusted(packet) and _is_excessive(sctp):
            self._refuse(PeerReason.SCTP_EXCESSIVE)
            await sctp.stop()


def _is_excessive(sctp: RTCSctpTransport) -> bool:
    """Whether a peer ignores the window that it was given, or sends what never becomes a message."""
    fragments = sum(len(stream.reassembly) for stream in sctp._inbound_streams.values())
    return (
        sctp._advertised_rwnd < 0 or fragments > MAX_FRAGMENTS or len(sctp._sack_misordered) > MAX_FRAGMENTS
    )


class PeerEvents(Protocol):
    """Whoever has a `Peer`, as the peer sees it. After `mute` it is told of no message, opening or end."""

    def send_dtls(self, datagram: bytes) -> None:
        """A datagram for the other side; it may be lost."""

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """The handshake is done, and the other's certificate is the one that was signaled. Once."""

    def channel_opened(self) -> None:
        """Messages can be sent. Again, should the other side close its channel and open another."""

    def receive_message_untrusted(self, text: str) -> None:
        """A text message from the data channel."""

    def record_received(self, now_ns: int) -> None:
        """An authentic record behind the handshake, whatever is in it: a sign of life."""

    def refuse(self, reason: StrEnum) -> None:
        """Something of the other side's was dropped: a `PeerReason` or `SctpReason`."""

    def peer_closed(self, reason: str) -> None:
        """The association is over: `remote_closed` or `dtls_failed`. At most once."""


class _Nobody(PeerEvents):
    """Whom a peer tells that was closed."""

    def send_dtls(self, datagram: bytes) -> None:
        pass

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        pass

    def channel_opened(self) -> None:
        pass

    def receive_message_untrusted(self, text: str) -> None:
        pass

    def record_received(self, now_ns: int) -> None:
        pass

    def refuse(self, reason: StrEnum) -> None:
        pass

    def peer_closed(self, reason: str) -> None:
        pass


_NOBODY = _Nobody()


def _nothing(*_: object) -> None:
    """Takes the place of a callback after the end."""


@dataclass(frozen=True, slots=True)
class ChannelTerms:
    """What was signaled of the data channel (RFC 8841), and who opens it."""

    remote_port: int
    """The other side's SCTP port."""
    max_message_bytes: int = SEND_BUFFER_BYTES
    """Longest message that the other side takes; 0 is any."""
    open_label: str | None = None
    """The channel that this side opens; None waits for the other side's."""


class Peer:
    """One end of a session's DTLS association. Needs a running loop.

    `role` is the DTLS role; `remote_fingerprints`, (algorithm, hex), are of what the other may show.
    `channel` is None where no data channel was agreed on.
    """

    def __init__(
        self,
        certificate: Certificate,
        role: Literal["client", "server"],
        remote_fingerprints: Sequence[tuple[str, str]],
        events: PeerEvents,
        channel: ChannelTerms | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fingerprints = [RTCDtlsFingerprint(*f) for f in remote_fingerprints]
        self._events = events
        self._terms = channel
        self._link = Link(events.send_dtls)
        self._dtls = _Dtls(cast(Any, self._link), [certificate])
        self._dtls._set_role(role)
        self._dtls.on("statechange", self._dtls_changed)
        self._carrier = _Carrier(self._dtls, self._data_received, events.refuse)
        self._sctp = None if channel is None else self._make_sctp(channel)
        self._channel: RTCDataChannel | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_over = False

    def start(self) -> None:
        """Begin the handshake: as the client, send a ClientHello; as the server, wait for one."""
        if self._task is not None or self._is_over:
            return
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._ran)
        self._deadline = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self._end, "dtls_failed")

    def receive_untrusted(self, datagram: bytes) -> None:
        """Take a DTLS datagram. One that comes before `start` waits; one too many is dropped."""
        if not self._is_over and not self._link.put(datagram):
            self._events.refuse(PeerReason.INBOX_FULL)

    def send_message(self, text: str) -> bool:
        """False, and nothing sent, when the channel is not open, its buffer full or the text too long."""
        channel, terms = self._channel, self._terms
        size = len(text.encode())
        if self._is_over or terms is None or channel is None or channel.readyState != "open":
            return False
        if 0 < terms.max_message_bytes < size:
            return False
        if channel.bufferedAmount + size > SEND_BUFFER_BYTES:
            return False
        channel.send(text)
        return True

    def mute(self) -> None:
        """Call nobody back from here on. `close` is still due."""
        self._is_over = True
        self._cancel_deadline()

    async def close(self) -> None:
        """Say goodbye (close_notify) and free everything: tasks, timers, buffers. Idempotent."""
        self.mute()
        running = [task for task in (self._task, self._dtls._task) if task is not None]
        if self._sctp is not None:
            await self._sctp.stop()
        await self._dtls.stop()
        await self._say_why()
        self._link.close()
        if self._task is not None:
            self._task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        # What SCTP began with ensure_future ends in its first step.
        await asyncio.sleep(0)
        self._let_go()

    def _let_go(self) -> None:
        """Cut every cycle, so that the session and its keys are freed now and not by a full collection."""
        self._dtls.remove_all_listeners()
        for emitter in (self._sctp, self._channel):
            if emitter is not None:
                emitter.remove_all_listeners()
        self._carrier.close()
        self._events = _NOBODY
        self._channel = self._task = None
        self._link.ssl = None

    async def _say_why(self) -> None:
        """After a failed handshake aiortc says nothing, and the peer would wait for its own time limit:
        send OpenSSL's alert, or close_notify when it is us who did not like the certificate.
        """
        if self._dtls.state == "failed" and self._link.ssl is not None:
            with contextlib.suppress(SSL.Error):
                self._link.ssl.shutdown()
            await self._link._send(b"")

    async def _run(self) -> None:
        """Handshake, then SCTP; what follows is up to aiortc's own task."""
        try:
            await self._dtls.start(RTCDtlsParameters(self._fingerprints))
        except Exception as error:  # noqa: BLE001  a strange certificate is the peer's fault, whatever it raises
            logger.info("DTLS handshake failed: %s", type(error).__name__)
            self._end("dtls_failed")
            return
        if self._dtls.state != "connected":
            self._end("dtls_failed")
            return
        self._link.end_handshake()
        if self._dtls._role == "client":
            self._link.settle()
        if self._is_over:
            return
        self._cancel_deadline()
        self._events.receive_keys(self._export_keys(), time.monotonic_ns())
        if self._sctp is not None and self._terms is not None:
            capabilities = RTCSctpCapabilities(maxMessageSize=self._terms.max_message_bytes)
            await self._sctp.start(capabilities, self._terms.remote_port)

    def _ran(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._loop.call_exception_handler({"message": "a session could not begin", "exception": error})
            self._end("dtls_failed")

    def _dtls_changed(self) -> None:
        state = self._dtls.state
        if state == "connecting":
            self._link.ssl = self._dtls._ssl
            cast(SSL.Connection, self._dtls._ssl).set_ciphertext_mtu(DTLS_MTU)
        elif state == "closed":
            self._end("remote_closed")

    def _end(self, reason: str) -> None:
        """Tell the owner once, from the loop and not out of aiortc's midst."""
        if not self._is_over:
            self._is_over = True
            self._cancel_deadline()
            self._loop.call_soon(self._events.peer_closed, reason)

    def _data_received(self) -> None:
        self._link.settle()
        self._events.record_received(time.monotonic_ns())

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _export_keys(self) -> SrtpKeys:
        """RFC 5764 §4.2: the client writes with the first key and salt, the server with the second."""
        ssl = cast(SSL.Connection, self._dtls._ssl)
        name = ssl.get_selected_srtp_profile()
        profile = next((p for p in SRTP_PROFILES if p.openssl_profile == name), None)
        if profile is None:
            raise UnavailableError(f"no key layout is known for SRTP profile {name!r}")
        size = 2 * (profile.key_length + profile.salt_length)
        material = ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        client, server = profile.get_key_and_salt(material, 0), profile.get_key_and_salt(material, 1)
        if self._dtls._role == "server":
            return SrtpKeys(name.decode(), receive=client, send=server)
        return SrtpKeys(name.decode(), receive=server, send=client)

    def _make_sctp(self, terms: ChannelTerms) -> RTCSctpTransport:
        sctp = RTCSctpTransport(cast(Any, self._carrier), DEFAULT_SCTP_PORT)
        sctp._rto = SCTP_RTO_INITIAL_S
        sctp._advertised_rwnd = RECEIVE_WINDOW_BYTES
        sctp._inbound_streams_max = MAX_STREAMS
        sctp.on("datachannel", self._channel_offered)
        if terms.open_label is not None:
            channel = RTCDataChannel(sctp, RTCDataChannelParameters(label=terms.open_label))
            channel.on("open", lambda: self._take(channel))
        return sctp

    def _channel_offered(self, channel: RTCDataChannel) -> None:
        is_taken = self._channel is not None and self._channel.readyState != "closed"
        if channel.label != CHANNEL_LABEL or is_taken:
            self._events.refuse(PeerReason.OTHER_CHANNEL)
            channel.close()
            return
        self._take(channel)

    def _take(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._message)
        self._loop.call_soon(self._if_alive, self._events.channel_opened)

    def _message(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._loop.call_soon(self._if_alive, self._events.receive_message_untrusted, message)
        else:
            self._events.refuse(PeerReason.BINARY_MESSAGE)

    def _if_alive(self, callback: Callable[..., None], *args: object) -> None:
        if not self._is_over:
            callback(*args)
