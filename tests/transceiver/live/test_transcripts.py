"""transceiver.live.transcripts: text gets its place on the time line of its session."""

from __future__ import annotations

import pytest

from transceiver.live.transcripts import (
    MAX_HELD,
    MAX_KEPT,
    BackendTranscripts,
    CallerTranscripts,
    Fragment,
    TimeLine,
)

MS = 1_000_000
BEGAN = 5_000 * MS


def line_at(ms: int, heard_ms: int = 0) -> TimeLine:
    """A time line that has gone on so far, and on which the caller was first heard then."""
    line = TimeLine()
    line.tick(BEGAN)
    line.hear(BEGAN + heard_ms * MS)
    line.tick(BEGAN + ms * MS)
    return line


def test_it_begins_with_the_first_tick_and_a_backend_counts_from_what_it_hears() -> None:
    line = TimeLine()
    assert (line.now_ms, line.of_backend(5)) == (0, 5)
    line.tick(BEGAN)
    line.hear(BEGAN + 60 * MS)
    line.hear(BEGAN + 80 * MS)
    assert (line.now_ms, line.of_backend(0), line.of_backend(500)) == (80, 60, 560)


def test_what_the_caller_says_stands_where_it_was_said() -> None:
    line = line_at(3000, heard_ms=40)
    caller = CallerTranscripts(line)
    caller.started_untrusted({"item_id": "a", "audio_start_ms": 500})
    assert caller.delta_untrusted({"item_id": "a", "delta": "What"}) == Fragment("What", 540, 3000), "so far"
    caller.stopped_untrusted({"item_id": "a", "audio_end_ms": 2000, "voxpop": {"speech_end_ms": 1500}})
    assert caller.delta_untrusted({"item_id": "a", "delta": " time"}) == Fragment(" time", 540, 1540)
    assert caller.completed_untrusted({"item_id": "a", "transcript": "What time"}) is None, "it was told"


def test_a_turn_may_get_its_name_only_when_it_is_committed() -> None:
    caller = CallerTranscripts(line_at(3000))
    caller.started_untrusted({"item_id": "ours", "audio_start_ms": 500})
    caller.stopped_untrusted({"item_id": "ours", "audio_end_ms": 900})
    caller.committed_untrusted({"item_id": "theirs"})
    assert caller.completed_untrusted({"item_id": "theirs", "transcript": "Hi"}) == Fragment("Hi", 500, 900)


def test_a_backend_that_says_when_is_believed() -> None:
    line = line_at(3000, heard_ms=20)
    timed = {"item_id": "a", "response_id": "r", "start_ms": 100, "end_ms": 250}
    assert CallerTranscripts(line).delta_untrusted({**timed, "delta": "x"}) == Fragment("x", 120, 270)
    assert BackendTranscripts(line).delta_untrusted({**timed, "delta": "x"}) == Fragment("x", 120, 270)


@pytest.mark.parametrize(
    "times", [(5, 4), (-1, 4), (True, 4), (0.5, 4), ("0", 4), (None, 4), (0, 1 << 70)], ids=str
)
def test_times_that_are_none_are_not_passed_on(times: tuple[object, object]) -> None:
    event = {"item_id": "a", "delta": "x", "start_ms": times[0], "end_ms": times[1]}
    assert CallerTranscripts(line_at(3000)).delta_untrusted(event) == Fragment("x", 3000, 3000)


def test_text_is_held_until_its_audio_is_heard() -> None:
    line = line_at(1000)
    voice = BackendTranscripts(line)
    voice.created_untrusted({"response": {"id": "r"}})
    assert voice.delta_untrusted({"response_id": "r", "delta": "It is "}) is None
    assert voice.done_untrusted({"response_id": "r", "transcript": "It is "}) is None
    line.tick(BEGAN + 1200 * MS)
    assert voice.started_untrusted({"response_id": "r"}) == [Fragment("It is ", 1200, 1200)]
    line.tick(BEGAN + 1500 * MS)
    assert voice.delta_untrusted({"response_id": "r", "delta": "noon."}) == Fragment("noon.", 1200, 1500)


def test_text_that_was_never_heard_is_never_told() -> None:
    voice = BackendTranscripts(line_at(1000))
    voice.created_untrusted({"response": {"id": "r"}})
    voice.delta_untrusted({"response_id": "r", "delta": "It is "})
    voice.cleared_untrusted({"response_id": "r"})
    assert voice.started_untrusted({"response_id": "r"}) == []


def test_all_of_it_at_the_end_counts_where_nothing_has_come_before() -> None:
    voice = BackendTranscripts(line_at(1000))
    voice.created_untrusted({"response": {"id": "r"}})
    voice.started_untrusted({"response_id": "r"})
    assert voice.done_untrusted({"response_id": "r", "transcript": "Yes."}) == Fragment("Yes.", 1000, 1000)
    assert voice.done_untrusted({"response_id": "r", "transcript": "Yes."}) is None


def test_without_responses_text_stands_where_it_comes() -> None:
    """As from a backend that is full duplex and has none."""
    assert BackendTranscripts(line_at(700)).delta_untrusted({"delta": "Mhm."}) == Fragment("Mhm.", 700, 700)


@pytest.mark.parametrize("text", [None, "", 1, ["x"]], ids=str)
def test_what_is_no_text_is_passed_over(text: object) -> None:
    line = line_at(0)
    assert CallerTranscripts(line).delta_untrusted({"delta": text}) is None
    assert CallerTranscripts(line).completed_untrusted({"transcript": text}) is None
    assert BackendTranscripts(line).delta_untrusted({"delta": text}) is None


def test_what_is_remembered_has_bounds() -> None:
    line = line_at(0)
    caller, voice = CallerTranscripts(line), BackendTranscripts(line)
    for number in range(2 * MAX_KEPT):
        caller.committed_untrusted({"item_id": f"i{number}"})
        voice.created_untrusted({"response": {"id": f"r{number}"}})
    assert (len(caller._spans), len(voice._speeches)) == (MAX_KEPT, MAX_KEPT)
    last = f"r{2 * MAX_KEPT - 1}"
    for _ in range(2 * MAX_HELD):
        voice.delta_untrusted({"response_id": last, "delta": "x"})
    assert len(voice.started_untrusted({"response_id": last})) == MAX_HELD
