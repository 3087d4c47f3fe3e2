"""From received Opus packets to 20 ms of PCM per pull: jitter buffer, decoder, concealment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transceiver.media import FRAME_BYTES, FRAME_SAMPLES
from transceiver.media.jitter import Action, Arrival, JitterBuffer, Step, ticks_ns
from transceiver.media.opus import Decoder, OpusError

MAX_CONCEALED = 5
"""Frames in a row: after 100 ms libopus has faded to almost nothing, and silence is cheaper."""
QUIET_RMS = 200.0
"""About -44 dBFS: pauses between words; a frame more or less is not heard there."""
_PLC_TICKS = 120
"""libopus conceals in multiples of 2.5 ms."""
_SILENCE = bytes(FRAME_BYTES)
_FADE = np.linspace(0.0, 1.0, FRAME_SAMPLES, dtype=np.float32)


def _samples(pcm: bytes) -> NDArray[np.float32]:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32)


def is_quiet(pcm: bytes) -> bool:
    """Whether a frame's level is below `QUIET_RMS`."""
    samples = _samples(pcm)
    return float(np.dot(samples, samples)) < QUIET_RMS**2 * len(samples)


def merge(first: bytes, second: bytes) -> bytes:
    """One frame that begins as `first` and ends as `second`, so that a frame goes without a click."""
    mixed = _samples(first) * (1 - _FADE) + _samples(second) * _FADE
    return mixed.astype("<i2").tobytes()


class Playout:
    """The receiving half of one audio stream. Everything in it is bounded by the jitter buffer."""

    def __init__(self) -> None:
        self._jitter = JitterBuffer()
        self._decoder = Decoder()
        self._pcm = b""
        """Decoded but not yet pulled: less than a frame, or the rest of a longer packet."""
        self._arrived_ns: int | None = None
        self._last = _SILENCE
        self._started = False
        self._in_a_row = 0
        self.late = 0
        """Packets that came when their time had been played already."""
        self.duplicates = 0
        self.malformed = 0
        """Payloads that are not Opus."""
        self.concealed_frames = 0
        """Frames of up to 20 ms made up by packet loss concealment or, after that, silence."""
        self.fec_frames = 0
        """Lost packets that came back from in-band FEC."""
        self.shortened_frames = 0
        """Frames taken out because the delay was more than the path needs."""
        self.lengthened_frames = 0
        """Frames put in because the delay was less than the path needs."""

    @property
    def jitter(self) -> JitterBuffer:
        """For its depth and target; not to be driven by others."""
        return self._jitter

    @property
    def arrived_ns(self) -> int | None:
        """When the packet came that the end of the last pulled frame is from, without what jitter has held it
        back; of what was made up, when it would have come at the sender's pace. None before the first.
        """
        return self._arrived_ns

    @property
    def unplayed_ns(self) -> int:
        """How much of that packet is still to be played: by so much it can have left later than the frame's
        sound was there.
        """
        return ticks_ns(len(self._pcm))

    def insert(self, sequence: int, timestamp: int, payload: bytes, now_ns: int) -> None:
        """Take a packet: extended sequence number, 32-bit RTP timestamp, Opus payload."""
        arrival = self._jitter.insert(sequence, timestamp, payload, now_ns)
        if arrival is Arrival.KEPT:
            return
        if arrival is Arrival.RESTART:
            self._pcm = b""
            self._decoder.reset()
        self.late += arrival is Arrival.LATE
        self.duplicates += arrival is Arrival.DUPLICATE
        self.malformed += arrival is Arrival.MALFORMED

    def restart(self) -> None:
        """What comes next is another stream, with timestamps and codec state of its own."""
        self._jitter.forget()

    def pull(self, now_ns: int) -> bytes | None:
        """The next `FRAME_BYTES`, 20 ms after the last ones; None before the first packet's turn."""
        if not self._jitter.tick(now_ns, len(self._pcm)):
            return _SILENCE if self._started else None
        self._started = True
        adjustment = self._jitter.adjustment(is_quiet(self._last)) if self._jitter.surplus else 0
        if adjustment:
            self._jitter.adjusted(now_ns)
        if adjustment < 0:
            self.lengthened_frames += 1
            frame = self._decoder.conceal(FRAME_SAMPLES)
        else:
            frame = self._next_frame()
        if adjustment > 0:
            self.shortened_frames += 1
            frame = merge(frame, self._next_frame())
        self._last = frame
        return frame

    def _next_frame(self) -> bytes:
        pcm = self._pcm
        while len(pcm) < FRAME_BYTES:
            pcm += self._render(self._jitter.pop())
        self._pcm = pcm[FRAME_BYTES:]
        return pcm[:FRAME_BYTES]

    def _render(self, step: Step) -> bytes:
        """A step as PCM. A tick of the 48 kHz clock is a byte of 16-bit PCM at 24 kHz."""
        if step.action is Action.DECODE:
            self._arrived_ns = step.arrived_ns
            return self._decode(step)
        if self._arrived_ns is not None:
            self._arrived_ns += ticks_ns(step.ticks)
        if step.action is Action.DECODE_FEC and step.ticks % _PLC_TICKS == 0:
            return self._decode_fec(step)
        if step.action is Action.SILENCE:
            return bytes(step.ticks & ~1)
        self.concealed_frames += 1
        return self._conceal(step.ticks)

    def _decode(self, step: Step) -> bytes:
        try:
            pcm = self._decoder.decode(step.packet)
        except OpusError:
            self.malformed += 1
            return self._conceal(step.ticks)
        self._in_a_row = 0
        return pcm[step.skip & ~1 :] if step.skip else pcm

    def _decode_fec(self, step: Step) -> bytes:
        try:
            pcm = self._decoder.decode_fec(step.packet, step.ticks // 2)
        except OpusError:
            return self._conceal(step.ticks)
        self.fec_frames += 1
        self._in_a_row = 0
        return pcm

    def _conceal(self, ticks: int) -> bytes:
        self._in_a_row += 1
        if self._in_a_row > MAX_CONCEALED or ticks % _PLC_TICKS:
            return bytes(ticks & ~1)
        return self._decoder.conceal(ticks // 2)

    def close(self) -> None:
        """Free the decoder."""
        self._decoder.close()
