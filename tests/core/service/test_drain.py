"""One drain: whom it waits for, and what is said of it."""

from __future__ import annotations

from core.service.drain import Drain, Load

S = 1_000_000_000


def begin(workers: int = 2) -> Drain:
    return Drain(number=3, workers=workers, began_ns=10 * S, until_ns=70 * S)


def test_it_is_done_when_every_worker_has_said_so() -> None:
    drain = begin()
    drain.hear(0, 3)
    drain.hear(0, 3)
    assert not drain.is_done
    drain.hear(1, 3)
    assert drain.is_done


def test_what_was_said_of_another_drain_does_not_count() -> None:
    drain = begin(workers=1)
    drain.hear(0, 2)
    assert not drain.is_done
    assert not drain.changed.is_set()


def test_a_worker_that_was_replaced_has_said_nothing() -> None:
    drain = begin(workers=1)
    drain.hear(0, 3)
    drain.forget(0)
    assert not drain.is_done


def test_its_time_can_be_changed_either_way() -> None:
    drain = begin()
    assert drain.rest_s(30 * S) == 40
    drain.prolong(20 * S)
    assert drain.changed.is_set()
    assert drain.rest_s(30 * S) == -10


def test_what_is_said_of_it() -> None:
    drain = begin()
    assert drain.summary(Load(2, 5 * S, is_dated=True), 30 * S) == {
        "left": 2,
        "oldest_s": 25.0,
        "since_s": 20.0,
        "remaining_s": 40.0,
        "is_done": False,
        "is_last": False,
    }
    assert drain.summary(Load(1), 90 * S)["remaining_s"] == 0
    assert "oldest_s" not in drain.summary(Load(1), 90 * S), "it is not known"
    assert drain.summary(Load(0, is_dated=True), 90 * S)["oldest_s"] is None, "there is none"
