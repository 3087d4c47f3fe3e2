"""Whom to hear when, on a clock made by hand."""

from __future__ import annotations

import pytest

from tests import tones
from transceiver.caller.conversation import PATIENCE_FRAMES, QUIET_FRAMES, Conversation, Phase
from transceiver.caller.sound import SILENCE
from transceiver.media import FRAME_NS

LOUD = tones.voice(1_000, 0.1)[480:960].tobytes()
SPEECH = [LOUD] * 5


class Clock:
    """Ticks a conversation; `heard` is what the other side says in each 20 ms."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.now_ns = 10**9

    def run(self, frames: int, heard: bytes | None = SILENCE) -> list[bytes | None]:
        said = []
        for _ in range(frames):
            said.append(self.conversation.tick(heard, self.now_ns))
            self.now_ns += FRAME_NS
        return said


def test_the_recording_is_played_once_from_the_first_tick_on_and_then_there_is_silence() -> None:
    clock = Clock(Conversation(SPEECH, 1))
    assert clock.run(5, None) == SPEECH
    assert clock.conversation.phase is Phase.WAITING
    assert clock.run(10) == [None] * 10


def test_the_answer_is_timed_from_the_last_audible_frame() -> None:
    clock = Clock(Conversation([*SPEECH, SILENCE, SILENCE], 1))
    clock.run(5)
    speech_end_ns = clock.now_ns - FRAME_NS
    clock.run(9)
    clock.run(20, LOUD)
    (turn,) = clock.conversation.turns
    assert turn.speech_end_ns == speech_end_ns
    assert turn.response_ms == 200
    assert turn.answer_frames == 20
    assert clock.conversation.phase is Phase.LISTENING


def test_an_answers_first_sound_is_known_by_its_packet() -> None:
    clock = Clock(Conversation(SPEECH, 1))
    clock.run(15)
    answered_ns = clock.now_ns
    for age_ms in (33, 35):
        arrived_ns = clock.now_ns - age_ms * 1_000_000
        clock.conversation.tick(LOUD, clock.now_ns, arrived_ns)
        clock.now_ns += FRAME_NS
    (turn,) = clock.conversation.turns
    assert (turn.answer_ns, turn.arrived_ns) == (answered_ns, answered_ns - 33_000_000)
    assert turn.playout_ms == 33
    without = Clock(Conversation(SPEECH, 1))
    without.run(15)
    without.run(1, LOUD)
    assert without.conversation.turns[0].playout_ms is None


def test_silence_inside_the_recording_is_played() -> None:
    recording = [LOUD, SILENCE, SILENCE, LOUD]
    assert Clock(Conversation(recording, 1)).run(4) == recording


def test_it_is_over_when_the_answer_has_been_quiet_for_a_while() -> None:
    clock = Clock(Conversation(SPEECH, 1))
    clock.run(5)
    clock.run(10, LOUD)
    clock.run(QUIET_FRAMES - 1)
    clock.run(3, LOUD)  # a pause, not the end
    clock.run(QUIET_FRAMES - 1)
    assert clock.conversation.phase is Phase.LISTENING
    clock.run(1)
    assert clock.conversation.phase is Phase.OVER
    assert clock.conversation.is_answered
    assert clock.run(3) == [None] * 3


def test_without_an_answer_patience_ends() -> None:
    clock = Clock(Conversation(SPEECH, 1))
    clock.run(5)
    clock.run(PATIENCE_FRAMES - 1)
    assert clock.conversation.phase is Phase.WAITING
    clock.run(1)
    assert clock.conversation.phase is Phase.OVER
    assert not clock.conversation.is_answered
    assert clock.conversation.turns[0].response_ms is None


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_as_many_turns_as_wanted(turns: int) -> None:
    clock = Clock(Conversation(SPEECH, turns))
    for number in range(turns):
        assert clock.conversation.phase is Phase.SPEAKING
        clock.run(5 if number == 0 else 4)  # a later turn begins in the tick that ends the one before
        clock.run(4, LOUD)
        clock.run(QUIET_FRAMES)
    assert clock.conversation.phase is Phase.OVER
    assert len(clock.conversation.turns) == turns


def test_without_a_number_of_turns_it_goes_on() -> None:
    clock = Clock(Conversation(SPEECH, None))
    for _ in range(1_000):
        clock.run(1, LOUD if clock.conversation.phase is Phase.WAITING else SILENCE)
    assert clock.conversation.phase is not Phase.OVER
    assert len(clock.conversation.turns) > 10


def test_a_turn_that_is_still_waiting_counts_neither_way() -> None:
    clock = Clock(Conversation(SPEECH, None))
    clock.run(5)
    assert not clock.conversation.is_answered
    clock.run(4, LOUD)
    assert clock.conversation.is_answered
    clock.run(QUIET_FRAMES + 5)
    assert clock.conversation.phase is Phase.WAITING
    assert clock.conversation.is_answered
    clock.run(PATIENCE_FRAMES)
    assert not clock.conversation.is_answered


def test_what_is_heard_while_speaking_is_no_answer() -> None:
    clock = Clock(Conversation(SPEECH, 1))
    clock.run(5, LOUD)
    clock.run(3)
    assert clock.conversation.turns[0].answer_ns is None
