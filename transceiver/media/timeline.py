"""Where a stream's packets lie in media time, also when the sender's clock is not Opus's. Sans-IO.

RTP timestamps of Opus count 48 kHz whatever the audio rate (RFC 7587 §4.1), so one packet's timestamp is
the one before it and what that lasted, or more when the sender paused. Not every sender knows: some
count the 8 or 16 kHz of their microphone, or 90 kHz, or packets. Their sequence numbers still tell the
order, and the packets themselves how long they last; that is all that playing them takes.

Loss and pauses must not look like a foreign clock. So only packets with neighbouring sequence numbers
are compared; a pause is one that took as long as the timestamps say; and several in a row must disagree,
over a time in which the packets themselves came at the rate at which they play.
"""

from __future__ import annotations

from transceiver.media import RTP_CLOCK

_WRAP = 1 << 32
_HALF = 1 << 31
_EVIDENCE = 8
"""Pairs of packets in a row that speak against the clock that is assumed: 160 ms at 20 ms each."""
_TOLERANCE_SHIFT = 4
"""A timestamp fits when it is off by no more than 1/16 of a packet: a rounded millisecond in 20."""


class Timeline:
    """One incoming stream: extended sequence number and RTP timestamp to media time."""

    def __init__(self) -> None:
        self._has_begun = False
        # The newest packet by sequence number.
        self._sequence = self._timestamp = self._ticks = self._media = self._arrived_ns = 0
        self.is_foreign = False
        """Whether the sender's clock is plainly another, so that packets are placed by sequence."""
        self.doubts = 0
        """Pairs in a row that speak against `is_foreign`; while there are any, media times may be wrong."""
        self._doubted_since_ns = 0
        self._doubted_ticks = 0
        self.odd_packets = 0
        """Packets a part of a packet off where the clock is 48 kHz: rounded, or stamped by a timer."""
        self.foreign_packets = 0
        """Packets placed by sequence, because their timestamps count something else."""

    def forget(self) -> None:
        """The next packet is another stream's; the counters go on."""
        self._has_begun = self.is_foreign = False
        self.doubts = 0

    def place(self, sequence: int, timestamp: int, ticks: int, now_ns: int) -> int:
        """Media time, in unwrapped 48 kHz ticks, of a packet that lasts `ticks`.

        `sequence` is extended, `timestamp` of 32 bits.
        """
        if not self._has_begun:
            self._has_begun = True
            return self._go_on(sequence, timestamp, ticks, timestamp, now_ns)
        steps = sequence - self._sequence
        advance = (timestamp - self._timestamp + _HALF) % _WRAP - _HALF
        if steps == 1:
            if advance == self._ticks and not self.doubts and not self.is_foreign:
                self._sequence, self._timestamp, self._ticks = sequence, timestamp, ticks
                self._arrived_ns = now_ns
                self._media = media = self._media + advance
                return media
            self._judge(advance, ticks, now_ns)
        elif steps > 0:
            self._doubted_ticks += steps * self._ticks
        if self.is_foreign:
            advance = steps * self._ticks
            self.foreign_packets += 1
        media = self._media + advance
        return self._go_on(sequence, timestamp, ticks, media, now_ns) if steps > 0 else media

    def _go_on(self, sequence: int, timestamp: int, ticks: int, media: int, now_ns: int) -> int:
        self._sequence, self._timestamp, self._ticks = sequence, timestamp, ticks
        self._media, self._arrived_ns = media, now_ns
        return media

    def _judge(self, advance: int, ticks: int, now_ns: int) -> None:
        """What the successor of the newest packet says of the sender's clock."""
        lasted = self._ticks
        error = abs(advance - lasted)
        # Pauses are whole packets long, so what is off by less is no pause.
        if 0 < error < min(lasted, ticks) and not self.is_foreign:
            self.odd_packets += 1
        self._doubted_ticks += lasted
        fits = error <= lasted >> _TOLERANCE_SHIFT
        if fits is not self.is_foreign:
            self.doubts = 0
        elif fits or not self._is_pause(advance, now_ns):
            self._note_doubt(now_ns)

    def _is_pause(self, advance: int, now_ns: int) -> bool:
        """Whether the packet came when its timestamp says, and not right behind its predecessor."""
        elapsed = (now_ns - self._arrived_ns) * RTP_CLOCK // 1_000_000_000
        return advance > self._ticks and abs(advance - elapsed) < abs(self._ticks - elapsed)

    def _note_doubt(self, now_ns: int) -> None:
        if not self.doubts:
            self._doubted_since_ns, self._doubted_ticks = self._arrived_ns, self._ticks
        self.doubts += 1
        if self.doubts < _EVIDENCE:
            return
        elapsed = (now_ns - self._doubted_since_ns) * RTP_CLOCK // 1_000_000_000
        if not self.is_foreign and elapsed < self._doubted_ticks // 2:
            return  # a burst, which says nothing of rates
        if self.is_foreign or elapsed <= self._doubted_ticks * 3 // 2:
            self.is_foreign = not self.is_foreign
        self.doubts = 0
