"""Calls through real relays to real transceivers: many at once, and through what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.addr import Endpoint
from tests import tones
from tests.e2e.kit import (
    PATIENCE_S,
    Callers,
    callers,
    is_answered,
    loudest_pitches,
    metric,
    open_files,
    process_tree,
    running,
    samples,
    sockets,
    until,
)
from tests.sound import frames
from transceiver.caller.call import Call
from transceiver.caller.ice import CONSENT_INTERVAL_NS, Nomination
from transceiver.caller.report import make_report
from transceiver.demo.host import LocalHost

pytestmark = pytest.mark.slow

CALLS = 50
AT_ONCE = 8
SPEAKING_AT_ONCE = 25
"""All encode and decode in this one process, which must be in time for each of them."""
VOICE_S = 1.6
HEARD_WINDOWS = 5
"""Of 100 ms: a third of a voice, however busy the machine."""
OTHERS_WINDOWS = 8
"""Half of a voice. Splices in the audio of a busy machine make less than that look like the next pitch;
another caller's voice would be there for its whole length.
"""


async def connect(calls: Sequence[Call]) -> None:
    """All of them, a few at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(call: Call) -> None:
        async with free:
            await call.connect()

    await asyncio.gather(*map(one, calls))


@pytest.mark.alone
def test_fifty_callers_hear_themselves_and_nobody_else(tmp_path: Path) -> None:
    pitches = [tones.pitch(index) for index in range(CALLS)]

    async def run() -> None:
        async with running(tmp_path) as host, callers(host) as crowd:
            calls = [crowd.call() for _ in pitches]
            await connect(calls)
            check_sockets(host, crowd)
            voices = [frames(tones.voice(hz, VOICE_S)) for hz in pitches]
            speaking = list(zip(calls, voices, strict=True))
            for begin in range(0, CALLS, SPEAKING_AT_ONCE):  # neighbours in pitch together
                some = speaking[begin : begin + SPEAKING_AT_ONCE]
                await asyncio.gather(*(call.converse(voice, 1, PATIENCE_S) for call, voice in some))
            for call, own in zip(calls, pitches, strict=True):
                counts = loudest_pitches(samples(call.record.heard), pitches)
                others = counts - Counter({own: counts[own]})
                assert counts[own] >= HEARD_WINDOWS, f"{own} Hz did not hear itself: {counts}"
                assert max(others.values(), default=0) < OTHERS_WINDOWS, f"{own} Hz heard another: {counts}"

    asyncio.run(run())


def check_sockets(host: LocalHost, crowd: Callers) -> None:
    """With every call up: who listens where, as `ss` has it."""
    plan = host.plan
    relay, transceiver = process_tree(host.relay), process_tree(host.transceiver)
    hosts = [vip.host for vip in plan.vips]
    ports = range(plan.ports[0], plan.ports[1] + 1)

    relay_udp = sockets("udp", relay)
    assert {s.local for s in relay_udp if s.is_open} == set(plan.vips)
    upstream = [s.peer.port for s in relay_udp if s.peer is not None]
    assert len(upstream) == len(crowd.calls)
    assert set(upstream) == set(ports), "both processes have calls"

    _, *processes = transceiver
    udp = [sorted(s.local for s in sockets("udp", [pid])) for pid in processes]
    assert sorted(udp) == [sorted(Endpoint(host, port) for host in hosts) for port in ports]
    assert all(s.is_open for s in sockets("udp", transceiver))

    assert {s.local for s in sockets("tcp", relay) if s.is_open} == {plan.relay_metrics}
    assert {s.local for s in sockets("tcp", transceiver) if s.is_open} == {
        plan.http,
        plan.transceiver_metrics,
    }


