"""Whether a relay is to be announced: rise, fall, hold-down. A value; the time goes in.

    withdrawn ── `rise` good answers ──▶ announced ── `fall` bad ones ──▶ held down ── time ──▶ withdrawn
        ▲                                    └───────────── it drains ──▶ draining ── not any more ──┘

One good answer forgives bad ones, so only a row of them is a fall. A fall holds down: for that long no
number of good answers announces, and twice as long after each further fall, up to a limit. Who stays
announced for as long as that limit is forgiven all falls. A drain is no fault: it withdraws with the first
answer that says so, and nothing is held down after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge.health.answers import Outcome

NS_PER_S = 1_000_000_000
MAX_DOUBLINGS = 32


class State(StrEnum):
    """Where a relay stands."""

    WITHDRAWN = "withdrawn"
    """Not well for long enough yet."""
    ANNOUNCED = "announced"
    HELD_DOWN = "held_down"
    """It has fallen, and whatever it answers, it is not time yet."""
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Policy:
    """How much it takes."""

    rise: int
    """Good answers in a row that announce."""
    fall: int
    """Bad ones in a row that withdraw."""
    hold_down_ns: int
    """After the first fall."""
    hold_down_max_ns: int
    """Of repeated ones, at most; and how long it takes until falls are forgotten."""


class Standing:
    """One relay, from the start of its checker. Times are monotonic."""

    def __init__(self, policy: Policy, now_ns: int, *, is_announced: bool = False) -> None:
        """`is_announced`: another checker has found it well, and this one goes on."""
        self._policy = policy
        self.state = State.ANNOUNCED if is_announced else State.WITHDRAWN
        self.since_ns = now_ns
        """When `state` began."""
        self.good = 0
        """Good answers in a row; like the next, as far as they matter."""
        self.bad = 0
        self.falls = 0
        """Those that are not forgotten."""
        self.held_until_ns = now_ns

    @property
    def is_announced(self) -> bool:
        """Whether routes are to lead here."""
        return self.state is State.ANNOUNCED

    def hear(self, outcome: Outcome, now_ns: int) -> bool:
        """An answer, or none; whether the state is another now."""
        before = self.state
        if outcome is Outcome.DRAINING:
            self.good = self.bad = 0
            self._enter(State.DRAINING, now_ns)
        elif outcome is Outcome.READY:
            self.good, self.bad = min(self.good + 1, self._policy.rise), 0
            self._rise(now_ns)
        else:
            self.good, self.bad = 0, min(self.bad + 1, self._policy.fall)
            self._fall(now_ns)
        return self.state is not before

    def _rise(self, now_ns: int) -> None:
        if self.state is State.ANNOUNCED:
            if now_ns - self.since_ns >= self._policy.hold_down_max_ns:
                self.falls = 0
        elif now_ns < self.held_until_ns:
            self._enter(State.HELD_DOWN, now_ns)
        elif self.good >= self._policy.rise:
            self._enter(State.ANNOUNCED, now_ns)
        else:
            self._enter(State.WITHDRAWN, now_ns)

    def _fall(self, now_ns: int) -> None:
        if self.state is not State.ANNOUNCED:
            is_held = now_ns < self.held_until_ns
            self._enter(State.HELD_DOWN if is_held else State.WITHDRAWN, now_ns)
        elif self.bad >= self._policy.fall:
            doubled_ns = self._policy.hold_down_ns << min(self.falls, MAX_DOUBLINGS)
            hold_ns = min(doubled_ns, self._policy.hold_down_max_ns)
            self.falls += 1
            self.held_until_ns = now_ns + hold_ns
            self._enter(State.HELD_DOWN if hold_ns else State.WITHDRAWN, now_ns)

    def _enter(self, state: State, now_ns: int) -> None:
        if state is not self.state:
            self.state, self.since_ns = state, now_ns

    def summary(self, now_ns: int) -> dict[str, object]:
        """For people and scripts. Durations in seconds."""
        return {
            "state": self.state,
            "since_s": round((now_ns - self.since_ns) / NS_PER_S, 1),
            "held_for_s": round(max(self.held_until_ns - now_ns, 0) / NS_PER_S, 1),
            "good": self.good,
            "bad": self.bad,
            "falls": self.falls,
        }
