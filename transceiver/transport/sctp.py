"""SCTP over a session's DTLS association.

aiortc's RTCSctpTransport stands on `Carrier` in place of the DTLS object, so that what a caller sends is
looked at before, and nothing that it provokes gets out. `Association` is that transport with what clients
do and aiortc does not expect; `channels` chooses among what they open.
"""

# ruff: noqa: SLF001 - what aiortc's objects ask of the transport below them has names with underscores

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from enum import StrEnum
from typing import Any, Protocol, cast

from OpenSSL import SSL

from transceiver.transport.reasons import ChannelReason
from transceiver.transport.rtc import (
    DATA_CHANNEL_OPEN,
    WEBRTC_BINARY,
    WEBRTC_BINARY_EMPTY,
    WEBRTC_DCEP,
    WEBRTC_STRING,
    WEBRTC_STRING_EMPTY,
    AbortChunk,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsTransport,
    RTCSctpTransport,
)
from transceiver.transport.sctp_guard import (
    MAX_STREAMS,
    carries_data_untrusted,
    find_fault_untrusted,
    read_initiate_tag_untrusted,
    read_verification_tag_untrusted,
)

logger = logging.getLogger(__name__)

DEFAULT_SCTP_PORT = 5000
RECEIVE_WINDOW_BYTES = 524_288
"""Twice the longest message that we take."""
MAX_FRAGMENTS = 1024
"""Pieces of messages that may wait for their missing ones, and chunks received out of order."""
MAX_HELD_MESSAGES = 64
"""Messages of channels that were opened again and wait for the stream's reset."""
MAX_LABEL_BYTES = 256
"""Of a channel's label; the rest says no more about it."""
SCTP_RTO_INITIAL_S = 1.0
"""RFC 9260 §16; aiortc waits the 3 s of RFC 4960 before it repeats what was lost."""

_OPEN = struct.Struct("!BBHLHH")
_MESSAGES = frozenset({WEBRTC_STRING, WEBRTC_STRING_EMPTY, WEBRTC_BINARY, WEBRTC_BINARY_EMPTY})
_USER_INITIATED_ABORT = 12
"""RFC 9260 §3.3.10.12."""


