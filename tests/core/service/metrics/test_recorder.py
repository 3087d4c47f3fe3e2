"""core.service.metrics.recorder: what was declared can be counted, and nothing else."""

from __future__ import annotations

import pytest

from core.service.metrics import OTHER, Recorder, counter, histogram

ENDED = counter("voxpop_x_ended_total", "Things that ended, by reason.", reason=("done", OTHER))
STRICT = counter("voxpop_x_strict_total", "Things that have no other.", reason=("done",))
TOOK = histogram(
    "voxpop_x_took_seconds", "What things took, by stage.", buckets=(0.1, 1.0), stage=("first", "last")
)


def test_everything_is_there_from_the_start() -> None:
    recorder = Recorder([ENDED, TOOK])
    assert recorder.counts == {ENDED: {("done",): 0, (OTHER,): 0}}
    assert {row: d.counts for row, d in recorder.distributions[TOOK].items()} == {
        ("first",): [0, 0, 0],
        ("last",): [0, 0, 0],
    }


def test_what_is_not_known_counts_as_other() -> None:
    recorder = Recorder([ENDED])
    for reason in ("done", "exploded", "melted"):
        recorder.count(ENDED, reason)
    assert recorder.counts[ENDED] == {("done",): 1, (OTHER,): 2}


def test_a_measure_of_what_is_not_known_is_one_of_other() -> None:
    took = histogram(
        "voxpop_x_took_seconds", "What things took, by stage.", buckets=(1.0,), stage=("first", OTHER)
    )
    recorder = Recorder([took])
    for stage in ("first", "middle", "last"):
        recorder.observe(took, 0.5, stage)
    assert {row: d.counts for row, d in recorder.distributions[took].items()} == {
        ("first",): [1, 0],
        (OTHER,): [2, 0],
    }


def test_a_bound_belongs_to_its_bucket() -> None:
    recorder = Recorder([TOOK])
    for seconds in (0.05, 0.1, 0.5, 7.0):
        recorder.observe(TOOK, seconds, "last")
    distribution = recorder.distributions[TOOK]["last",]
    assert (distribution.counts, distribution.total) == ([2, 1, 1], pytest.approx(7.65))


def test_what_was_not_declared_cannot_be_counted() -> None:
    recorder = Recorder([STRICT, TOOK])
    with pytest.raises(KeyError):
        recorder.count(ENDED, "done")
    with pytest.raises(KeyError):
        recorder.count(STRICT, "exploded")
    with pytest.raises(KeyError):
        recorder.observe(TOOK, 1.0, "middle")
