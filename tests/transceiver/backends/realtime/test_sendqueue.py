"""What waits for a backend that is slow to take it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transceiver.backends.realtime.sendqueue import MAX_AUDIO, MAX_EVENT_CHARS, MAX_EVENTS, SendQueue


def test_the_oldest_audio_gives_way_and_no_event_does() -> None:
    queue = SendQueue()
    queue.push("update", is_audio=False)
    for number in range(MAX_AUDIO + 3):
        assert queue.push(str(number), is_audio=True)
    queue.push("commit", is_audio=False)
    taken = [queue.pop() for _ in range(len(queue))]
    assert taken == ["update", *map(str, range(3, MAX_AUDIO + 3)), "commit"]
    assert queue.dropped == 3


def test_too_many_or_too_long_events_are_told() -> None:
    queue = SendQueue()
    assert all(queue.push("x", is_audio=False) for _ in range(MAX_EVENTS))
    assert not queue.push("x", is_audio=False)
    queue.clear()
    assert queue.push("x" * MAX_EVENT_CHARS, is_audio=False)
    assert not queue.push("x", is_audio=False)


@given(st.lists(st.booleans() | st.none(), max_size=1500))
def test_order_is_kept_and_counts_are_right(steps: list[bool | None]) -> None:
    queue = SendQueue()
    pushed = taken = last = 0
    for step in steps:
        if step is not None:
            pushed += 1
            queue.push(str(pushed), is_audio=step)
        elif len(queue):
            number = int(queue.pop())
            assert number > last
            last, taken = number, taken + 1
    assert pushed == taken + len(queue) + queue.dropped
