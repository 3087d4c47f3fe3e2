"""The 20 ms clock, on both event loops. What is asserted is order and count, never how fast a machine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
import uvloop

from transceiver.media import FRAME_NS
from transceiver.media.ticker import PHASES, Handle, Ticker

PATIENCE_S = 20.0
Scenario = Callable[[Ticker], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Run a scenario with a ticker on the loop under test."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            with ticking() as ticker:
                await asyncio.wait_for(scenario(ticker), PATIENCE_S)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run


@contextmanager
def ticking() -> Iterator[Ticker]:
    """A ticker that is closed at the end."""
    ticker = Ticker()
    try:
        yield ticker
    finally:
        ticker.close()


class Member:
    """Remembers its deadlines and tells when it has `count` of them."""

    def __init__(self, count: int = 10) -> None:
        self.deadlines: list[int] = []
        self.done = asyncio.Event()
        self._count = count

    def __call__(self, now_ns: int) -> None:
        self.deadlines.append(now_ns)
        if len(self.deadlines) >= self._count:
            self.done.set()


def test_deadlines_lie_on_a_grid_and_do_not_drift(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        member = Member(25)
        ticker.add(member)
        await member.done.wait()
        steps = [
            later - sooner for sooner, later in zip(member.deadlines, member.deadlines[1:], strict=False)
        ]
        assert all(step > 0 and step % FRAME_NS == 0 for step in steps)
        missed = sum(step // FRAME_NS - 1 for step in steps)
        assert missed * PHASES <= ticker.skipped_ticks + PHASES
        assert member.deadlines[-1] <= time.monotonic_ns() + 1_000_000

    run(scenario)


def test_members_are_spread_over_the_phases(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        members = [Member(3) for _ in range(2 * PHASES)]
        for member in members:
            ticker.add(member)
        assert len(ticker) == 2 * PHASES
        for member in members:
            await member.done.wait()
        phases = [member.deadlines[0] % FRAME_NS for member in members]
        assert sorted(phases) == sorted([n * FRAME_NS // PHASES for n in range(PHASES)] * 2)

    run(scenario)


def test_a_second_member_comes_halfway_and_goes_with_the_first(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        first, second = Member(5), Member(5)
        handle = ticker.add(first, second)
        await asyncio.gather(first.done.wait(), second.done.wait())
        offset_ns = (second.deadlines[0] - first.deadlines[0]) % FRAME_NS
        assert offset_ns == FRAME_NS // 2
        handle.cancel()
        assert len(ticker) == 0

    run(scenario)


def test_a_cancelled_member_is_not_called_again_even_within_the_tick(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        victim, witness = Member(), Member(5)
        handles: list[Handle] = []

        def assassin(now_ns: int) -> None:
            handles[-1].cancel()

        handles += [ticker.add(assassin), *(ticker.add(lambda _: None) for _ in range(PHASES - 1))]
        handles.append(ticker.add(victim))  # the phases are even: this is the assassin's
        ticker.add(witness)
        await witness.done.wait()
        assert not victim.deadlines
        assert len(ticker) == PHASES + 1

    run(scenario)


def test_a_member_that_raises_is_removed_and_reported_and_the_others_go_on(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(ticker: Ticker) -> None:
        reports: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        calls: list[int] = []

        def faulty(now_ns: int) -> None:
            calls.append(now_ns)
            raise LookupError("this session is broken")

        member = Member(5)
        ticker.add(faulty)
        ticker.add(member)
        await member.done.wait()
        assert len(calls) == 1
        assert isinstance(reports[0]["exception"], LookupError)
        assert len(ticker) == 1

    run(scenario)


def test_after_a_stall_it_catches_up_a_little_skips_the_rest_and_says_so(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(ticker: Ticker) -> None:
        member = Member(3)
        ticker.add(member)
        await member.done.wait()
        skipped, before = ticker.skipped_ticks, len(member.deadlines)
        member.done.clear()
        time.sleep(0.5)  # noqa: ASYNC251  the stall itself
        await member.done.wait()
        last, *burst = member.deadlines[before - 1 :]
        assert ticker.skipped_ticks - skipped >= 15 * PHASES
        assert ticker.late_ticks > 0
        assert ticker.lag_ms > 300
        assert burst[0] - last > 15 * FRAME_NS
        assert burst[0] % FRAME_NS == last % FRAME_NS

    run(scenario)


def test_lag_is_forgotten(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        time.sleep(0.1)  # noqa: ASYNC251
        ticks = Member(1)
        ticker.add(ticks)
        await ticks.done.wait()
        peak = ticker.lag_ms
        assert peak > 50
        while ticker.lag_ms > peak / 2:
            ticks.done.clear()
            await ticks.done.wait()

    run(scenario)


def test_a_member_can_ask_how_late_it_is(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        told: list[tuple[int, int]] = []
        done = asyncio.Event()

        def member(now_ns: int) -> None:
            before_ns = time.monotonic_ns() - now_ns
            late_ns = ticker.late_ns()
            assert max(0, before_ns) <= late_ns <= max(0, time.monotonic_ns() - now_ns)
            told.append((now_ns, late_ns))
            done.set()

        ticker.add(member)
        await done.wait()
        done.clear()
        time.sleep(0.05)  # noqa: ASYNC251
        await done.wait()
        assert told[1][1] > 5_000_000

    run(scenario)


def test_load_is_sampled(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        def busy(now_ns: int) -> None:
            end_ns = time.thread_time_ns() + 5_000_000
            while time.thread_time_ns() < end_ns:
                pass

        ticker.add(busy)
        tick = Member(1)
        ticker.add(tick)
        while not ticker.load.busy:
            tick.done.clear()
            await tick.done.wait()
        assert 0.0 < ticker.load.busy <= 1.0

    run(scenario)


def test_closed_it_calls_nobody(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        member = Member(2)
        ticker.add(member)
        await member.done.wait()
        ticker.close()
        seen = len(member.deadlines)
        await asyncio.sleep(0.1)
        assert len(member.deadlines) == seen
        assert len(ticker) == 0

    run(scenario)


def test_a_member_may_close_the_clock(run: Callable[[Scenario], None]) -> None:
    async def scenario(ticker: Ticker) -> None:
        closed = asyncio.Event()

        def last(now_ns: int) -> None:
            ticker.close()
            closed.set()

        ticker.add(last)
        await closed.wait()
        await asyncio.sleep(0.05)
        assert len(ticker) == 0

    run(scenario)
