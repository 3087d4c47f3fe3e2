"""What a receiver knows of one sender: sequence, loss, jitter (RFC 3550 §6.4.1, appendix A). Sans-IO."""

from __future__ import annotations

from transceiver.media import RTP_CLOCK
from transceiver.media.rtcp import ReportBlock

_SEQUENCES = 1 << 16
_MAX_DROPOUT = 3000
_MAX_MISORDER = 100
"""Appendix A.1's bounds: a larger jump must prove itself by a second packet that follows it.

Its initial probation is left out: these packets have passed SRTP, which is better proof.
"""
_MAX_LOST = 0x7FFFFF


def ntp_from_ns(now_ns: int) -> int:
    """A monotonic time in 64-bit NTP format. RFC 3550 §6.4.1 allows any clock; only differences count."""
    seconds, rest_ns = divmod(now_ns, 1_000_000_000)
    return (seconds & 0xFFFFFFFF) << 32 | (rest_ns << 32) // 1_000_000_000


def round_trip_ns(block: ReportBlock, now_ns: int) -> int | None:
    """The round trip that a report block about our own sender shows; None before it knows an SR."""
    if not block.last_report:
        return None
    elapsed = (ntp_from_ns(now_ns) >> 16) - block.last_report - block.delay & 0xFFFFFFFF
    # A negative result is a far end's rounding or a lie, not 18 hours.
    return elapsed * 1_000_000_000 >> 16 if elapsed < 1 << 31 else None


class Reception:
    """Receive statistics of one SSRC, from its first packet on."""

    def __init__(self, ssrc: int, sequence: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        self.jitter = 0.0
        """Interarrival jitter in ticks of the media clock."""
        self._transit: int | None = None
        self._sender_report: tuple[int, int] | None = None
        self._start(sequence)

    def _start(self, sequence: int) -> None:
        self._base = self._highest = sequence
        self._suspect: int | None = None
        self._reported = (0, 0)
        self._base_received = self.received

    def update(self, sequence: int, timestamp: int, now_ns: int) -> int | None:
        """Count a packet. Its extended sequence number, or None for one that is out of any order."""
        delta = (sequence - self._highest + _SEQUENCES // 2) % _SEQUENCES - _SEQUENCES // 2
        if not -_MAX_MISORDER <= delta < _MAX_DROPOUT:
            if sequence != self._suspect:
                self._suspect = (sequence + 1) % _SEQUENCES
                return None
            # Two in a row: the sender has restarted. Extended numbers go on rising all the same.
            self._start((self._highest // _SEQUENCES + 1) * _SEQUENCES + sequence)
            self._transit = None
            delta = 0
        extended = self._highest + delta
        self._highest = max(self._highest, extended)
        # The first to arrive need not be the first that was sent.
        self._base = min(self._base, extended)
        self.received += 1
        self._measure_jitter(timestamp, now_ns)
        return extended

    def _measure_jitter(self, timestamp: int, now_ns: int) -> None:
        transit = now_ns * RTP_CLOCK // 1_000_000_000 - timestamp & 0xFFFFFFFF
        if self._transit is not None:
            change = (transit - self._transit + (1 << 31)) % (1 << 32) - (1 << 31)
            self.jitter += (abs(change) - self.jitter) / 16
        self._transit = transit

    @property
    def expected(self) -> int:
        """Packets that the sender has sent, by its sequence numbers."""
        return self._highest - self._base + 1

    @property
    def lost(self) -> int:
        """Expected less received since the sender's last restart; negative with duplicates."""
        return self.expected - (self.received - self._base_received)

    def note_sender_report(self, ntp: int, now_ns: int) -> None:
        """Remember an SR, for the round-trip time that its sender computes from our next report."""
        self._sender_report = (ntp >> 16 & 0xFFFFFFFF, now_ns)

    def report(self, now_ns: int) -> ReportBlock:
        """The block for the next report; the loss fraction counts from the one before."""
        expected, lost = self.expected, self.lost
        expected_then, lost_then = self._reported
        self._reported = (expected, lost)
        interval, lost_interval = expected - expected_then, lost - lost_then
        fraction = min(255, max(0, lost_interval << 8) // interval) if interval > 0 else 0
        last_report, heard_ns = self._sender_report or (0, now_ns)
        return ReportBlock(
            self.ssrc,
            fraction,
            max(-_MAX_LOST - 1, min(_MAX_LOST, lost)),
            self._highest & 0xFFFFFFFF,
            min(int(self.jitter), 0xFFFFFFFF),
            last_report,
            # A tick's time is its deadline, and a report may have come between that and the tick.
            min((max(0, now_ns - heard_ns) << 16) // 1_000_000_000, 0xFFFFFFFF),
        )
