"""The audio path alone: the delay that its receiving side adds, and what a session costs.

Delays are cross-correlated on a network with virtual time, so they are exact. Costs are CPU time of
this thread over real speech, many sessions in turn as a process has them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench.result import Figure
from tests.transceiver.media.simulation import (
    NETWORK_MS,
    Network,
    clean,
    converse,
    long_frames,
    long_speech,
    losing,
    pair,
    pushed,
    receive_delay_ms,
)
from transceiver.media import FRAME_MS, FRAME_NS
from transceiver.media.codec import AudioCodec
from transceiver.media.load import BUSY_COMPLEXITY, NORMAL_COMPLEXITY
from transceiver.media.path import AudioPath

DELAY_TARGET_MS = 45.0
SECONDS = 8.0
DISTURBED_MS = 2_000
PHASES_MS = [*range(0, 20, 2), 19.9]
SESSIONS = 20
COST_SECONDS = 10.0
CODEC = AudioCodec(111)

_SOURCE, _FRAMES = long_speech(SECONDS), long_frames(SECONDS)


def run() -> list[Figure]:
    """All figures of the audio path."""
    return [*_delays(), *_costs()]


def _delays() -> list[Figure]:
    first_lost = DISTURBED_MS // FRAME_MS
    held = range(first_lost, first_lost + 10)
    until_ms = held.stop * FRAME_MS
    return [
        _delay("receive delay, clean path", clean, 0),
        _delay("receive delay, after 1 lost packet", losing(first_lost), DISTURBED_MS),
        _delay(
            "receive delay, after 10 lost packets", losing(*range(first_lost, first_lost + 10)), DISTURBED_MS
        ),
        _delay(
            "receive delay, 2 s after 200 ms came late",
            lambda number: NETWORK_MS + (until_ms - number * FRAME_MS if number in held else 0),
            until_ms + 2_000,
        ),
    ]


def _delay(name: str, network: Network, from_ms: int) -> Figure:
    """The worst delay after `from_ms`, over all phases between arrival and playout."""
    worst = 0.0
    for phase_ms in PHASES_MS:
        _, listener = converse((_FRAMES, [None] * len(_FRAMES)), (network, clean), pull_phase_ms=phase_ms)
        for at_ms in range(from_ms, int(SECONDS * 1000) - 1000, 500):
            worst = max(worst, receive_delay_ms(listener, _SOURCE, at_ms))
    return Figure(name, round(worst, 1), "ms", at_most=DELAY_TARGET_MS, note="worst phase of arrivals")


def _costs() -> list[Figure]:
    figures = []
    for complexity in (NORMAL_COMPLEXITY, BUSY_COMPLEXITY):
        own_us = cost_us(complexity, talking=True)
        figures += [
            Figure(f"full duplex, complexity {complexity}", round(own_us, 1), "µs/20 ms"),
            Figure(
                f"full duplex, complexity {complexity}, sessions",
                round(FRAME_NS / 1000 / own_us),
                "per core",
                note=f"{own_us * 50 * 60 / 1e6:.2f} CPU-s per session-minute, without sockets",
            ),
        ]
    own_us = cost_us(NORMAL_COMPLEXITY, talking=False)
    return [*figures, Figure("listening, sending silence", round(own_us, 1), "µs/20 ms")]


def cost_us(complexity: int, *, talking: bool) -> float:
    """CPU time of one session's 20 ms: a datagram in, PCM out, PCM or silence in, a datagram out."""
    frames = long_frames(COST_SECONDS)
    sessions = [_session(frames, complexity) for _ in range(SESSIONS)]
    started_ns = time.thread_time_ns()
    for number, frame in enumerate(frames):
        now_ns = number * FRAME_NS
        for path, datagrams in sessions:
            path.receive_untrusted(datagrams[number], now_ns)
            path.pull(now_ns)
            path.push(frame if talking else None, now_ns)
            path.poll_rtcp(now_ns)
    used_ns = time.thread_time_ns() - started_ns
    for path, _ in sessions:
        path.close()
    return used_ns / 1000 / len(frames) / len(sessions)


def _session(frames: Sequence[bytes], complexity: int) -> tuple[AudioPath, list[bytes]]:
    """A path, and the datagrams of one who talks to it."""
    talker, _ = pair(CODEC)
    datagrams = [pushed(talker, frame, 0) for frame in frames]
    _, listener = pair(CODEC, complexity=complexity)
    return listener, datagrams
