"""What a caller said last: a bounded run of frames that knows where in the call it lies."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import dropwhile

from transceiver.media import FRAME_MS

MAX_FRAMES = 30_000 // FRAME_MS
"""A turn keeps its last 30 s, 1.44 MB."""


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of the caller."""

    pcm: bytes
    is_audible: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """What was committed."""

    frames: tuple[Frame, ...]
    dropped_ms: int
    """Audio of the turn's beginning that the bound cost."""

    @property
    def duration_ms(self) -> int:
        """Length of what was kept."""
        return len(self.frames) * FRAME_MS

    def audible(self) -> list[bytes]:
        """PCM from the first frame that can be heard; none if there is none."""
        return [frame.pcm for frame in dropwhile(lambda frame: not frame.is_audible, self.frames)]


class Recording:
    """Frames by their position in the call. `end` is the position of the next one."""

    def __init__(self) -> None:
        self.end = 0
        self._wanted_from = 0
        self._frames: deque[Frame] = deque(maxlen=MAX_FRAMES)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def start(self) -> int:
        """Position of the first frame kept."""
        return self.end - len(self._frames)

    def append(self, frame: Frame) -> None:
        """The next frame; the oldest gives way when there are too many."""
        self._frames.append(frame)
        self.end += 1

    def keep_from(self, position: int) -> None:
        """Forget what was before `position`."""
        while self._frames and self.start < position:
            self._frames.popleft()
        self._wanted_from = max(position, self.start)

    def take(self, until: int) -> Turn:
        """The frames before position `until`. All are forgotten, those after it too."""
        kept = tuple(self._frames)[: max(until - self.start, 0)]
        turn = Turn(kept, (self.start - self._wanted_from) * FRAME_MS)
        self.clear()
        return turn

    def clear(self) -> None:
        """Forget everything."""
        self._frames.clear()
        self._wanted_from = self.end
