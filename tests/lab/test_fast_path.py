"""Calls through the real fast path: native XDP on the PoP's interfaces, the relay beside it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from core.addr import IpFamily
from ebpf.net import netns
from ebpf.net.attach import Netdev
from ebpf.verdict import Reason
from edge.lab.lab import Running
from edge.lab.plan import Place
from tests.browser.driver import Chromium, browser
from tests.e2e.kit import PATIENCE_S, samples, until
from tests.lab.capture import audio, gaps, missing
from tests.lab.kit import (
    AT_ONCE,
    Seen,
    a_lab,
    callers,
    carried,
    clients,
    connect,
    in_client,
    talk,
    watching,
)
from tests.pcap import Datagram
from tests.sound import frames, likeness_in_pieces, silence, speech, write_wav
from transceiver.caller.call import Call

pytestmark = [pytest.mark.netns, pytest.mark.slow]

CALLS = 50
LEAST_SHARE = 0.995
LEAST_LIKENESS = 0.5
TALK_S, TURNS = 15.0, 4
"""Long enough for the packets that set a flow up to be less than 1 in 200: two, or twice that where the
machine is busy. A turn comes every seven seconds.
"""
DOWN_S = 10.0
"""Longer than flows may be idle, and than three times the pause between a call's checks."""
UPGRADES = 3
IDLE_S = 5.0
MAX_SECONDS = 300.0
DIRECTIONS = ("upstream", "downstream")
FORWARDED = (Reason.FORWARD_UP, Reason.FORWARD_DOWN)

Say = Callable[[str], None]


