"""When a caller's turn begins and ends, by which of its frames are speech."""

from __future__ import annotations

from enum import Enum

from transceiver.media import FRAME_MS

START_VOICED = 3
START_WINDOW = 4
"""A turn begins with 3 speech frames among 4: a click does not, and a caller who breaks in is noticed
after 60 ms, which leaves 40 of the 100 ms within which the agent must be silent."""


class Transition(Enum):
    """What a frame did to the turn."""

    STARTED = "started"
    STOPPED = "stopped"


class TurnRule:
    """Takes frame after frame, speech or not, and says when a turn starts and stops.

    A frame's position is its number in the call; positions must grow, by any steps.
    """

    def __init__(self, silence_duration_ms: int) -> None:
        self.silence_frames = to_frames(silence_duration_ms)
        self.in_turn = False
        self.first_voiced = 0
        """The frame that the current or last turn began with."""
        self.after_voiced = 0
        """The frame after the last voiced one of that turn."""
        self._recent: list[int] = []

    def push(self, position: int, is_speech: bool) -> Transition | None:
        """The next frame."""
        return self._continue(position, is_speech) if self.in_turn else self._wait(position, is_speech)

    def abandon(self) -> None:
        """Forget a turn that is under way, and what could become the start of one."""
        self.in_turn = False
        self._recent.clear()

    def _wait(self, position: int, is_speech: bool) -> Transition | None:
        if not is_speech:
            return None
        self._recent = [p for p in self._recent if p > position - START_WINDOW] + [position]
        if len(self._recent) < START_VOICED:
            return None
        self.in_turn = True
        self.first_voiced, self.after_voiced = self._recent[0], position + 1
        self._recent.clear()
        return Transition.STARTED

    def _continue(self, position: int, is_speech: bool) -> Transition | None:
        if is_speech:
            self.after_voiced = position + 1
        elif position + 1 - self.after_voiced >= self.silence_frames:
            self.in_turn = False
            return Transition.STOPPED
        return None


def to_frames(duration_ms: int) -> int:
    """Whole frames that cover `duration_ms`."""
    return -(-duration_ms // FRAME_MS)
