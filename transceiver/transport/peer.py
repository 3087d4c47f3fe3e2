"""DTLS, SCTP and the event channel of one session, by aiortc.

aiortc's DTLS object reads from and writes to a transport with four members; `Link` is that, between it
and our socket. What is above it is in `sctp`. Media never comes here.

    datagrams ⇄ Link ⇄ RTCDtlsTransport ⇄ Carrier ⇄ Association ⇄ Channels
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

from OpenSSL import SSL

from transceiver.media.keys import SrtpKeys
from transceiver.transport.certificate import Certificate, Dtls
from transceiver.transport.channels import Channels
from transceiver.transport.dtls_alert import (
    Secrets,
    could_do_dtls13,
    offers_dtls13_untrusted,
    seal_error,
)
from transceiver.transport.dtls_link import DTLS_MTU, GOODBYE_AFTER_S, PARTING_AFTER_S, Link
from transceiver.transport.keying import export_keys
from transceiver.transport.reasons import PeerReason
from transceiver.transport.rtc import (
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCSctpCapabilities,
)
from transceiver.transport.sctp import Association, Carrier

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 20.0
"""Room for four retransmissions, which come after 1, 3, 7 and 15 s (RFC 6347 §4.2.4.1)."""
SEND_BUFFER_BYTES = 65_536
"""Messages that may wait for a slow peer."""


class PeerEvents(Protocol):
    """Whoever has a `Peer`, as the peer sees it. After `mute` it is told of no message, opening or end."""

    def send_dtls(self, datagram: bytes) -> None:
        """A datagram for the other side; it may be lost."""

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """The handshake is done, and the other's certificate is the one that was signaled. Once."""

    def channel_opened(self) -> None:
        """Messages can be sent. Again, should the other side open another channel in its place."""

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
        self._dtls = Dtls(cast(Any, self._link), [certificate])
        self._dtls._set_role(role)
        self._dtls.on("statechange", self._dtls_changed)
        self._carrier = Carrier(self._dtls, self)
        self._channels = Channels(self)
        self._sctp = None if channel is None else self._make_sctp(channel)
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_over = False
        self._offers_dtls13 = False

    def hand_over(self, events: PeerEvents) -> None:
        """Tell `events` from here on."""
        self._events = events
        self._link.send_by(events.send_dtls)

    def repeat(self) -> None:
        """Send the latest flight of the handshake again, now: to where it has not been, say."""
        self._link.repeat()

    async def drop(self) -> None:
        """`close` without a goodbye, from a handshake that was nobody's."""
        self.mute()
        self._link.close()
        await self.close()

    def start(self) -> None:
        """Begin the handshake: as the client, send a ClientHello; as the server, wait for one."""
        if self._task is not None or self._is_over:
            return
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._ran)
        self._deadline = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self._end, "dtls_failed")

    def receive_untrusted(self, datagram: bytes) -> None:
        """Take a DTLS datagram. One that comes before `start` waits; one too many is dropped."""
        if self._dtls.state != "connected":
            self._offers_dtls13 |= offers_dtls13_untrusted(datagram)
        if not self._is_over and not self._link.put(datagram):
            self._events.refuse(PeerReason.INBOX_FULL)

    def send_message(self, text: str) -> bool:
        """False, and nothing sent, when the channel is not open, its buffer full or the text too long."""
        return not self._is_over and self._send_text(text)

    def _send_text(self, text: str) -> bool:
        channel, terms = self._channels.current, self._terms
        size = len(text.encode())
        if terms is None or channel is None or channel.readyState != "open":
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

    async def part(self, last_words: str | None, cause: str, *, is_asked: bool) -> None:
        """Say goodbye so that it is heard though packets are lost, and then `close`: a last message, an ABORT
        that gives `cause` (RFC 9260 §3.3.10.12) and an alert, each repeated; takes a second. The alert is
        close_notify, or an error where the other side has not asked for this, and it speaks DTLS 1.3. Who
        never had keys is told nothing.
        """
        self.mute()
        if self._dtls.state == "connected":
            if last_words is not None and self._sctp is not None and self._send_text(last_words):
                self._link.remember()
                await self._sctp._data_channel_flush()
                await self._link.say_again(PARTING_AFTER_S)
            if self._sctp is not None:
                self._sctp.farewell = cause
            self._link.remember()
            await self._say_goodbye(is_error=not is_asked and self._acts_on_alerts)
            await self._link.say_again(GOODBYE_AFTER_S)
        await self.close()

    async def close(self) -> None:
        """Say goodbye once (close_notify) and free everything: tasks, timers, buffers. Idempotent."""
        self.mute()
        running = [task for task in (self._task, self._dtls._task) if task is not None]
        await self._say_goodbye()
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
        if self._sctp is not None:
            self._sctp.remove_all_listeners()
        self._channels.close()
        self._carrier.close()
        self._events = _NOBODY
        self._task = None
        self._link.ssl = None

    async def _say_goodbye(self, *, is_error: bool = False) -> None:
        if self._sctp is not None:
            await self._sctp.stop()
        if self._dtls.state == "failed":
            await self._say_why()
            return
        if is_error:
            await self._say_error()
        await self._dtls.stop()

    async def _say_error(self) -> None:
        """Send an error alert in place of close_notify, which stays where the cipher has no other. OpenSSL
        takes what it was asked for as sent, and says nothing more.
        """
        ssl = cast(SSL.Connection, self._dtls._ssl)
        with contextlib.suppress(SSL.Error):
            ssl.shutdown()
            closing = ssl.bio_read(DTLS_MTU)
            secrets = Secrets.of(ssl, "client" if self._dtls._role == "client" else "server")
            await self._link._send(seal_error(secrets, closing) or closing)

    @property
    def _acts_on_alerts(self) -> bool:
        if self._dtls._role == "server":
            return self._offers_dtls13
        return could_do_dtls13(cast(SSL.Connection, self._dtls._ssl).server_random() or b"")

    async def _say_why(self) -> None:
        """After a failed handshake aiortc says nothing, and the peer would wait for its own time limit:
        send OpenSSL's alert, or close_notify when it is us who did not like the certificate.
        """
        if self._link.ssl is not None:
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
        ssl = cast(SSL.Connection, self._dtls._ssl)
        keys = export_keys(ssl, is_server=self._dtls._role == "server")
        self._events.receive_keys(keys, time.monotonic_ns())
        if self._sctp is not None and self._terms is not None:
            await self._start_sctp(self._sctp, self._terms)

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

    # What SCTP brings

    def data_received(self) -> None:
        """See CarrierEvents."""
        self._link.settle()
        self._events.record_received(time.monotonic_ns())

    def refuse(self, reason: StrEnum) -> None:
        """See CarrierEvents and ChannelEvents."""
        self._events.refuse(reason)

    async def make_successor(self) -> Association:
        """See CarrierEvents."""
        assert self._terms is not None, "there is an association that it succeeds"
        successor = Association(self._carrier, is_passive=True)
        successor.on("datachannel", self._channels.offer)
        await self._start_sctp(successor, self._terms)
        return successor

    def succeeded(self, successor: Association) -> None:
        """See CarrierEvents."""
        self._sctp = successor

    def event_channel_opened(self) -> None:
        """See ChannelEvents."""
        self._loop.call_soon(self._if_alive, self._events.channel_opened)

    def message_received(self, text: str) -> None:
        """See ChannelEvents."""
        self._loop.call_soon(self._if_alive, self._events.receive_message_untrusted, text)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_sctp(self, terms: ChannelTerms) -> Association:
        sctp = Association(self._carrier, is_passive=False)
        sctp.on("datachannel", self._channels.offer)
        if terms.open_label is not None:
            channel = RTCDataChannel(sctp, RTCDataChannelParameters(label=terms.open_label))
            channel.on("open", lambda: self._channels.offer(channel))
        return sctp

    async def _start_sctp(self, sctp: Association, terms: ChannelTerms) -> None:
        capabilities = RTCSctpCapabilities(maxMessageSize=terms.max_message_bytes)
        await sctp.start(capabilities, terms.remote_port)

    def _if_alive(self, callback: Callable[..., None], *args: object) -> None:
        if not self._is_over:
            callback(*args)