@pytest.mark.alone
def test_the_kernel_carries_fifty_calls(tmp_path: Path, say: Say) -> None:
    """Half of them over IPv4, half over IPv6."""

    async def call(running: Running) -> None:
        async with callers(running) as crowd:
            calls = {family: [crowd.call(family=family) for _ in range(CALLS // 2)] for family in IpFamily}
            speakers = [first for first, *_ in calls.values()]
            others = [each for _, *rest in calls.values() for each in rest]
            await connect([*speakers, *others])
            await asyncio.gather(
                *(each.converse(frames(speech()), 1, PATIENCE_S) for each in speakers), talk(others, TALK_S)
            )
            for each in speakers:
                assert likeness_in_pieces(speech(), samples(each.record.heard)) > LEAST_LIKENESS
            for family, of_family in calls.items():
                assert {vip_of(each) for each in of_family} == {family}

    with a_lab() as running:
        with watching(running, tmp_path) as ends, in_client(running):
            asyncio.run(call(running))
        seen = ends.read()
        for family in IpFamily:
            assert_the_kernel_carried(running, seen, family, say)


@pytest.mark.alone
def test_no_packet_is_lost_with_the_program_or_the_relay(tmp_path: Path, say: Say) -> None:
    """Under calls the program is replaced, several times. Then the relay is killed for a while, and back:
    flows are still there, new calls come at once.
    """

    async def call(running: Running) -> dict[str, Interval]:
        async with callers(running) as crowd:
            calls = [crowd.call(family=family) for family in IpFamily for _ in range(CALLS // 2)]
            await connect(calls)
            async with talking(calls):
                replaced = await replace_program(running)
                killed, before = await kill_and_start_relay(running)
                assert len(before) == CALLS, "one of each, as none has another candidate"
                late = [crowd.call() for _ in range(AT_ONCE)]
                asked_ns = time.monotonic_ns()
                await connect(late)
                say(
                    f"{AT_ONCE} new calls were up {(time.monotonic_ns() - asked_ns) / 1e6:.0f} ms after the "
                    "relay was back"
                )
                assert before < await clients_of(running), "the relay has adopted the flows that it found"
                assert all(each.transport and each.transport.moves == 0 for each in calls)
        await until(lambda: clients(running) == set(), "idle flows are collected, the adopted ones too")
        return {"replaced": replaced, "without a relay": killed}

    with a_lab(idle_timeout_s=IDLE_S) as running:
        with watching(running, tmp_path) as ends, in_client(running):
            intervals = asyncio.run(call(running))
        seen = ends.read()
        for what, interval in intervals.items():
            assert_nothing_was_lost(seen, interval, what, say)


class Interval(NamedTuple):
    """Seconds since the Unix epoch."""

    began: float
    ended: float

    def of(self, datagrams: Iterable[Datagram]) -> list[Datagram]:
        """Those of this time."""
        return [d for d in datagrams if self.began <= d.time_us / 1e6 <= self.ended]


async def clients_of(running: Running) -> set[str]:
    """Those that have a flow; calls go on while the command runs."""
    return await asyncio.to_thread(clients, running)


async def replace_program(running: Running) -> Interval:
    """The time in which new ones took its place."""
    began = time.time()
    ran = [await asyncio.to_thread(programs, running)]
    for _ in range(UPGRADES):
        await asyncio.to_thread(running.load_dataplane)
        ran.append(await asyncio.to_thread(programs, running))
    assert len(set().union(*ran)) == 2 * (1 + UPGRADES), "each time both were new ones"
    return Interval(began, time.time())


async def kill_and_start_relay(running: Running) -> tuple[Interval, set[str]]:
    """The time without one, and of its start; the clients that had a flow all the while."""
    began = time.time()
    running.kill_relay()
    before = await clients_of(running)
    await asyncio.sleep(DOWN_S)
    assert await clients_of(running) == before, "the flows are listed without the relay"
    await asyncio.to_thread(running.start_relay)
    return Interval(began, time.time()), before


@asynccontextmanager
async def talking(calls: Sequence[Call]) -> AsyncIterator[None]:
    """All calls go on meanwhile, and none breaks off."""
    talk = asyncio.gather(*(call.run_for(MAX_SECONDS) for call in calls))
    try:
        yield
        assert not talk.done(), "a call broke off"
    finally:
        talk.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await talk


def programs(running: Running) -> set[int]:
    """The ids of the attached programs."""
    with netns.inside(running.plan.namespaces[Place.POP]), Netdev() as netdev:
        links = (running.plan.public, running.plan.backbone)
        return {found.program_id for link in links if (found := netdev.attached(link.interface))}


def assert_nothing_was_lost(seen: Seen, quiet: Interval, what: str, say: Say) -> None:
    """Of the packets of that time; and no stream skips a number or has one twice, at either end."""
    for name, (sent, received) in zip(DIRECTIONS, seen.ways, strict=True):
        of_interest = quiet.of(sent)
        streams = audio(quiet.of(received))
        lost, skipped = missing(of_interest, received), sum(map(gaps, streams.values()))
        say(
            f"{what}, {name}, {quiet.ended - quiet.began:.1f} s: {len(of_interest)} packets sent, "
            f"{lost} lost; {len(streams)} streams, {skipped} gaps in their sequence numbers; every checksum "
            "right"
        )
        assert (lost, skipped) == (0, 0)
        assert len(streams) >= CALLS
        assert sum(map(gaps, audio(of_interest).values())) == 0


@pytest.mark.browser
@pytest.mark.parametrize("family", [*IpFamily])
def test_the_kernel_carries_a_browsers_call(family: IpFamily, tmp_path: Path, say: Say) -> None:
    microphone = tmp_path / "microphone.wav"
    write_wav(microphone, np.concatenate((silence(1000), speech(), silence(4000))))

    async def call(running: Running) -> None:
        async with browser(Chromium, tmp_path, microphone) as page:
            await page.open(f"{running.plan.url}/")
            await page.evaluate("document.getElementById('call').click()")
            await page.wait_for("voxpop.problem || voxpop.setup.total !== undefined", PATIENCE_S)
            assert await page.evaluate("return voxpop.problem") is None
            await page.wait_for(f"voxpop.turns.length >= {TURNS}", 3 * PATIENCE_S)
            assert await page.evaluate("return voxpop.path.forwarder") == "xdp"
            await page.evaluate("document.getElementById('hangup').click()")
            await page.wait_for("voxpop.state === 'ended'")

    with a_lab([family]) as running:
        with watching(running, tmp_path) as ends, in_client(running):
            asyncio.run(call(running))
        assert_the_kernel_carried(running, ends.read(), family, say)


def vip_of(call: Call) -> int:
    """The IP version that it uses."""
    assert call.transport is not None
    assert call.transport.ice.selected is not None
    return 6 if ":" in call.transport.ice.selected.host else 4


def assert_the_kernel_carried(running: Running, seen: Seen, family: IpFamily, say: Say) -> None:
    """More than 99.5 % both ways, by the program's own count and by what was seen at the ends."""
    counts = carried(running)
    for name, reason, (sent, received) in zip(DIRECTIONS, FORWARDED, seen.of(family).ways, strict=True):
        by_kernel = counts[reason, f"ipv{family}"]
        lost = missing(sent, received)
        say(
            f"IPv{family}, {name}: {len(sent)} packets sent, {by_kernel} carried by XDP "
            f"({by_kernel / len(sent):.2%}), {lost} not received; every checksum right"
        )
        assert by_kernel > LEAST_SHARE * len(sent)
        assert len(received) > LEAST_SHARE * len(sent)