class Association(RTCSctpTransport):
    """An association, as aiortc has it, which also takes what clients in the world do with channels.

    A message on a stream that nobody opened makes a channel there, as `negotiated: true` has no OPEN.
    OPEN on the stream of an open channel takes its place: not every client resets streams. After the
    client's reset and before ours is done, what comes on a stream is held (RFC 8831 §6.7).
    A `passive` one sends no INIT, and waits for the client's.
    """

    def __init__(self, carrier: Carrier, *, is_passive: bool) -> None:
        super().__init__(cast(Any, carrier), DEFAULT_SCTP_PORT)
        self._is_passive = is_passive
        self._held: dict[int, list[tuple[int, bytes]]] = {}
        self._rto = SCTP_RTO_INITIAL_S
        self._advertised_rwnd = RECEIVE_WINDOW_BYTES
        self._inbound_streams_max = MAX_STREAMS
        self.farewell = ""
        """What an ABORT of ours gives as its reason."""

    @property
    def is_opening(self) -> bool:
        """Whether neither side's INIT has led to an association yet."""
        return self._association_state in (self.State.COOKIE_WAIT, self.State.COOKIE_ECHOED)

    @property
    def is_established(self) -> bool:
        """Whether the association stands."""
        return self._association_state == self.State.ESTABLISHED

    @property
    def is_closed(self) -> bool:
        """Whether there is none."""
        return self._association_state == self.State.CLOSED

    @property
    def is_excessive(self) -> bool:
        """Whether a peer ignores the window that it was given, or sends what never becomes a message."""
        fragments = sum(len(stream.reassembly) for stream in self._inbound_streams.values())
        return (
            self._advertised_rwnd < 0
            or fragments > MAX_FRAGMENTS
            or len(self._sack_misordered) > MAX_FRAGMENTS
        )

    def let_go(self) -> None:
        """End without a word to the other side, which has forgotten this association."""
        self._set_state(self.State.CLOSED)

    async def _init(self) -> None:
        if not self._is_passive:
            await super()._init()

    async def _abort(self) -> None:
        chunk = AbortChunk()
        if self.farewell:
            chunk.params.append((_USER_INITIATED_ABORT, self.farewell.encode()))
        await self._send_chunk(chunk)

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        if stream_id in self._held or stream_id in self._data_channel_inbound_reset:
            self._hold(stream_id, pp_id, data)
        else:
            await self._take(stream_id, pp_id, data)

    async def _take(self, stream_id: int, pp_id: int, data: bytes) -> None:
        channel = self._data_channels.get(stream_id)
        if pp_id == WEBRTC_DCEP and data[:1] == bytes([DATA_CHANNEL_OPEN]) and channel is not None:
            if channel.readyState == "closing":
                return  # we do not want it, and the client has yet to hear so
            self._data_channel_closed(stream_id)
        if pp_id == WEBRTC_DCEP:
            data = _repair_labels_untrusted(data)
        if pp_id in _MESSAGES and channel is None:
            channel = RTCDataChannel(self, RTCDataChannelParameters(negotiated=True, id=stream_id))
            self.emit("datachannel", channel)
        if pp_id == WEBRTC_STRING and channel is not None:
            channel.emit("message", data.decode(errors="replace"))  # as a browser would, and not in silence
        else:
            await super()._data_channel_receive(stream_id, pp_id, data)

    def _hold(self, stream_id: int, pp_id: int, data: bytes) -> None:
        if sum(map(len, self._held.values())) >= MAX_HELD_MESSAGES:
            raise ValueError("too much for a stream that is being reset")
        self._held.setdefault(stream_id, []).append((pp_id, data))

    def _data_channel_close(self, channel: RTCDataChannel) -> None:
        super()._data_channel_close(channel)
        channel.emit("closing")

    def _data_channel_closed(self, stream_id: int) -> None:
        super()._data_channel_closed(stream_id)
        if stream_id in self._held:
            asyncio.ensure_future(self._replay(stream_id))  # noqa: RUF006  ends in its first step

    async def _replay(self, stream_id: int) -> None:
        """What was held, in order: what comes meanwhile is still appended."""
        held = self._held.get(stream_id, [])
        try:
            while held and not self.is_closed:
                await self._take(stream_id, *held.pop(0))
        finally:
            self._held.pop(stream_id, None)


def _repair_labels_untrusted(message: bytes) -> bytes:
    """A DATA_CHANNEL_OPEN (RFC 8832 §5.1) whose label and protocol are UTF-8, whatever they were: aiortc as
    a client counts characters where it should count bytes, and as a server drops what it cannot decode.
    """
    if message[:1] != bytes([DATA_CHANNEL_OPEN]) or len(message) < _OPEN.size:
        return message
    *fixed, label_size, protocol_size = _OPEN.unpack_from(message)
    protocol_at = _OPEN.size + label_size
    texts = message[_OPEN.size : protocol_at], message[protocol_at : protocol_at + protocol_size]
    label, protocol = (text[:MAX_LABEL_BYTES].decode(errors="replace") for text in texts)
    encoded = label.encode(), protocol.encode()
    return _OPEN.pack(*fixed, *map(len, encoded)) + b"".join(encoded)


class CarrierEvents(Protocol):
    """Whoever has a `Carrier`, as it sees it."""

    def data_received(self) -> None:
        """An authentic record, whatever is in it."""

    def refuse(self, reason: StrEnum) -> None:
        """Something was dropped: a `ChannelReason` or `SctpReason`."""

    async def make_successor(self) -> Association:
        """A passive association, started, beside the one that stands."""

    def succeeded(self, successor: Association) -> None:
        """The client has started anew: this one stands now, the other is over."""


