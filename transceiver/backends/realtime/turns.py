"""Turns that we tell apart ourselves: what of the caller goes to the backend, and when a turn is over.

Between turns nothing is sent. A turn's audio begins `prefix_padding_ms` before its first speech, and is
sent as it is heard.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from transceiver.media import FRAME_MS
from transceiver.turns.budget import LastWord
from transceiver.turns.rule import START_WINDOW, Transition, TurnRule, to_frames
from transceiver.turns.settings import WIRE_TYPES, TurnDetection, read_turn_detection
from transceiver.turns.vad import SpeechDetector


class Heard(NamedTuple):
    """What a frame of the caller came to."""

    frames: tuple[bytes, ...]
    """What the backend is to hear, in order."""
    transition: Transition | None


class LocalTurns:
    """The turns of one caller by one `turn_detection`."""

    def __init__(self, settings: TurnDetection, last_word: LastWord) -> None:
        self.settings = settings
        self._detector = SpeechDetector(settings.threshold)
        self._rule = TurnRule(settings.silence_duration_ms)
        self._before: deque[bytes] = deque(maxlen=START_WINDOW + to_frames(settings.prefix_padding_ms))
        self._position = 0
        self.start_ms = 0
        """Where in the call the audio of the current or last turn begins."""
        self.last_word = last_word

    @property
    def in_turn(self) -> bool:
        """Whether the caller is speaking."""
        return self._rule.in_turn

    @property
    def end_ms(self) -> int:
        """Where in the call it ends."""
        return self._position * FRAME_MS

    @property
    def speech_end_ms(self) -> int:
        """Where in the call its last speech ends."""
        return self._rule.after_voiced * FRAME_MS

    def hear(self, pcm: bytes, now_ns: int) -> Heard:
        """The next 20 ms."""
        hearing = self._detector.judge(pcm)
        if hearing.is_speech:
            self.last_word.renew(now_ns)
        was_in_turn = self._rule.in_turn
        transition = self._rule.push(self._position, hearing.is_speech)
        self._position += 1
        if was_in_turn:
            return Heard((pcm,), transition)
        self._before.append(pcm)
        if transition is None:
            return Heard((), None)
        frames = tuple(self._before)
        self.start_ms = (self._position - len(frames)) * FRAME_MS
        self._before.clear()
        return Heard(frames, transition)

    def abandon(self) -> None:
        """Forget the turn that is under way."""
        self._rule.abandon()
        self._before.clear()


def local_settings(turn_detection: Mapping[str, object]) -> TurnDetection:
    """The members of a session's `turn_detection` that our rule knows; it was judged before."""
    kind = str(turn_detection["type"])
    known = {"type", *(field.name for field in dataclasses.fields(WIRE_TYPES[kind]))}
    members = {key: value for key, value in turn_detection.items() if key in known}
    settings = read_turn_detection({"turn_detection": members}, None)
    assert settings is not None
    return settings
