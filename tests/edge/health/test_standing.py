"""Rise, fall and hold-down, with the time as a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.health.answers import Outcome
from edge.health.standing import NS_PER_S, Policy, Standing, State

S = NS_PER_S
POLICY = Policy(rise=3, fall=2, hold_down_ns=10 * S, hold_down_max_ns=60 * S)
READY, DRAINING, REFUSED = Outcome.READY, Outcome.DRAINING, Outcome.REFUSED
BAD = [outcome for outcome in Outcome if outcome not in (READY, DRAINING)]


class Relay:
    """One that is asked every second."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.now_ns = 5 * S
        self.standing = Standing(policy, self.now_ns)

    def says(self, *outcomes: Outcome) -> list[State]:
        """The state after each."""
        states = []
        for outcome in outcomes:
            self.now_ns += S
            before = self.standing.state
            assert self.standing.hear(outcome, self.now_ns) == (self.standing.state is not before)
            states.append(self.standing.state)
        return states

    def until_announced(self) -> int:
        """How many seconds of good answers that takes."""
        for seconds in range(1, 1000):
            if self.says(READY) == [State.ANNOUNCED]:
                return seconds
        raise AssertionError("never announced")


def test_it_rises_by_good_answers_in_a_row() -> None:
    relay = Relay()
    W, A = State.WITHDRAWN, State.ANNOUNCED  # noqa: N806
    assert relay.says(READY, READY, REFUSED, READY, READY, READY, READY) == [W, W, W, W, W, A, A]


def test_it_falls_by_bad_answers_in_a_row_of_whatever_kind() -> None:
    relay = Relay()
    relay.until_announced()
    A = State.ANNOUNCED  # noqa: N806
    assert relay.says(REFUSED, READY, Outcome.LATE, READY) == [A] * 4
    assert relay.says(Outcome.STRANGE, Outcome.STARTING) == [A, State.HELD_DOWN]


def test_it_drains_at_once_and_is_back_without_hold_down() -> None:
    relay = Relay()
    relay.until_announced()
    assert relay.says(DRAINING, DRAINING) == [State.DRAINING] * 2
    assert relay.says(READY, READY, READY) == [State.WITHDRAWN, State.WITHDRAWN, State.ANNOUNCED]
    assert relay.standing.falls == 0


def test_one_that_ends_after_its_drain_has_not_fallen() -> None:
    relay = Relay()
    relay.until_announced()
    assert relay.says(DRAINING, REFUSED, REFUSED, REFUSED) == [State.DRAINING, *[State.WITHDRAWN] * 3]
    assert relay.until_announced() == 3


def test_each_fall_holds_down_for_twice_as_long_up_to_a_limit() -> None:
    relay = Relay()
    relay.until_announced()
    took = []
    for _ in range(5):
        relay.says(REFUSED, REFUSED)
        took.append(relay.until_announced())
    assert took == [10, 20, 40, 60, 60]


def test_falls_are_forgotten_by_who_stays_for_as_long_as_the_limit() -> None:
    relay = Relay()
    relay.until_announced()
    relay.says(REFUSED, REFUSED)
    relay.until_announced()
    relay.says(*[READY] * 59)
    assert relay.standing.falls == 1
    relay.says(READY)
    assert relay.standing.falls == 0
    relay.says(REFUSED, REFUSED)
    assert relay.until_announced() == 10


def test_a_drain_while_it_is_held_down_does_not_end_that() -> None:
    relay = Relay()
    relay.until_announced()
    relay.says(REFUSED, REFUSED)
    assert relay.says(DRAINING, READY, REFUSED) == [State.DRAINING, State.HELD_DOWN, State.HELD_DOWN]
    assert relay.until_announced() == 7


def test_without_hold_down_only_rise_and_fall_count() -> None:
    relay = Relay(Policy(rise=1, fall=1, hold_down_ns=0, hold_down_max_ns=0))
    assert relay.says(READY, REFUSED, READY, DRAINING, READY) == [
        State.ANNOUNCED, State.WITHDRAWN, State.ANNOUNCED, State.DRAINING, State.ANNOUNCED,
    ]  # fmt: skip


def test_the_summary_says_how_long_what_is_and_will_be() -> None:
    relay = Relay()
    relay.until_announced()
    relay.says(REFUSED, REFUSED, READY)
    assert relay.standing.summary(relay.now_ns) == {
        "state": "held_down", "since_s": 1.0, "held_for_s": 9.0, "good": 1, "bad": 0, "falls": 1,
    }  # fmt: skip


policies = st.builds(
    lambda rise, fall, hold, more: Policy(rise, fall, hold * S, (hold + more) * S),
    st.integers(1, 6), st.integers(1, 6), st.integers(0, 30), st.integers(0, 90),
)  # fmt: skip
played = st.lists(st.tuples(st.sampled_from(Outcome), st.integers(1, 15 * S)), max_size=120)


@given(policies, played)
def test_whatever_is_answered_nobody_is_announced_who_is_not_to_be(
    policy: Policy, answers: list[tuple[Outcome, int]]
) -> None:
    standing, now_ns = Standing(policy, 0), 0
    heard: list[Outcome] = []
    fell_ns: int | None = None
    for outcome, passed_ns in answers:
        now_ns += passed_ns
        heard.append(outcome)
        was_announced = standing.is_announced
        standing.hear(outcome, now_ns)
        if standing.is_announced and not was_announced:
            assert heard[-policy.rise :] == [READY] * policy.rise
            assert fell_ns is None or now_ns - fell_ns >= policy.hold_down_ns
        if was_announced and not standing.is_announced and outcome is not DRAINING:
            assert all(each in BAD for each in heard[-policy.fall :])
            assert len(heard) > policy.fall
            fell_ns = now_ns
            assert policy.hold_down_ns <= standing.held_until_ns - now_ns <= policy.hold_down_max_ns
        if standing.is_announced:
            assert outcome is not DRAINING
            assert any(each not in BAD for each in heard[-policy.fall :])
        assert standing.good <= policy.rise
        assert standing.bad <= policy.fall


@given(policies, played)
def test_who_is_well_for_long_enough_is_announced(policy: Policy, answers: list[tuple[Outcome, int]]) -> None:
    standing, now_ns = Standing(policy, 0), 0
    for outcome, passed_ns in answers:
        now_ns += passed_ns
        standing.hear(outcome, now_ns)
    for _ in range(policy.rise + policy.hold_down_max_ns // S + 1):
        now_ns += S
        standing.hear(READY, now_ns)
    assert standing.is_announced


@pytest.mark.parametrize("falls", [31, 40, 1000])
def test_any_number_of_falls_is_a_number(falls: int) -> None:
    relay = Relay(Policy(1, 1, 1, 2 * S))
    for _ in range(falls):
        relay.says(READY, REFUSED)
        relay.now_ns += 2 * S
    assert relay.standing.held_until_ns - relay.standing.since_ns <= 2 * S
