"""A backend's audio at real time: every sample once, in order, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.tones import voice
from transceiver.backends.realtime.playout import (
    FADE_MS,
    FADE_SAMPLES,
    MAX_PARTS,
    RESUME_SAMPLES,
    STALL_FRAMES,
    Cut,
    Frame,
    Place,
    Playout,
)
from transceiver.media import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE

PLACE = Place("resp_1", "item_1", 0)
OTHER = Place("resp_2", "item_2", 0)
LIMIT_MS = 10_000


def ramp(count: int, start: int = 0) -> bytes:
    """Samples that each have another value."""
    return np.arange(1 + start, 1 + start + count).astype("<i2").tobytes()


def level(count: int, value: int = 10_000) -> bytes:
    return np.full(count, value).astype("<i2").tobytes()


def drain(playout: Playout) -> list[Frame]:
    """All frames until nothing waits."""
    frames = []
    while playout.waiting:
        frames.append(playout.next_frame())
    return [*frames, playout.next_frame()]


def samples(frames: list[Frame]) -> np.ndarray:
    return np.frombuffer(b"".join(frame.pcm or b"" for frame in frames), "<i2")


@pytest.mark.parametrize("delta_ms", [20, 33, 100, 1000, 9000])
def test_audio_comes_out_as_it_came_in_whatever_the_size_of_its_deltas(delta_ms: int) -> None:
    said = voice(440, 9.0).astype("<i2").tobytes()
    playout = Playout(LIMIT_MS)
    size = SAMPLE_RATE * delta_ms // 1000 * 2
    for start in range(0, len(said), size):
        assert playout.append(PLACE, 0, said[start : start + size])
    playout.complete(PLACE)
    frames = drain(playout)
    assert samples(frames)[: len(said) // 2].tobytes() == said
    assert all(frame.pcm is not None and len(frame.pcm) == FRAME_BYTES for frame in frames[:-1])
    assert playout.counts.underruns == 0


def test_the_first_frame_comes_with_the_first_delta() -> None:
    playout = Playout(LIMIT_MS)
    assert playout.next_frame() == Frame(None)
    playout.append(PLACE, 0, ramp(FRAME_SAMPLES + FADE_SAMPLES))
    assert playout.next_frame() == Frame(ramp(FRAME_SAMPLES), started=("resp_1",))


def test_a_short_part_is_said_whole() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, ramp(100))
    assert playout.next_frame().pcm is None, "more could follow"
    playout.complete(PLACE)
    assert playout.next_frame().pcm == ramp(100) + bytes(FRAME_BYTES - 200)


def test_parts_follow_one_another_without_a_gap() -> None:
    playout = Playout(LIMIT_MS)
    second = Place("resp_1", "item_2", 0)
    playout.append(PLACE, 0, ramp(700))
    playout.append(second, 0, ramp(700, 700))
    playout.complete(second)
    assert samples(drain(playout))[:1400].tobytes() == ramp(1400)


def test_a_response_starts_with_its_first_sample_and_finishes_after_its_last() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, ramp(FRAME_SAMPLES * 2))
    playout.append(OTHER, 0, ramp(FRAME_SAMPLES))
    playout.complete_response("resp_1")
    playout.complete_response("resp_2")
    told = [(frame.started, frame.finished) for frame in [playout.next_frame() for _ in range(5)]]
    assert told == [(("resp_1",), ()), ((), ()), (("resp_2",), ("resp_1",)), ((), ("resp_2",)), ((), ())]


def test_a_response_without_audio_is_never_told_of() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, b"")
    playout.complete_response("resp_1")
    assert [playout.next_frame() for _ in range(2)] == [Frame(None)] * 2


def test_a_backend_that_is_too_slow_fades_out_and_in() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, level(FRAME_SAMPLES + FADE_SAMPLES))
    assert playout.next_frame().pcm == level(FRAME_SAMPLES)
    dry = samples([playout.next_frame()])
    assert np.all(np.diff(dry[:FADE_SAMPLES]) <= 0)
    assert dry[0] == 10_000
    assert not dry[FADE_SAMPLES - 1 :].any()
    playout.append(PLACE, 0, level(RESUME_SAMPLES - 1))
    assert playout.next_frame().pcm is None
    playout.append(PLACE, 0, level(1))
    again = samples([playout.next_frame()])
    assert again[0] == 0
    assert np.all(np.diff(again[:FADE_SAMPLES]) >= 0)
    assert np.all(again[FADE_SAMPLES:] == 10_000)
    assert playout.counts.underruns == 1


def test_no_step_is_louder_than_the_voice_itself_however_slow_the_backend() -> None:
    said = voice(440, 2.0)
    steepest = np.abs(np.diff(said.astype(int))).max()
    playout = Playout(LIMIT_MS)
    frames = []
    for start in range(0, len(said), 300):
        playout.append(PLACE, 0, said[start : start + 300].astype("<i2").tobytes())
        frames.append(playout.next_frame())
    playout.complete(PLACE)
    frames += drain(playout)
    spoken = np.concatenate([np.frombuffer(frame.pcm or bytes(FRAME_BYTES), "<i2") for frame in frames])
    assert playout.counts.underruns > 5
    assert np.abs(np.diff(spoken.astype(int))).max() <= steepest + np.abs(said).max() // FADE_SAMPLES + 2


def test_a_cut_fades_within_the_next_frame_and_tells_what_was_heard() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, level(FRAME_SAMPLES * 10))
    heard = [playout.next_frame() for _ in range(3)]
    assert heard[-1].pcm == level(FRAME_SAMPLES)
    assert playout.cut(1) == [Cut(PLACE, 3 * FRAME_MS + FADE_MS)]
    fading = samples([playout.next_frame()])
    assert fading[0] == 10_000
    assert not fading[FADE_SAMPLES - 1 :].any()
    assert [playout.next_frame() for _ in range(2)] == [Frame(None)] * 2


def test_what_was_heard_to_its_end_is_not_cut() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, level(FRAME_SAMPLES))
    playout.append(OTHER, 0, level(FRAME_SAMPLES))
    playout.complete(PLACE)
    playout.next_frame()
    assert playout.cut(1) == [Cut(OTHER, FADE_MS)]


def test_what_waits_unheard_is_cut_at_zero() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, level(FRAME_SAMPLES * 4))
    playout.append(OTHER, 0, level(FRAME_SAMPLES))
    assert playout.cut(1) == [Cut(PLACE, 0), Cut(OTHER, 0)]
    assert playout.next_frame() == Frame(None)


def test_nothing_of_an_ended_generation_is_heard_however_late_it_comes() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, level(FRAME_SAMPLES * 2))
    playout.cut(1)
    assert not playout.append(PLACE, 0, level(FRAME_SAMPLES * 2))
    assert not playout.append(OTHER, 0, level(FRAME_SAMPLES * 2))
    assert playout.append(OTHER, 1, ramp(FRAME_SAMPLES * 2))
    assert playout.next_frame().pcm == ramp(FRAME_SAMPLES)


def test_more_than_may_wait_is_dropped_at_the_end() -> None:
    playout = Playout(100)
    assert playout.append(PLACE, 0, ramp(2400))
    assert not playout.append(PLACE, 0, ramp(1))
    playout.complete(PLACE)
    assert samples(drain(playout))[:2400].tobytes() == ramp(2400)
    assert (playout.counts.received, playout.counts.dropped) == (2401, 1)


def test_a_part_that_is_cut_short_is_heard_as_far_as_it_has_come() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, ramp(FRAME_SAMPLES * 2))
    playout.next_frame()
    assert playout.cut_short(PLACE) == Cut(PLACE, 2 * FRAME_MS)
    assert playout.cut_short(OTHER) is None
    assert not playout.append(PLACE, 0, ramp(1))
    assert playout.next_frame().pcm == ramp(FRAME_SAMPLES, FRAME_SAMPLES)


def test_many_small_parts_are_bounded_too() -> None:
    playout = Playout(LIMIT_MS)
    kept = [playout.append(Place("resp", str(n), 0), 0, ramp(1)) for n in range(MAX_PARTS + 1)]
    assert kept == [True] * MAX_PARTS + [False]


def test_a_part_that_never_ends_lets_others_pass() -> None:
    playout = Playout(LIMIT_MS)
    playout.append(PLACE, 0, level(FRAME_SAMPLES * 2))
    playout.append(OTHER, 0, ramp(FRAME_SAMPLES * 2))
    frames = [playout.next_frame() for _ in range(STALL_FRAMES + 3)]
    assert frames[-1].started == ("resp_2",)


places = st.sampled_from([Place(f"resp_{r}", f"item_{r}_{i}", 0) for r in range(3) for i in range(2)])


class AnyOrder(RuleBasedStateMachine):
    """Whatever is called in whatever order: no sample is lost, made up, or heard after its cut."""

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout(400)
        self.generation = 0
        self.given: dict[Place, int] = {}
        self.told: list[str] = []

    @rule(place=places, count=st.integers(0, 3000), age=st.integers(0, 2))
    def append(self, place: Place, count: int, age: int) -> None:
        whole = self.playout.append(place, self.generation - age, level(count))
        assert not (whole and age and count)
        self.given[place] = self.given.get(place, 0) + count

    @rule(place=places)
    def complete(self, place: Place) -> None:
        self.playout.complete(place)

    @rule(place=places)
    def complete_response(self, place: Place) -> None:
        self.playout.complete_response(place.response_id)

    @rule()
    def cut(self) -> None:
        self.generation += 1
        waited = self.playout.waiting
        before = self.playout.counts.played
        for cut in self.playout.cut(self.generation):
            assert cut.played_ms <= self.given.get(cut.place, 0) * 1000 // SAMPLE_RATE
        assert self.playout.counts.played - before <= min(waited, FADE_SAMPLES)
        assert self.playout.waiting == 0
        self.told.clear()

    @rule()
    def tick(self) -> None:
        before = self.playout.counts.played
        frame = self.playout.next_frame()
        assert frame.pcm is None or len(frame.pcm) == FRAME_BYTES
        assert 0 <= self.playout.counts.played - before <= FRAME_SAMPLES
        for name in frame.finished:
            self.told.remove(name)
        self.told += frame.started
        assert len(set(self.told)) == len(self.told)
        assert sorted(self.told) == sorted(self.playout.heard())

    @invariant()
    def every_sample_is_somewhere(self) -> None:
        counts = self.playout.counts
        assert counts.received == counts.played + counts.dropped + self.playout.waiting
        assert self.playout.waiting <= 400 * SAMPLE_RATE // 1000


TestAnyOrder = AnyOrder.TestCase


@given(st.lists(st.integers(1, 2000), max_size=30), st.integers(1, 40))
def test_what_is_heard_is_what_came_in_its_order(deltas: list[int], frames_between: int) -> None:
    playout = Playout(LIMIT_MS)
    frames: list[Frame] = []
    sent = 0
    for number, count in enumerate(deltas):
        playout.append(PLACE, 0, ramp(count, sent % 30_000))
        sent += count
        if number % 3 == 0:
            frames += [playout.next_frame() for _ in range(frames_between)]
    playout.complete_response("resp_1")
    frames += drain(playout)
    assert playout.counts.played == sent
    assert [name for frame in frames for name in frame.started] == (["resp_1"] if sent else [])
    assert [name for frame in frames for name in frame.finished] == (["resp_1"] if sent else [])
