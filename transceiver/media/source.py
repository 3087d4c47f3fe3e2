"""Which of a client's streams is the caller. Sans-IO.

A client that replaces its track, or restarts its encoder, goes on under another SSRC without a pause,
and must be heard at once. One that sends two streams at the same time must not be heard as their mixture.
What tells them apart is whether the first goes on. So a new SSRC takes over when the caller's next packet
is plainly overdue; what came until then is kept, so that nothing is lost by the wait. One that came
between the caller's packets for a while is another stream, and so is one whose predecessor returns after
all: such a stream is heard only when the caller has been silent.
"""

from __future__ import annotations

from typing import NamedTuple

from transceiver.media import RTP_CLOCK
from transceiver.media.opus import packet_ticks
from transceiver.media.rtp import RtpPacket

SSRC_TAKEOVER_SILENCE_NS = 200_000_000
"""Any other stream becomes the caller once the caller has been silent for this long."""
_TRIAL_NS = 250_000_000
"""What a new SSRC has to be alone for a moment. A client that changes streams is so within two packets;
with two at once, loss would have to fall in that time."""
_MIN_INTERVAL_TICKS = RTP_CLOCK * 20 // 1000
"""Shorter packets come in pairs, or jitter by as much."""
_MAX_KEPT = 16
_RETURN_NS = 400_000_000
_RETURN_PACKETS = 3
"""So many packets of the last caller within that time are no stragglers: it never stopped."""
_MAX_BESIDE = 16
"""SRTP takes no more SSRCs of one session either."""


class Heard(NamedTuple):
    """A packet and when it came."""

    packet: RtpPacket
    at_ns: int


class Sources:
    """The choice. Give it every authentic packet that could be the caller's."""

    def __init__(self) -> None:
        self._caller: int | None = None
        self._heard_ns = 0
        self._rival: int | None = None
        self._rival_since_ns = 0
        self._kept: list[Heard] = []
        self._newest: RtpPacket | None = None
        """Of the caller."""
        self._last_caller: int | None = None
        """Until `_return_until_ns`, while it may turn out not to have stopped."""
        self._return_until_ns = 0
        self._returned = 0
        self._beside: set[int] = set()
        """Streams that are no successors: they were sent beside a caller."""
        self.ignored = 0
        """Packets that will not be heard."""

    def choose(self, packet: RtpPacket, now_ns: int) -> tuple[Heard, ...]:
        """The packets to play now: none of another stream's, several when this one shows a new caller."""
        if packet.ssrc == self._caller:
            self.go_on(packet, now_ns)
            return (Heard(packet, now_ns),)
        if self._caller is None or now_ns - self._heard_ns >= SSRC_TAKEOVER_SILENCE_NS:
            return self._take_over(packet, now_ns)
        if packet.ssrc == self._last_caller and now_ns < self._return_until_ns:
            return self._straggler(packet, now_ns)
        if packet.ssrc in self._beside:
            self.ignored += 1
            return ()
        return self._rival_packet(packet, now_ns)

    def go_on(self, packet: RtpPacket, now_ns: int) -> None:
        """A packet that is known to be the caller's, without the choice."""
        self._newest, self._heard_ns = packet, now_ns
        if self._kept:
            self._drop_kept()

    def release(self, ssrcs: tuple[int, ...]) -> None:
        """These said goodbye (RTCP BYE): what comes next need not wait for the caller."""
        if self._caller in ssrcs:
            self._heard_ns -= SSRC_TAKEOVER_SILENCE_NS

    def _rival_packet(self, packet: RtpPacket, now_ns: int) -> tuple[Heard, ...]:
        if packet.ssrc != self._rival:
            self._drop_kept()
            self._rival, self._rival_since_ns = packet.ssrc, now_ns
        elif now_ns - self._rival_since_ns > _TRIAL_NS:
            self._set_beside(packet.ssrc)
            self.ignored += 1
            return ()
        if not self._kept or not self._is_overdue(now_ns):
            self._keep(packet, now_ns)
            return ()
        self._last_caller, self._returned = self._caller, 0
        self._return_until_ns = now_ns + _RETURN_NS
        return self._take_over(packet, now_ns)

    def _straggler(self, packet: RtpPacket, now_ns: int) -> tuple[Heard, ...]:
        self._returned += 1
        if self._returned < _RETURN_PACKETS:
            self.ignored += 1
            return ()
        if self._caller is not None:
            self._set_beside(self._caller)
        self._last_caller = None
        return self._take_over(packet, now_ns)

    def _take_over(self, packet: RtpPacket, now_ns: int) -> tuple[Heard, ...]:
        self._caller, self._newest, self._heard_ns = packet.ssrc, packet, now_ns
        if self._rival != packet.ssrc or now_ns - self._rival_since_ns > _TRIAL_NS:
            self._drop_kept()
        heard = (*self._kept, Heard(packet, now_ns))
        self._rival, self._kept = None, []
        return heard

    def _is_overdue(self, now_ns: int) -> bool:
        """Whether the caller's next packet plainly is."""
        lasts = packet_ticks(self._newest.payload) if self._newest is not None else 0
        ticks = (now_ns - self._heard_ns) * RTP_CLOCK // 1_000_000_000
        return ticks >= max(lasts, _MIN_INTERVAL_TICKS) * 7 // 4

    def _keep(self, packet: RtpPacket, now_ns: int) -> None:
        if len(self._kept) == _MAX_KEPT:
            self._kept.pop(0)
            self.ignored += 1
        self._kept.append(Heard(packet, now_ns))

    def _set_beside(self, ssrc: int) -> None:
        self._rival = None
        self._drop_kept()
        if len(self._beside) < _MAX_BESIDE:
            self._beside.add(ssrc)

    def _drop_kept(self) -> None:
        self.ignored += len(self._kept)
        self._kept = []
