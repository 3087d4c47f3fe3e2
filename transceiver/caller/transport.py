"""One call's way to the server: sockets, ICE checks, DTLS, and the same lean audio path as the server's."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from core import stun
from core.addr import Endpoint
from core.demux import PacketKind, classify_untrusted, is_rtcp
from transceiver.caller.answers import CheckAnswers
from transceiver.caller.errors import CallError, Stage
from transceiver.caller.gaps import AudioGaps, Gap
from transceiver.caller.ice import CheckOutcome, IceClient, IceState, Nomination
from transceiver.caller.link import Links
from transceiver.media.keys import SrtpKeys
from transceiver.media.path import AudioPath
from transceiver.sdp import Answer, LocalDescription, Restarted
from transceiver.transport.certificate import Certificate
from transceiver.transport.channels import CHANNEL_LABEL
from transceiver.transport.peer import ChannelTerms, Peer

EARLY_PACKETS = 8
"""Media may overtake the end of the handshake by a packet or two."""


@dataclass(slots=True)
class Marks:
    """When each stage was through, monotonic ns; None while it is not."""

    ice_ns: int | None = None
    """First answered check."""
    dtls_ns: int | None = None
    """Keys for SRTP."""
    audio_ns: int | None = None
    """First authentic RTP packet."""


class Transport:
    """Set up by `start`; `ready` is done with the first authentic audio, `ended` when the call is over.

    The `PeerEvents` of its own peer.
    """

    def __init__(
        self,
        local: LocalDescription,
        answer: Answer,
        certificate: Certificate,
        nomination: Nomination,
        on_message: Callable[[str], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._local = local
        self._answer = answer
        self._links = Links(self._receive_untrusted)
        self._answers = CheckAnswers(local.ufrag, local.password)
        self.ice = IceClient(
            f"{answer.ufrag}:{local.ufrag}",
            answer.password,
            answer.candidates,
            time.monotonic_ns(),
            nomination,
        )
        terms = None
        if answer.sctp_port is not None:
            terms = ChannelTerms(answer.sctp_port, open_label=CHANNEL_LABEL)
        role: Literal["client", "server"] = "client" if answer.setup == "passive" else "server"
        self._peer = Peer(certificate, role, answer.fingerprints, self, terms)
        self._on_message = on_message
        self._timer: asyncio.TimerHandle | None = None
        self._early: deque[bytes] = deque(maxlen=EARLY_PACKETS)
        self._is_closed = False
        self._awaited: asyncio.Future[None] | None = None
        self.path: AudioPath | None = None
        """None before there are keys. Its statistics outlive the call."""
        self.marks = Marks()
        self.gaps = AudioGaps()
        """Between consecutive authentic RTP packets."""
        self._ended_ns: int | None = None
        self.moves = 0
        """How often another candidate took over."""
        self.restarts = 0
        """ICE restarts."""
        self.disconnected = asyncio.Event()
        """Set while the way seems to be lost: the time for an ICE restart."""
        self.connected = asyncio.Event()
        """Set while there is a way, and none is looked for."""
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()

    @property
    def local_address(self) -> Endpoint | None:
        """Where our packets leave from."""
        selected = self.ice.selected
        return None if selected is None else self._links.local(selected)

    @property
    def open_gap_ns(self) -> int:
        """Since the last authentic RTP packet, up to now or the end of the call; 0 when there was none."""
        return self.gaps.open_ns(self._ended_ns or time.monotonic_ns())

    @property
    def notable_gaps(self) -> list[Gap]:
        """The longest, in order of time, up to now or the end of the call."""
        return self.gaps.until(self._ended_ns or time.monotonic_ns())

    @property
    def stage(self) -> Stage:
        """What is under way."""
        if self.marks.ice_ns is None:
            return Stage.ICE
        if self.marks.dtls_ns is None:
            return Stage.DTLS
        return Stage.AUDIO if self.marks.audio_ns is None else Stage.CONVERSATION

    def start(self) -> None:
        """Send the first check."""
        self._poll_ice()

    def hear(self, now_ns: int) -> bytes | None:
        """The next 20 ms of the server; None before its first. Every 20 ms, once the keys are there."""
        assert self.path is not None
        return self.path.pull(now_ns)

    def say(self, pcm: bytes | None, now_ns: int) -> None:
        """The next 20 ms for the server, None being silence. Every 20 ms, once the keys are there."""
        assert self.path is not None
        for datagram in (self.path.push(pcm, now_ns), self.path.push_second(), self.path.poll_rtcp(now_ns)):
            if datagram is not None:
                self._send(datagram)

    def send_event(self, text: str) -> bool:
        """A message on the event channel; False when it is not open or full."""
        return self._peer.send_message(text)

    def rebind(self) -> None:
        """Go on from other source ports, as behind a NAT that has forgotten us."""
        self._links.rebind()

    def restart_ice(self, local: LocalDescription, restarted: Restarted) -> None:
        """Go on with the credentials that both sides have agreed on, by whatever address leads there now."""
        self.restarts += 1
        self._links.renew()
        candidates = restarted.candidates or self._answer.candidates
        self._answers.restart(local.ufrag, local.password)
        username = f"{restarted.ufrag}:{local.ufrag}"
        self.ice.restart(username, restarted.password, candidates, time.monotonic_ns())
        self._poll_ice()

    async def next_audio(self) -> None:
        """Returns with the next authentic audio packet. Raises CallError when the call ends before."""
        self._awaited = self._awaited or self._loop.create_future()
        either: set[asyncio.Future[None] | asyncio.Future[str]] = {self._awaited, self.ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self.ended.done():
            raise CallError(self.stage, self.ended.result())

    async def close(self) -> None:
        """Say goodbye in RTCP and DTLS, and free everything. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.path is not None:
            self._send(self.path.bye())
        await self._peer.close()
        self._links.close()
        if self.path is not None:
            self.path.close()
        if self._timer is not None:
            self._timer.cancel()
        self.end("closed")

    def _send(self, data: bytes) -> None:
        selected = self.ice.selected
        if selected is None or self._links.send(data, selected) or self.ice.is_disconnected:
            return
        self.ice.unreachable(selected, time.monotonic_ns())
        self._arm()

    def _poll_ice(self) -> None:
        now_ns = time.monotonic_ns()
        for endpoint, request in self.ice.poll(now_ns):
            if not self._links.send(request, endpoint):
                self.ice.unreachable(endpoint, now_ns)
        if self.ice.state is IceState.FAILED:
            self.end(self._why_ice_failed())
        else:
            self._arm()

    def _note_path(self) -> None:
        if self.ice.is_disconnected:
            self.disconnected.set()
            self.connected.clear()
        elif self.ice.state is IceState.CONNECTED:
            self.disconnected.clear()
            self.connected.set()

    def _why_ice_failed(self) -> str:
        if self.ice.is_gone:
            return "the transceiver does not have this call any more"
        if self.ice.selected is not None:
            return f"{self.ice.selected} has not answered for 30 s"
        tried = ", ".join(map(str, self._answer.candidates)) or "nothing, the answer has no candidate"
        return f"no candidate answered a check; tried {tried}"

    def _arm(self) -> None:
        self._note_path()
        if self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, self.ice.next_ns - time.monotonic_ns()) / 1e9
        self._timer = self._loop.call_later(delay_s, self._poll_ice)

    def _receive_untrusted(self, data: bytes, source: Endpoint) -> None:
        kind = classify_untrusted(data)
        if kind is PacketKind.STUN:
            self._receive_stun_untrusted(data, source)
        elif kind is PacketKind.DTLS:
            self._peer.receive_untrusted(data)
        elif kind is PacketKind.MEDIA:
            self._receive_media_untrusted(data)

    def _receive_stun_untrusted(self, data: bytes, source: Endpoint) -> None:
        if stun.is_binding_request_untrusted(data):
            response = self._answers.respond_untrusted(data, source)
            if response is not None:
                self._links.send(response, source)
            return
        before, was_disconnected = self.ice.selected, self.ice.is_disconnected
        outcome = self.ice.receive_untrusted(data, source, time.monotonic_ns())
        if outcome is CheckOutcome.REFUSED:
            self._poll_ice()  # which finds out should that have been the end
        if outcome is not CheckOutcome.ANSWERED:
            return
        selected = self.ice.selected
        if selected is not None and (selected != before or was_disconnected):
            self._links.keep_only(selected)
            self.moves += before not in (None, selected)
        if self.marks.ice_ns is None:
            self.marks.ice_ns = time.monotonic_ns()
            self._peer.start()
        self._poll_ice()

    def _receive_media_untrusted(self, data: bytes) -> None:
        if self.path is None:
            self._early.append(data)
            return
        now_ns = time.monotonic_ns()
        if self.path.receive_untrusted(data, now_ns) and not is_rtcp(data):
            self.ice.hear(now_ns)
            self.gaps.packet(int.from_bytes(data[2:4], "big"), now_ns)
            self._count_audio(now_ns)

    def _count_audio(self, now_ns: int) -> None:
        if self.marks.audio_ns is None:
            self.marks.audio_ns = now_ns
            if not self.ready.done():
                self.ready.set_result(None)
        if self._awaited is not None:
            self._awaited.set_result(None)
            self._awaited = None

    # PeerEvents

    def send_dtls(self, datagram: bytes) -> None:
        """See PeerEvents."""
        self._send(datagram)

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """See PeerEvents."""
        self.marks.dtls_ns = now_ns
        self.path = AudioPath(keys, self._answer.codec, self._local.ssrc, self._local.cname, now_ns)
        while self._early:
            self._receive_media_untrusted(self._early.popleft())

    def channel_opened(self) -> None:
        """See PeerEvents: whoever sends is told by `send_event` whether it is open."""

    def receive_message_untrusted(self, text: str) -> None:
        """See PeerEvents."""
        self._on_message(text)

    def record_received(self, now_ns: int) -> None:
        """See PeerEvents: ICE alone says here whether the server lives."""

    def refuse(self, reason: StrEnum) -> None:
        """See PeerEvents: a server's strange packets are not this probe's business."""

    def peer_closed(self, reason: str) -> None:
        """See PeerEvents."""
        self.end(reason)

    # The end

    def end(self, reason: str) -> None:
        """The call is over, for this reason; the first one counts."""
        self._ended_ns = self._ended_ns or time.monotonic_ns()
        if not self.ready.done():
            self.ready.set_exception(CallError(self.stage, reason))
            self.ready.exception()  # whoever waits gets it; when nobody does, it is no news
        if not self.ended.done():
            self.ended.set_result(reason)
