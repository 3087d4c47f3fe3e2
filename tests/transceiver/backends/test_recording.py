"""The bounded memory of a turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transceiver.backends.recording import MAX_FRAMES, Frame, Recording
from transceiver.media import FRAME_MS


def frame(number: int, is_audible: bool = True) -> Frame:
    return Frame(number.to_bytes(4, "big"), is_audible)


def recorded(count: int) -> Recording:
    recording = Recording()
    for number in range(count):
        recording.append(frame(number))
    return recording


def test_a_turn_is_what_was_kept_before_a_position() -> None:
    recording = recorded(10)
    recording.keep_from(3)
    turn = recording.take(8)
    assert turn.frames == tuple(frame(number) for number in range(3, 8))
    assert (turn.duration_ms, turn.dropped_ms) == (100, 0)
    assert (len(recording), recording.start, recording.end) == (0, 10, 10)


def test_padding_that_was_never_heard_is_not_missing() -> None:
    recording = recorded(5)
    recording.keep_from(-15)
    assert recording.take(5).dropped_ms == 0


def test_a_long_turn_keeps_its_end_and_says_what_it_lost() -> None:
    recording = recorded(MAX_FRAMES + 25)
    turn = recording.take(recording.end)
    assert len(turn.frames) == MAX_FRAMES
    assert turn.frames[0] == frame(25)
    assert turn.dropped_ms == 25 * FRAME_MS
    recording.append(frame(0))
    assert recording.take(recording.end).dropped_ms == 0


def test_leading_silence_is_not_said_back() -> None:
    recording = Recording()
    for number in range(8):
        recording.append(frame(number, is_audible=number in (4, 6)))
    assert recording.take(8).audible() == [frame(number).pcm for number in range(4, 8)]


def test_silence_alone_comes_to_nothing() -> None:
    recording = Recording()
    for number in range(3):
        recording.append(frame(number, is_audible=False))
    assert recording.take(3).audible() == []


@given(st.lists(st.one_of(st.integers(1, 900), st.just("clear"), st.tuples(st.just("keep"), st.integers()))))
def test_memory_is_bounded_and_positions_never_lie(steps: list[object]) -> None:
    recording, number = Recording(), 0
    for step in steps:
        if isinstance(step, int):
            for _ in range(step):
                recording.append(frame(number))
                number += 1
        elif step == "clear":
            recording.clear()
        elif isinstance(step, tuple):
            recording.keep_from(step[1] % (number + 1))
        assert len(recording) <= MAX_FRAMES
        assert recording.end == number
        assert recording.start == number - len(recording)
    start = recording.start
    assert recording.take(number).frames == tuple(frame(position) for position in range(start, number))
