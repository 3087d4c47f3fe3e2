"""Where the time of a turn goes in whole sessions over real sockets, and what is slow shows where it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sound import frames
from tests.tones import pitch, voice
from tests.transceiver.net import PATIENCE_S, Client, Server, calling, running, until
from transceiver.backends.parrot import Parrots
from transceiver.caller.sound import is_audible
from transceiver.media.opus import LOOKAHEAD_NS
from transceiver.session.way import SessionWay
from transceiver.turns.settings import ServerVad

SPEECH = frames(voice(pitch(0), 0.6))
MS = 1_000_000
FRAME_MS = 20
SILENCE_MS, PATIENT_MS = 160, 400
JITTER_S = 0.06
TRIES = 5
STAGES = ("network", "jitter_buffer", "end_of_turn", "backend", "pacing", "way_out")


@dataclass
class Talk:
    """A caller who says `SPEECH` once the round trip is known, and waits for the answer to begin."""

    client: Client
    said: int | None = None
    """Frames of it; None before it begins."""
    said_ns: int = 0
    answered_ns: int | None = None
    """When the packet of the answer's first sound came."""
    jitter_s: float = 0.0
    sent: int = 0

    def tick(self, now_ns: int) -> None:
        path = self.client.path
        assert path is not None
        heard = path.pull(now_ns)
        is_done = self.said is not None and self.said >= len(SPEECH)
        if is_done and self.answered_ns is None and heard is not None and is_audible(heard):
            self.answered_ns = path.arrived_ns
        self.send(path.push(self._next(now_ns), now_ns))
        report = path.poll_rtcp(now_ns)
        if report is not None:
            self.client.send(report)

    def _next(self, now_ns: int) -> bytes | None:
        if self.said is None or self.said >= len(SPEECH):
            return None
        self.said += 1
        self.said_ns = now_ns
        return SPEECH[self.said - 1]

    def send(self, packet: bytes | None) -> None:
        """Two of three packets are held back."""
        assert packet is not None
        self.sent += 1
        if self.sent % 3 and self.jitter_s:
            self.client.loop.call_later(self.jitter_s, self.send_if_open, packet)
        else:
            self.client.send(packet)

    def send_if_open(self, packet: bytes) -> None:
        if self.client.path is not None:
            self.client.send(packet)


async def told(client: Client) -> Mapping[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            event = json.loads(await client.messages.get())
            if event["type"] == "output_audio_buffer.started":
                budget: Mapping[str, Any] = event["voxpop"]["budget"]
                return budget


async def talk(server: Server, silence_ms: int, jitter_s: float = 0.0) -> tuple[Mapping[str, Any], float]:
    """The budget of one turn, and the same time as the caller has it, up to the answer's first packet."""
    settings = {"turn_detection": {"silence_duration_ms": silence_ms}}
    async with calling(server, settings=settings) as (client, session):
        await client.connect()
        await client.opened.wait()
        caller = Talk(client, jitter_s=jitter_s)
        handle = server.ticker.add(caller.tick)
        try:
            await until(lambda: session.audio_stats.rtt_ms is not None)
            caller.said = 0
            budget = await told(client)
            await until(lambda: caller.answered_ns is not None)
        finally:
            handle.cancel()
        assert caller.answered_ns is not None
        return budget, (caller.answered_ns + LOOKAHEAD_NS - caller.said_ns) / MS


async def undisturbed(server: Server) -> Sequence[tuple[Mapping[str, Any], float]]:
    """Three turns: a usual one, a patient one, and one on a way with jitter. Where this machine has stood
    still, callers have left out what they had to say, which looks like a way that was slower; so once more.
    """
    for _ in range(TRIES):
        skipped = server.ticker.skipped_ticks
        calls = (talk(server, SILENCE_MS), talk(server, PATIENT_MS), talk(server, SILENCE_MS, JITTER_S))
        results = await asyncio.gather(*calls)
        if server.ticker.skipped_ticks == skipped:
            break
    return results


def test_the_parts_are_the_whole_and_what_is_slow_shows_where_it_is() -> None:
    async def scenario() -> None:
        async with running(factory=Parrots(ServerVad())) as server:
            results = await undisturbed(server)
            for budget, heard_ms in results:
                assert budget["since"] == "last_word"
                assert budget["backend_ms"] == budget["pacing_ms"] == 0
                parts = [budget[f"{stage}_ms"] for stage in STAGES]
                assert sum(parts) == pytest.approx(budget["total_ms"])
                # What the caller has is by the stamps of packets, which do not know of a clock that is late.
                late_ms = budget["way_out_ms"] - LOOKAHEAD_NS / MS - budget["round_trip_ms"] / 2
                assert budget["total_ms"] - late_ms == pytest.approx(heard_ms, abs=2 * FRAME_MS)
            (usual, _), (patient, _), (shaken, _) = results
            assert SILENCE_MS <= usual["end_of_turn_ms"] < PATIENT_MS <= patient["end_of_turn_ms"]
            assert SILENCE_MS <= shaken["end_of_turn_ms"] < PATIENT_MS
            # Without jitter 20–40; more only where this machine has stood still.
            assert shaken["jitter_buffer_ms"] >= JITTER_S * 1000

    asyncio.run(scenario())


def test_before_there_are_keys_nothing_is_known() -> None:
    way = SessionWay(lambda: 3 * MS)
    assert (way.arrived_ns, way.packing_ns, way.round_trip_ns, way.leaving_ns) == (None, 0, None, 3 * MS)
