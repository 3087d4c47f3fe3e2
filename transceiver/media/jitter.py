"""The jitter buffer: packets in when they come, what to play out every 20 ms. Sans-IO; of a payload it
reads only how long it lasts and whether it carries FEC.

The buffer keeps one number, the playout offset: pull time minus media time. A packet's *slack* is how
long before its turn it arrived, so the smallest slack of the last while is what could be given back,
and a negative one is what was missing. Media time moves on with every pull; what a lost packet should
have filled is concealed in its own time, so a loss never adds delay. Only two things do: an empty
buffer whose next packet then turns out to be late and not lost, and an `adjustment` of -1 after a
packet that came when its time had been played.

Packets are in the order of their sequence numbers, and a sender's clock is not taken at its word; see
`timeline`. All times are monotonic nanoseconds, all media times unwrapped 48 kHz ticks.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from transceiver.media import FRAME_NS, RTP_CLOCK, RTP_FRAME_TICKS
from transceiver.media.opus import has_fec, packet_ticks
from transceiver.media.timeline import Timeline

HEADROOM_NS = FRAME_NS
"""The least slack to aim for. One frame: a lost packet's in-band copy, in the packet after it, is then
still in time. With the phase between arrival and pull this makes 20–40 ms of delay."""
MAX_DEPTH_TICKS = RTP_CLOCK * 400 // 1000
"""More than this is never held; the oldest goes first."""
MAX_PACKETS = 64

_WINDOW_NS = 500_000_000
_MARGIN_NS = 2_000_000
_MAX_HOLD = 8
"""Windows: a path that was late again soon after a shrink is believed for up to 4 s."""
_REGRET_NS = 10_000_000_000
_PATIENCE = 10
"""Pulls to wait for a quiet moment before a frame is taken out or put in all the same."""
_HASTE = 3
"""The same, when several frames are to go."""
_MAX_EARLY_NS = 600_000_000
_MAX_LATE_NS = 2_000_000_000
"""A packet further than this from its turn is on another timeline: the sender has started again."""
_SHORTEST_TICKS = 120
"""Every Opus frame is a multiple of 2.5 ms (RFC 6716 §2.1.4)."""
_DTX_BYTES = 2
"""Packets up to this size carry no frame: the sender pauses (RFC 6716 §2.1.9)."""


def ticks_ns(ticks: int) -> int:
    """Media time, in nanoseconds."""
    return ticks * 62_500 // 3


class Arrival(Enum):
    """What became of an inserted packet."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    LATE = "late"
    MALFORMED = "malformed"
    RESTART = "restart"
    """Kept, and everything before it forgotten."""


class Action(Enum):
    """What to play next."""

    DECODE = "decode"
    """The packet, without its first `skip` ticks."""
    DECODE_FEC = "decode_fec"
    """The `ticks` before the packet, from its in-band FEC; the packet itself comes next."""
    CONCEAL = "conceal"
    """`ticks` that are lost, or late."""
    SILENCE = "silence"
    """`ticks` in which the sender sent nothing on purpose (DTX)."""


class Step(NamedTuple):
    """An action with its operands."""

    action: Action
    ticks: int
    packet: bytes = b""
    skip: int = 0
    arrived_ns: int = 0
    """When `packet` came, without what jitter has held it back."""


class _Packet(NamedTuple):
    sequence: int
    timestamp: int
    """Media time."""
    ticks: int
    payload: bytes
    arrived_ns: int
    """When it came; or earlier, when it would have come, had it been as fast as the fastest of late."""

    @property
    def end(self) -> int:
        return self.timestamp + self.ticks


_STALL = Step(Action.CONCEAL, RTP_FRAME_TICKS)
_PAUSE = Step(Action.SILENCE, RTP_FRAME_TICKS)