def test_closing_everything_leaks_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path, relay={"idle_timeout_s": 2}) as host:
            await a_round_of_calls(host)  # what is opened once and kept is open after this
            pids = process_tree(host.relay) + process_tree(host.transceiver)
            await until_idle(host)
            before = open_files(pids)
            tasks = len(asyncio.all_tasks())
            await a_round_of_calls(host)
            await until_idle(host)
            await until(lambda: has_leaked(before) == {}, "every file is closed again")
            assert len(asyncio.all_tasks()) == tasks

    def has_leaked(before: dict[int, int]) -> dict[int, int]:
        return {pid: count for pid, count in open_files(before).items() if count > before[pid]}

    async def a_round_of_calls(host: LocalHost) -> None:
        async with callers(host) as crowd:
            await connect([crowd.call() for _ in range(10)])
            await asyncio.gather(*(call.run_for(0.2) for call in crowd.calls))

    async def until_idle(host: LocalHost) -> None:
        relay = process_tree(host.relay)
        await until(lambda: all(s.is_open for s in sockets("udp", relay)), "no upstream socket is left")
        assert await metric(host.plan.transceiver_metrics, "voxpop_transceiver_sessions") == 0

    asyncio.run(run())


@pytest.mark.parametrize("nomination", Nomination)
def test_a_caller_whose_port_changes_keeps_the_call(
    tmp_path: Path, say: Callable[[str], None], nomination: Nomination
) -> None:
    async def run() -> None:
        async with running(tmp_path) as host, callers(host) as crowd:
            call = crowd.call(nomination)
            await call.connect()
            await is_answered(call)
            transport = call.transport
            assert transport is not None
            old = transport.local_address
            transport.gaps.forget()
            transport.rebind()
            await transport.next_audio()
            gap_ms = transport.gaps.longest_ns / 1e6
            assert transport.local_address != old
            await is_answered(call)
            say(f"port changed, USE-CANDIDATE {nomination.value}: audio back after {gap_ms:.0f} ms")

    asyncio.run(run())


def test_the_relay_is_killed_and_started_again(tmp_path: Path, say: Callable[[str], None]) -> None:
    """Nothing of the call is lost with the relay: the next check brings everything back."""

    async def run() -> None:
        async with running(tmp_path) as host, callers(host) as crowd:
            calls = [crowd.call(nomination) for nomination in Nomination]
            await connect(calls)
            await asyncio.gather(*map(is_answered, calls))
            killed_ns = await kill(host)
            await host.relay.start()
            down_ns = time.monotonic_ns() - killed_ns
            await asyncio.gather(*(next_audio(call) for call in calls))
            for call in calls:
                assert call.transport is not None
                gap_ns = call.transport.gaps.longest_ns
                say(
                    f"relay down for {down_ns / 1e6:.0f} ms: audio back after {gap_ns / 1e6:.0f} ms, "
                    f"checks every {CONSENT_INTERVAL_NS / 1e6:.0f} ms"
                )
            await asyncio.gather(*map(is_answered, calls))

    async def kill(host: LocalHost) -> int:
        assert host.relay.child is not None
        os.killpg(host.relay.child.popen.pid, signal.SIGKILL)
        await asyncio.to_thread(host.relay.child.popen.wait)
        return time.monotonic_ns()

    async def next_audio(call: Call) -> None:
        assert call.transport is not None
        await call.transport.next_audio()

    asyncio.run(run())


def test_audio_that_is_dead_at_the_end_counts_as_a_gap_and_as_lost(tmp_path: Path) -> None:
    async def check() -> None:
        async with running(tmp_path) as host, callers(host) as crowd:
            call = crowd.call()
            await call.connect()
            await call.run_for(0.5)
            died_ns = time.monotonic_ns()
            await host.relay.stop()
            dead_ns = time.monotonic_ns()
            await call.run_for(2.0)
            quality = make_report(call, None).quality
            assert quality is not None
            assert 2_000 <= quality.longest_gap_ms <= 2_500 + (dead_ns - died_ns) / 1e6
            assert quality.packets_lost >= 90
            assert quality.loss_percent > 10
            first = quality.longest_gap_ms
            await call.hang_up()
            await asyncio.sleep(0.3)
            ended = make_report(call, None).quality
            assert ended is not None
            assert ended.longest_gap_ms < first + 250, "what is over gets no longer"

    asyncio.run(check())
