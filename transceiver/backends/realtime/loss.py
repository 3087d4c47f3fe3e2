"""What a caller hears while the backend is gone: a short tone every second, so that the line is not dead."""

from __future__ import annotations

import numpy as np

from transceiver.media import FRAME_BYTES, SAMPLE_RATE

TONE_HZ = 425
"""That of ITU-T E.180, which most of the world's telephones use for busy and waiting."""
TONE_S = 0.2
PERIOD_S = 1.0
LEVEL = 1_600
"""About -29 dBFS: plainly heard, never loud."""
EDGE_S = 0.01


class LossTone:
    """The tone from its beginning, frame by frame."""

    def __init__(self) -> None:
        self._next = 0

    def next_frame(self) -> bytes:
        """20 ms."""
        frame = _FRAMES[self._next]
        self._next = (self._next + 1) % len(_FRAMES)
        return frame


def _frames() -> list[bytes]:
    time_s = np.arange(int(PERIOD_S * SAMPLE_RATE)) / SAMPLE_RATE
    edges = np.clip(np.minimum(time_s, TONE_S - time_s) / EDGE_S, 0, 1)
    pcm = (LEVEL * edges * np.sin(2 * np.pi * TONE_HZ * time_s)).astype("<i2").tobytes()
    return [pcm[start : start + FRAME_BYTES] for start in range(0, len(pcm), FRAME_BYTES)]


_FRAMES = _frames()
