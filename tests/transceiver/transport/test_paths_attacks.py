"""Whoever overhears a call neither takes it, nor silences it, nor aims it: docs/paths.md, rule by rule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition

from core.addr import Endpoint
from tests.fuzz.sequences import Machine, rule, word
from tests.suite.fuzzing import times
from tests.transceiver.transport.attacker import (
    CELLULAR,
    DELAY_NS,
    HOME,
    MOVED,
    ROUND_TRIP_NS,
    SECOND_THIEF,
    THIEF,
    TICK_NS,
    VICTIMS,
    World,
)
from tests.transceiver.transport.ice_kit import MS, S, build
from transceiver.transport.agent import RECENT_PACKETS
from transceiver.transport.path import COMPANY_NS, PROOF_NS
from transceiver.transport.paths import MAX_PATHS, MAX_WAYS

LOW = 3.0


def connected(**how: bool) -> World:
    world = World(**how)
    world.connect()
    return world


def replay(world: World, span_ns: int, *sources: Endpoint, pause_ns: int = 200 * MS) -> None:
    """Every check that was overheard, again and again, from each of `sources`."""
    checks = [d for d in world.overheard if d[:2] == b"\0\x01"]
    for number in range(span_ns // pause_ns):
        for source in sources:
            world.inject(checks[number % len(checks)], source, number * pause_ns)


# Row by row: what was tried on whom


def test_replayed_checks_take_nothing_from_a_caller_who_was_silent_for_a_while() -> None:
    world = connected()
    replay(world, 10 * S, THIEF)
    world.run(900 * MS)
    since_ns = world.now_ns
    world.speak(8 * S)
    assert world.heard_share(since_ns) > 0.99
    assert world.amplification(THIEF) <= LOW
    assert world.agent.paths.addresses == [HOME]


def test_checks_replayed_from_two_hundred_addresses_leave_no_trace_and_a_new_port_its_place() -> None:
    world = connected()
    replay(world, S, *VICTIMS)
    world.run(S)
    assert world.agent.paths.addresses == [HOME]
    world.at = MOVED
    since_ns = world.now_ns
    world.speak(S)
    assert world.agent.paths.remote == MOVED
    assert world.heard_ns[-1] > since_ns
    assert max(map(world.amplification, VICTIMS)) <= LOW


@pytest.mark.parametrize("is_speaking", [True, False])
def test_somebody_with_a_call_of_their_own_cannot_aim_it(is_speaking: bool) -> None:
    """One check with a forged source, and one each 25 s for as long as one likes."""
    world = connected()
    victim = VICTIMS[0]
    for number in range(6):
        world.inject(build(nominate=True, priority=1000 + number).data, victim)
        if is_speaking:
            world.speak(2 * S)
        world.stay_silent(23 * S if is_speaking else 25 * S)
    assert world.amplification(victim) <= LOW
    assert world.agent.paths.remote == HOME


def test_a_hundred_calls_aimed_at_one_address_send_it_no_more_than_three_bytes_for_one() -> None:
    victim = VICTIMS[0]
    worlds = [World() for _ in range(100)]
    for world in worlds:
        world.inject(build(nominate=True).data, victim)
        for number in range(8):
            world.inject(build(nominate=True).data, victim, number * 200 * MS)
        world.run(2 * S)
    sent = sum(world.to_address[victim] for world in worlds)
    assert sent <= LOW * sum(world.from_address[victim] for world in worlds)
    assert sent, "they were answered"


def test_a_caller_who_is_gone_cannot_be_kept_by_what_was_overheard() -> None:
    world = connected()
    gone_ns = world.now_ns
    world.at, world.answers = CELLULAR, False  # and nothing of them is heard any more
    for seconds in range(0, 80, 20):
        replay(world, 200 * MS, *VICTIMS[:3])
        world.run(20 * S)
        assert world.agent.paths.heard_ns is not None
        assert world.agent.paths.heard_ns <= gone_ns + DELAY_NS, seconds
    assert max(map(world.amplification, VICTIMS[:3])) <= LOW
    assert world.agent.paths.remote is None
    before = world.to_address[HOME]
    replay(world, S, HOME)
    world.run(10 * S)
    assert world.to_address[HOME] - before <= LOW * 5 * 120


@pytest.mark.parametrize("forwards", [False, True])
def test_whoever_is_always_first_with_a_copy_takes_nothing_from_who_speaks(forwards: bool) -> None:
    world = connected()
    world.copies_to, world.forwards = (THIEF,), forwards
    since_ns = world.now_ns
    world.speak(10 * S)
    assert world.heard_share(since_ns) > 0.99
    assert world.amplification(THIEF) <= LOW or forwards
    if not forwards:
        assert world.agent.paths.remote == HOME


def test_three_forwarders_that_are_always_first_take_nothing_from_who_speaks() -> None:
    world = connected()
    world.copies_to, world.forwards = (THIEF, SECOND_THIEF, *VICTIMS[:14]), True
    since_ns = world.now_ns
    world.speak(10 * S)
    assert world.heard_share(since_ns) > 0.99
    assert max(map(world.amplification, VICTIMS)) <= LOW


def test_a_forwarder_who_is_always_first_takes_nothing_from_who_only_listens() -> None:
    world = connected()
    world.copies_to, world.forwards = (THIEF,), True
    world.stay_silent(60 * S)
    since_ns = world.now_ns
    world.stay_silent(10 * S)
    assert world.heard_share(since_ns) > 0.99


def test_a_call_is_set_up_though_a_copy_of_every_packet_comes_first() -> None:
    world = World()
    world.copies_to = (THIEF, *VICTIMS[:20])
    world.check()
    world.run(ROUND_TRIP_NS + DELAY_NS)
    assert world.agent.paths.remote == HOME
    since_ns = world.now_ns
    world.speak(3 * S)
    assert world.heard_share(since_ns) > 0.95
    assert max(map(world.amplification, (THIEF, *VICTIMS))) <= LOW


@pytest.mark.parametrize("copies_to", [(), (THIEF,), (HOME,), (HOME, *VICTIMS[:30])])
def test_a_new_port_is_followed_within_a_round_trip_and_a_packet(copies_to: tuple[Endpoint, ...]) -> None:
    """A NAT has forgotten the caller, who goes on speaking; who copies is first, from the old port too."""
    world = connected()
    world.copies_to = copies_to
    world.at, moved_ns = MOVED, world.now_ns
    world.speak(S)
    first_ns = next(at_ns for at_ns in world.heard_ns if at_ns > moved_ns)
    # Up with the first packet, down and up with our check and its answer, and down.
    assert first_ns - moved_ns <= 2 * ROUND_TRIP_NS + 2 * TICK_NS
    settled_ns = moved_ns + 2 * ROUND_TRIP_NS + 3 * TICK_NS
    assert world.heard_share(settled_ns) > 0.95


def test_the_owner_wins_a_call_back_with_their_first_packet() -> None:
    """Say the caller was silent for so long that nothing is left of their path but what is known of it."""
    world = connected()
    world.copies_to, world.forwards = (THIEF,), True
    world.check()
    world.copies_to = ()
    world.run(COMPANY_NS + 2 * S)
    since_ns = world.now_ns
    world.speak(200 * MS)
    assert min(at_ns for at_ns in world.heard_ns if at_ns > since_ns) <= since_ns + ROUND_TRIP_NS + TICK_NS
    assert HOME in world.agent.paths.ways


def test_lifelines_go_to_nobody_who_has_not_answered() -> None:
    world = connected()
    for victim in VICTIMS[:3]:
        world.inject(build().data, victim)
    world.speak(500 * MS)
    world.run(20 * S)
    assert max(map(world.amplification, VICTIMS)) <= LOW


def test_a_caller_who_answers_no_checks_is_followed_and_aimed_at_nobody() -> None:
    world = World(answers=False)
    world.check()
    world.run(100 * MS)
    world.agent.paths.finish_handshake(HOME, world.now_ns, is_sole=True)
    world.speak(S)
    world.at = MOVED
    world.speak(S)
    since_ns = world.now_ns
    world.speak(3 * S)
    assert world.heard_share(since_ns) > 0.9
    world.inject(build(nominate=True, priority=9999).data, VICTIMS[0])
    world.speak(10 * S)
    assert world.amplification(VICTIMS[0]) <= LOW
    assert world.heard_share(since_ns) > 0.9


# Property by property


def trace(steps: list[int], replays: list[tuple[int, int]]) -> list[tuple[Endpoint, ...]]:
    """Where the call went at the end of each step, with `replays` (what, whence) in each."""
    world = connected()
    found = []
    for step in steps:
        checks = [d for d in world.overheard if d[:2] == b"\0\x01"]
        for which, whence in replays:
            world.inject(checks[which % len(checks)], (*VICTIMS[:5], THIEF)[whence])
        if step == 0:
            world.speak(300 * MS)
        elif step == 1:
            world.at = MOVED if world.at == HOME else HOME
            world.speak(100 * MS)
        else:
            world.run(step * 100 * MS)
        found.append((*world.agent.paths.ways, *world.agent.paths.addresses))
    return found


@pytest.mark.fuzz
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=4),
)
@settings(max_examples=times(40))
def test_replays_change_nothing_that_can_be_seen(steps: list[int], replays: list[tuple[int, int]]) -> None:
    assert trace(steps, replays) == trace(steps, [])


PLACES = {"home": HOME, "moved": MOVED, "cellular": CELLULAR}
SOURCES = PLACES | {"thief": THIEF} | {f"victim {n}": VICTIMS[n] for n in range(20)}
COPIES: dict[str, tuple[Endpoint, ...]] = {
    "nobody": (),
    "thief": (THIEF,),
    "home": (HOME,),
    "moved and thief": (MOVED, THIEF),
    "3 victims": VICTIMS[:3],
    "20 victims": VICTIMS[:20],
}
KINDS = {"check": b"\0\x01", "answer": b"\x01\x01", "media": b"\x80\x6f"}


class Hostile(Machine):
    """Everything that the attacker can do, in any order, while the caller does what callers do."""

    kept_in = "paths"

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.connect()
        self.spoken_ns = S
        """How long the caller has been speaking from where it is."""
        self.gone_ns: int | None = None
        """Since when there is no caller."""
        self.is_aimed = False
        """The attacker is the caller too, and keeps the call."""

    @precondition(lambda self: self.gone_ns is None)
    @rule(ticks=st.integers(1, 60))
    def speak(self, ticks: int) -> None:
        self.world.speak(ticks * TICK_NS)
        self.spoken_ns += ticks * TICK_NS

    @rule(tenths=st.integers(1, 60))
    def wait(self, tenths: int) -> None:
        self.world.run(tenths * 100 * MS)
        self.spoken_ns = 0

    @precondition(lambda self: self.gone_ns is None)
    @rule()
    def check(self) -> None:
        self.world.check(nominate=False)

    @precondition(lambda self: self.gone_ns is None)
    @rule(to=word(PLACES))
    def move(self, to: str) -> None:
        self.spoken_ns = 0 if PLACES[to] != self.world.at else self.spoken_ns
        self.world.at = PLACES[to]

    @precondition(lambda self: self.gone_ns is None)
    @rule()
    def leave(self) -> None:
        """The caller is gone, and answers nothing any more."""
        self.gone_ns, self.spoken_ns, self.world.answers = self.world.now_ns, 0, False

    @rule(
        kind=word(KINDS),
        back=st.integers(0, 200),
        source=word(SOURCES),
        after_ms=st.sampled_from([0, 0, 40, 700, 6000]),
    )
    def replay(self, kind: str, back: int, source: str, after_ms: int) -> None:
        """One of what was overheard, the newest with `back` 0, at once or later than what comes meanwhile."""
        heard = [datagram for datagram in self.world.overheard if datagram[:2] == KINDS[kind]]
        if heard:
            self.world.inject(heard[-1 - back % len(heard)], SOURCES[source], after_ms * MS)

    @rule(count=st.sampled_from([3, 20, 200]))
    def replay_from_many(self, count: int) -> None:
        """The newest check."""
        check = next(d for d in reversed(self.world.overheard) if d[:2] == KINDS["check"])
        for victim in VICTIMS[:count]:
            self.world.inject(check, victim)

    @rule(to=word(COPIES))
    def copy(self, to: str) -> None:
        self.world.copies_to = COPIES[to]

    @precondition(lambda self: not self.world.forwards)
    @rule()
    def forward(self) -> None:
        self.world.forwards = True

    @rule(number=st.integers(0, 19), priority=st.integers(0, 1 << 31), nominate=st.booleans())
    def aim(self, number: int, priority: int, nominate: bool) -> None:
        """The attacker is the caller: they have its credentials."""
        self.is_aimed = True
        self.world.inject(build(priority=priority, nominate=nominate).data, VICTIMS[number])

    @invariant()
    def no_stranger_is_sent_more_than_three_bytes_for_one(self) -> None:
        worst = max(map(self.world.amplification, VICTIMS))
        assert worst <= LOW

    @invariant()
    def who_speaks_is_heard_from(self) -> None:
        """A round trip and a packet after the first that came from there, whatever came first."""
        if self.spoken_ns >= 2 * ROUND_TRIP_NS + 3 * TICK_NS:
            paths = self.world.agent.paths
            assert self.world.at in paths.ways
            # A proof that has run out is renewed as fast as it was made.
            due_ns = paths._paths[self.world.at].proven_ns + PROOF_NS + ROUND_TRIP_NS + 2 * TICK_NS
            assert paths.is_proven(self.world.at) or self.world.now_ns <= due_ns

    @invariant()
    def nobody_keeps_the_call_of_who_is_gone(self) -> None:
        if self.gone_ns is not None and not self.is_aimed:
            heard_ns = self.world.agent.paths.heard_ns
            assert heard_ns is not None
            assert heard_ns <= self.gone_ns + DELAY_NS

    @invariant()
    def state_is_bounded(self) -> None:
        agent = self.world.agent
        assert len(agent.paths.addresses) <= MAX_PATHS
        assert len(agent._recent) <= RECENT_PACKETS
        proven = [way for way in agent.paths.ways if agent.paths.is_proven(way)]
        assert len(proven) <= MAX_WAYS

    def mark(self) -> object:
        """How many ways there are, how many of them proven, and whether the caller is at one."""
        paths = self.world.agent.paths
        return len(paths.ways), sum(map(paths.is_proven, paths.ways)), self.world.at in paths.ways

    def ended_with(self) -> object:
        """Where the call goes, and what is known of where it could."""
        return self.world.agent.paths.ways, self.world.agent.paths.addresses


TestHostile = pytest.mark.fuzz(Hostile.TestCase)
TestHostile.settings = settings(max_examples=times(15), stateful_step_count=25, deadline=None)