class Carrier:
    """The DTLS transport as `Association` sees it, with the guard in between, and with SCTP's restart."""

    def __init__(self, dtls: RTCDtlsTransport, events: CarrierEvents) -> None:
        self._dtls = dtls
        self._events = events
        self._sctp: Association | None = None
        self._successor: Association | None = None

    @property
    def state(self) -> str:
        """State of DTLS, in aiortc's words."""
        return self._dtls.state

    @property
    def _role(self) -> str:
        return self._dtls._role

    def _register_data_receiver(self, sctp: Association) -> None:
        if self._sctp is None:  # a successor is not the receiver before it succeeds
            self._sctp = sctp
            self._dtls._register_data_receiver(self)

    def _unregister_data_receiver(self, sctp: Association) -> None:
        if sctp is self._sctp:
            self._sctp = self._successor = None
            self._dtls._unregister_data_receiver(self)

    async def _send_data(self, data: bytes) -> None:
        # SCTP's timers may still fire while the session ends, and the other side may have shut DTLS down.
        if self.state == "connected":
            with contextlib.suppress(SSL.Error):
                await self._dtls._send_data(data)

    def close(self) -> None:
        """Let go of the owner, which has a way to us: a cycle would live until a full collection."""
        self._events = _NOBODY
        self._sctp = self._successor = None

    async def _handle_data(self, data: bytes) -> None:
        """RTCDtlsTransport reads one record per datagram; the others of this one are read here."""
        while True:
            self._events.data_received()
            await self._deliver_untrusted(data)
            try:
                data = cast(SSL.Connection, self._dtls._ssl).recv(2048)
            except SSL.ZeroReturnError:
                raise ConnectionError from None  # close_notify, as RTCDtlsTransport itself reports it
            except SSL.Error:
                return

    async def _deliver_untrusted(self, packet: bytes) -> None:
        fault = find_fault_untrusted(packet)
        if fault is not None:
            self._events.refuse(fault)
            return
        sctp = None if self._sctp is None else await self._route_untrusted(packet, self._sctp)
        if sctp is None:
            return
        try:
            await sctp._handle_data(packet)
        except Exception as error:  # noqa: BLE001  aiortc raises whatever a strange packet leads it to
            logger.debug("SCTP packet dropped: %s", type(error).__name__)
            self._events.refuse(ChannelReason.UNPROCESSABLE)
        if sctp is self._successor and sctp.is_established:
            self._succeed(sctp)
        if carries_data_untrusted(packet) and sctp.is_excessive:
            self._events.refuse(ChannelReason.EXCESSIVE)
            await sctp.stop()

    async def _route_untrusted(self, packet: bytes, sctp: Association) -> Association | None:
        """Which association a packet is for. An INIT with a tag of its own is of a client that has started
        anew (RFC 9260 §5.2.2): another association answers, and takes the place of the one that stands when
        the cookie has come back; until then nothing of that one changes.
        """
        tag, successor = read_initiate_tag_untrusted(packet), self._successor
        if tag is None:
            is_for_it = successor is not None and (
                read_verification_tag_untrusted(packet) == successor._local_verification_tag
            )
            return successor if is_for_it else sctp
        if sctp.is_opening:
            return sctp
        if tag == sctp._remote_verification_tag and not sctp.is_closed:
            return None  # the network has delivered it twice, or late
        if successor is None or tag != successor._remote_verification_tag:
            successor = self._successor = await self._events.make_successor()
        return successor

    def _succeed(self, successor: Association) -> None:
        if self._sctp is not None:
            self._sctp.let_go()
        self._sctp, self._successor = successor, None
        self._events.succeeded(successor)


class _Nobody(CarrierEvents):
    """After the end."""

    def data_received(self) -> None:
        pass

    def refuse(self, reason: StrEnum) -> None:
        pass

    async def make_successor(self) -> Association:
        raise AssertionError("there is no association to succeed")

    def succeeded(self, successor: Association) -> None:
        pass


_NOBODY = _Nobody()
