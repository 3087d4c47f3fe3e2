"""What the caller says and when, and how soon it was answered; sans I/O, one call per 20 ms.

Speaking, until the recording has been played; waiting, until the first sound of the answer or until
patience ends; listening, until the answer has; and from the start again, or over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from transceiver.caller.sound import is_audible
from transceiver.media import FRAME_MS

PATIENCE_FRAMES = 5_000 // FRAME_MS
"""Silence after the end of the recording for which an answer is waited."""
QUIET_FRAMES = 600 // FRAME_MS
"""Silence that ends an answer."""


class Phase(Enum):
    """What the caller is doing."""

    SPEAKING = "speaking"
    WAITING = "waiting"
    LISTENING = "listening"
    OVER = "over"


@dataclass(slots=True)
class Turn:
    """One time that the recording was played, and its answer."""

    speech_end_ns: int
    """When the last audible frame left: its 20 ms end at that moment."""
    answer_ns: int | None = None
    """When the first audible frame came out of the jitter buffer after that."""
    answer_frames: int = 0
    """Audible frames of the answer."""
    arrived_ns: int | None = None
    """When the packet came that the first audible frame is from."""

    @property
    def response_ms(self) -> float | None:
        """End of speech to first sound of the answer, as heard; None without an answer."""
        return None if self.answer_ns is None else (self.answer_ns - self.speech_end_ns) / 1e6

    @property
    def playout_ms(self) -> float | None:
        """From that packet's arrival to its playing."""
        if self.answer_ns is None or self.arrived_ns is None:
            return None
        return max(0, self.answer_ns - self.arrived_ns) / 1e6


class Conversation:
    """Plays the recording, waits for the answer to end, and again, `turns` times."""

    def __init__(self, recording: Sequence[bytes], turns: int | None) -> None:
        """`recording`: frames, at least one of them audible. `turns` None goes on until it is stopped."""
        self._recording = recording
        self._last_audible = max(i for i, frame in enumerate(recording) if is_audible(frame))
        self._turns_left = turns
        self._position = 0
        self._silent_frames = 0
        self.phase = Phase.SPEAKING
        self.turns: list[Turn] = []

    @property
    def is_answered(self) -> bool:
        """Whether there was a turn, and none without an answer; one that still waits does not count."""
        done = self.turns[:-1] if self.phase is Phase.WAITING else self.turns
        return bool(done) and all(turn.answer_ns is not None for turn in done)

    def tick(self, heard: bytes | None, now_ns: int, arrived_ns: int | None = None) -> bytes | None:
        """20 ms heard, None before the first, from a packet that came at `arrived_ns`, where that is known;
        returns 20 ms to say, None for silence.
        """
        audible = heard is not None and is_audible(heard)
        self._silent_frames = 0 if audible else self._silent_frames + 1
        if self.phase in (Phase.WAITING, Phase.LISTENING):
            self._listen(audible, now_ns, arrived_ns)
        return self._speak(now_ns) if self.phase is Phase.SPEAKING else None

    def _listen(self, audible: bool, now_ns: int, arrived_ns: int | None) -> None:
        turn = self.turns[-1]
        if audible:
            turn.answer_frames += 1
            if turn.answer_ns is None:
                turn.answer_ns, turn.arrived_ns = now_ns, arrived_ns
            self.phase = Phase.LISTENING
        patience = QUIET_FRAMES if self.phase is Phase.LISTENING else PATIENCE_FRAMES
        if self._silent_frames >= patience:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._turns_left is not None:
            self._turns_left -= 1
        self.phase = Phase.OVER if self._turns_left == 0 else Phase.SPEAKING
        self._position = 0

    def _speak(self, now_ns: int) -> bytes:
        frame = self._recording[self._position]
        self._position += 1
        if self._position > self._last_audible:
            # What is left is silence, and silence needs no playing.
            self.turns.append(Turn(now_ns))
            self._silent_frames = 0
            self.phase = Phase.WAITING
        return frame