class JitterBuffer:
    """One incoming stream. Per pull: `tick`, then `pop` until 20 ms are together."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        """For its counters; not to be driven by others."""
        self._packets: list[_Packet] = []
        """By sequence number."""
        self._start_ns: int | None = None
        self._position: int | None = None
        """Media time of what `pop` gives next; None until playout starts."""
        self._stalled = 0
        """Ticks concealed while the buffer was empty, for which the position has not moved."""
        self._offset_ns = 0
        self._newest_timestamp = 0
        self._last: _Packet | None = None
        """What was played last."""
        self._is_seamless = False
        """Whether the position is where `_last` ended: nothing has been made up since."""
        self._pausing = False
        self._worst_transit_ns = self._best_transit_ns = 0
        self._former_best_ns = 0
        """Of the window before this one."""
        self._has_window = False
        """Whether there was one on this timeline."""
        self._window_end_ns: int | None = None
        self._calm_windows = 0
        self._spare_frames = 0
        self._hold = 1
        self._shrunk_ns = -_REGRET_NS
        self.surplus = 0
        """Frames to take out; -1 is one to put in. See `adjustment`."""
        self._waiting = 0
        self.discarded = 0
        """Packets thrown away because more than `MAX_DEPTH_TICKS` were waiting."""
        self.slack_ns = HEADROOM_NS
        """Smoothed delay from arrival to playout."""
        self.target_ns = HEADROOM_NS
        """Slack that an average packet needs: the headroom and the spread of the last half second."""

    def forget(self) -> None:
        """Start over with the next packet, whatever its timestamp."""
        self._packets.clear()
        self.timeline.forget()
        self._start_ns = self._position = None

    # Arrival

    def insert(self, sequence: int, timestamp: int, payload: bytes, now_ns: int) -> Arrival:
        """Take an Opus packet: extended sequence number, 32-bit RTP timestamp, payload."""
        ticks = packet_ticks(payload)
        if not ticks:
            return Arrival.MALFORMED
        media_time = self.timeline.place(sequence, timestamp, ticks, now_ns)
        if self._is_other_timeline(media_time, now_ns):
            self._restart(_Packet(sequence, media_time, ticks, payload, now_ns), now_ns)
            return Arrival.RESTART
        arrived_ns = now_ns
        if self._position is not None:
            if not self.timeline.doubts:
                self._observe(media_time, now_ns)
                arrived_ns = ticks_ns(media_time) + min(self._best_transit_ns, self._former_best_ns)
            if not self._is_seamless and media_time + ticks <= self._position:
                return Arrival.LATE  # something has been played in its place
        if self._last is not None and sequence <= self._last.sequence:
            return Arrival.LATE  # a successor has been played
        packets = self._packets
        index = len(packets)
        while index and packets[index - 1].sequence >= sequence:
            index -= 1
        if index < len(packets) and packets[index].sequence == sequence:
            return Arrival.DUPLICATE
        packets.insert(index, _Packet(sequence, media_time, ticks, payload, arrived_ns))
        self._newest_timestamp = max(self._newest_timestamp, media_time)
        self._bound()
        return Arrival.KEPT

    def _is_other_timeline(self, timestamp: int, now_ns: int) -> bool:
        if self._start_ns is None:
            return True
        if self._position is None:
            return abs(timestamp - self._newest_timestamp) > MAX_DEPTH_TICKS
        return not -_MAX_LATE_NS < self._slack(timestamp, now_ns) < _MAX_EARLY_NS

    def _restart(self, first: _Packet, now_ns: int) -> None:
        self._packets = [first]
        self._newest_timestamp = first.timestamp
        self._start_ns = now_ns + HEADROOM_NS
        self._position = None
        self._stalled = 0
        self._last = None
        self._is_seamless = False
        self.surplus = 0
        self._calm_windows = 0
        self._window_end_ns = None
        self._has_window = False

    def _bound(self) -> None:
        packets = self._packets
        while len(packets) > MAX_PACKETS or self._depth(packets) > MAX_DEPTH_TICKS:
            dropped = packets.pop(0)
            self.discarded += 1
            self._is_seamless = False
            if self._position is not None:
                self._position = max(self._position, dropped.end)

    def _depth(self, packets: list[_Packet]) -> int:
        """Ticks from the first packet to the last, or what they last where an odd clock has them overlap."""
        newest = packets[-1]
        span = newest.timestamp + newest.ticks - packets[0].timestamp
        # Three of the longest are within the bound.
        return span if len(packets) <= 3 else max(span, sum([packet.ticks for packet in packets]))

    # Adaptation

    def _slack(self, timestamp: int, now_ns: int) -> int:
        return self._offset_ns + ticks_ns(timestamp) - now_ns

    def _observe(self, timestamp: int, now_ns: int) -> None:
        slack_ns = self._slack(timestamp, now_ns)
        self.slack_ns += (slack_ns - self.slack_ns) >> 4
        transit_ns = now_ns - ticks_ns(timestamp)
        if self._window_end_ns is None:
            self._window_end_ns = now_ns + _WINDOW_NS
            self._former_best_ns = self._best_transit_ns if self._has_window else transit_ns
            self._has_window = True
            self._worst_transit_ns = self._best_transit_ns = transit_ns
        elif transit_ns > self._worst_transit_ns:
            self._worst_transit_ns = transit_ns
        elif transit_ns < self._best_transit_ns:
            self._best_transit_ns = transit_ns
        if slack_ns < 0:
            self._note_late(now_ns)
        elif now_ns >= self._window_end_ns:
            self._close_window(now_ns)

    def _note_late(self, now_ns: int) -> None:
        """Too little delay: wait longer before the next shrink if the last one is to blame."""
        if now_ns - self._shrunk_ns < _REGRET_NS:
            self._hold = min(self._hold * 2, _MAX_HOLD)
            self._shrunk_ns = now_ns - _REGRET_NS
        self._calm_windows = 0
        # A stalled buffer grows by itself when the packet that it stalled for is played.
        if self.surplus >= 0:
            self.surplus, self._waiting = 0 if self._stalled else -1, 0

    def _close_window(self, now_ns: int) -> None:
        """Plan to give back the frames of slack that no packet of the last windows has needed."""
        self.target_ns = HEADROOM_NS + self._worst_transit_ns - self._best_transit_ns
        least_slack_ns = self._offset_ns - self._worst_transit_ns
        spare = (least_slack_ns - HEADROOM_NS - _MARGIN_NS) // FRAME_NS
        self._window_end_ns = None
        if now_ns - self._shrunk_ns > 3 * _REGRET_NS:
            self._hold = 1
        if spare < 1:
            self._calm_windows = 0
            return
        self._spare_frames = min(spare, self._spare_frames) if self._calm_windows else spare
        self._calm_windows += 1
        if self._calm_windows >= self._hold and self.surplus == 0:
            self.surplus, self._waiting = self._spare_frames, 0
            self._calm_windows = 0

    def adjustment(self, quiet: bool) -> int:
        """1 when a frame should be taken out now, -1 when one should be put in, else 0.

        `quiet` says that it would hardly be heard; if it never is, the frame goes all the same.
        """
        patience = _HASTE if self.surplus > 1 else _PATIENCE
        if not self.surplus or (not quiet and self._waiting < patience):
            return 0
        if self.surplus < 0:
            return -1
        return 1 if self._packets else 0

    def adjusted(self, now_ns: int) -> None:
        """The adjustment was made: one step was popped and not played, or played and not popped."""
        self._waiting = 0
        if self.surplus > 0:
            self.surplus -= 1
            self._shrunk_ns = now_ns
        else:
            self.surplus += 1

    # Playout

    def tick(self, now_ns: int, buffered_ticks: int) -> bool:
        """A pull begins, with `buffered_ticks` of popped audio not yet played. True: pop what lacks."""
        if self._position is None:
            if self._start_ns is None or now_ns < self._start_ns:
                return False
            self._position = self._packets[0].timestamp
        self._offset_ns = now_ns - ticks_ns(self._position + self._stalled - buffered_ticks)
        if self.surplus:
            self._waiting += 1
        return True

    def pop(self) -> Step:
        """The next thing to play; only after `tick` has said True."""
        assert self._position is not None
        position = self._position
        while self._packets and not self._is_seamless and self._packets[0].end <= position:
            self._packets.pop(0)
        if not self._packets:
            self._stalled += RTP_FRAME_TICKS
            return _PAUSE if self._pausing else _STALL
        head = self._packets[0]
        gap = head.timestamp - position
        if gap:
            gap = self._gap(head, gap)
        if self._stalled:
            # Part of the gap, or all of it, has been concealed while nobody knew what it was.
            gap -= min(max(gap, 0), self._stalled)
            self._stalled = 0
        self._is_seamless = gap <= 0
        step = self._fill(head, gap) if gap > 0 else self._take(head, -gap)
        self._position = head.timestamp - gap + step.ticks if gap > 0 else head.end
        return step

    def _gap(self, head: _Packet, gap: int) -> int:
        """What lies between what was played last and `head`, `gap` by their timestamps.

        A sender by RFC 7587 leaves nothing between neighbours, or whole packets; and where packets were
        lost, whole frames. What else the timestamps say is an odd clock's, and must not be heard.
        """
        last = self._last
        if last is None or not self._is_seamless:
            return gap
        lost = head.sequence - last.sequence - 1
        if not lost:
            return gap if gap >= min(last.ticks, head.ticks) else 0
        if gap % _SHORTEST_TICKS and abs(gap - lost * last.ticks) < last.ticks:
            return lost * last.ticks
        return max(gap, 0)

    def _take(self, head: _Packet, skip: int) -> Step:
        self._packets.pop(0)
        self._last = head
        self._pausing = len(head.payload) <= _DTX_BYTES
        return Step(Action.DECODE, head.ticks - skip, head.payload, skip, head.arrived_ns)

    def _fill(self, head: _Packet, gap: int) -> Step:
        """Media time between what was played last and `head`."""
        if self._last is not None and head.sequence == self._last.sequence + 1:
            return Step(Action.SILENCE, min(gap, RTP_FRAME_TICKS))
        if not has_fec(head.payload):
            return Step(Action.CONCEAL, min(gap, RTP_FRAME_TICKS))
        if gap <= head.ticks:
            return Step(Action.DECODE_FEC, gap, head.payload, 0, head.arrived_ns)
        return Step(Action.CONCEAL, min(gap - head.ticks, RTP_FRAME_TICKS))
