"""Calls through the real fast path: native XDP on the PoP's interfaces, the relay beside it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebpf.verdict import Reason
from edge.lab.lab import Running
from tests.e2e.kit import PATIENCE_S, samples, until
from tests.lab.capture import audio, gaps, missing
from tests.lab.kit import (
    Ends,
    Seen,
    a_lab,
    callers,
    carried,
    clients,
    connect,
    in_client,
    kill_relay,
    talk,
    watching,
)
from tests.pcap import Datagram
from tests.sound import find, frames, speech

pytestmark = [pytest.mark.netns, pytest.mark.slow]

CALLS = 50
LEAST_SHARE = 0.995
LEAST_LIKENESS = 0.5
TALK_S = 15.0
"""Long enough for the two or three packets of a call that set its flow up to be less than 1 in 200."""
DOWN_S = 20.0
UPGRADES = 3
IDLE_S = 5.0
DIRECTIONS = ("upstream", "downstream")
FORWARDED = (Reason.FORWARD_UP, Reason.FORWARD_DOWN)

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Shows a figure to whoever runs the tests."""

    def show(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text}\n")

    return show


@pytest.mark.parametrize("family", [4, 6])
def test_the_kernel_carries_fifty_calls(family: int, tmp_path: Path, say: Say) -> None:
    async def call(running: Running) -> None:
        async with callers(running) as crowd:
            calls = [crowd.call() for _ in range(CALLS)]
            await connect(calls)
            await asyncio.gather(calls[0].converse(frames(speech()), 1, PATIENCE_S), talk(calls[1:], TALK_S))
            assert find(speech(), samples(calls[0].record.heard)).likeness > LEAST_LIKENESS
            assert {vip_of(each) for each in calls} == {family}

    with a_lab([family]) as running:
        with watching(running, tmp_path) as ends, in_client(running):
            asyncio.run(call(running))
        assert_the_kernel_carried(running, ends.read(), say)


def vip_of(call: object) -> int:
    transport = getattr(call, "transport", None)
    assert transport is not None
    assert transport.ice.selected is not None
    return 6 if ":" in transport.ice.selected.host else 4


def assert_the_kernel_carried(running: Running, seen: Seen, say: Say) -> None:
    """More than 99.5 % both ways, by the program's own count and by what was seen at the ends."""
    for name, reason, (sent, received) in zip(DIRECTIONS, FORWARDED, seen.ways, strict=True):
        by_kernel = carried(running, reason)
        lost = missing(sent, received)
        say(
            f"{name}: {len(sent)} packets sent, {by_kernel} carried by XDP ({by_kernel / len(sent):.2%}), "
            f"{lost} not received; every checksum right"
        )
        assert by_kernel > LEAST_SHARE * len(sent)
        assert len(received) > LEAST_SHARE * len(sent)
