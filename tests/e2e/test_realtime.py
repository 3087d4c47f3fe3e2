"""A caller, a transceiver process, and a backend behind a WebSocket: whole calls over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from tests.sound import frames, likeness_in_pieces, speech
from tests.transceiver.backends.clerk.kit import words
from tests.transceiver.backends.realtime.server import Line, Server, echo, serving
from tests.transceiver.backends.server.kit import serving as serving_backend
from tests.transceiver.host_calls import calling, hosting
from tests.transceiver.host_kit import Host
from tests.transceiver.net import PATIENCE_S, until
from transceiver.backends.clerk.backend import Clerks
from transceiver.backends.clerk.voice import EspeakVoice
from transceiver.caller.budget import PARTS, TurnBudget
from transceiver.caller.call import Call
from transceiver.caller.errors import CallError
from transceiver.caller.report import make_report
from transceiver.media import SAMPLE_RATE

pytestmark = pytest.mark.slow

PAUSE_MS = 200
TRIES = 4


Script = Callable[[Line], Awaitable[None]]
Scenario = Callable[[Host, Server], Awaitable[None]]


def run(folder: Path, script: Script, scenario: Scenario, **settings: object) -> Host:
    """A scenario with a host whose backend runs that script."""

    async def whole() -> Host:
        async with serving(script) as server, hosting(folder, server.url, **settings) as host:
            await scenario(host, server)
        return host

    return asyncio.run(whole())


def test_a_caller_is_answered_by_a_backend_behind_a_websocket(tmp_path: Path) -> None:
    said = speech()

    async def scenario(host: Host, server: Server) -> None:
        async with calling(host, 2 * PATIENCE_S) as call:
            await until(lambda: call.record.events)
            await call.converse(frames(said), 1, len(said) / SAMPLE_RATE * 2 + 10)
            kinds = [event.type for event in call.record.events]
            assert kinds[0] == "session.created"
            for kind in ("speech_started", "speech_stopped"):
                assert f"input_audio_buffer.{kind}" in kinds
            assert kinds.index("response.created") < kinds.index("output_audio_buffer.started")
            heard = np.frombuffer(b"".join(call.record.heard), "<i2")
            assert likeness_in_pieces(said, heard) > 0.5
        assert sum(bool(line.received) for line in server.lines) == 1
        (line,) = [line for line in server.lines if line.received]
        await until(lambda: line.socket.closed)

    host = run(tmp_path, echo, scenario)
    assert not any("Traceback" in text for text in host.log)


class HesitantVoice(EspeakVoice):
    """Thinks before it speaks."""

    pause_s = 0.0

    async def speak(self, words: str) -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(self.pause_s)
        async with contextlib.aclosing(super().speak(words)) as speech:
            async for pcm in speech:
                yield pcm


class HesitantClerks(Clerks):
    def __init__(self) -> None:
        super().__init__(1, time.monotonic_ns, lambda: "noon")
        self.voice = HesitantVoice()
        self._desk = dataclasses.replace(self._desk, voice=self.voice)


def long_others(budget: TurnBudget) -> list[str]:
    """Parts that are neither the backend nor the end of the turn, and took as long as the voice thinks."""
    others = set(PARTS) - {"backend", "end_of_turn"}
    return [part for part in others if abs(budget.stages_ms[part]) >= PAUSE_MS]


def test_where_the_time_of_a_turn_went_and_that_a_slow_voice_is_the_backends_part(tmp_path: Path) -> None:
    clerks = HesitantClerks()
    said = frames(words("call me robert"))

    async def say(call: Call) -> TurnBudget:
        await call.converse(said, 1, PATIENCE_S)
        (turn,) = make_report(call, None).turns
        budget, response_ms = turn.budget, turn.response_ms
        assert budget is not None
        assert response_ms is not None
        assert budget.since == "last_word"
        assert sum(budget.stages_ms.values()) == pytest.approx(response_ms, abs=0.2)
        own = budget.backend_stages_ms
        assert list(own) == ["recognition", "reply", "speech"]
        assert sum(own.values()) <= budget.stages_ms["backend"] + 0.5
        return budget

    async def scenario(host: Host) -> None:
        async with calling(host, 3 * PATIENCE_S) as call:
            await until(lambda: call.record.events)
            budgets = [await say(call)]
            clerks.voice.pause_s = PAUSE_MS / 1000
            # Once more where this machine has stood still for longer than that.
            while len(budgets) == 1 or (long_others(budgets[-1]) and len(budgets) < TRIES):
                budgets.append(await say(call))
        usual, slow = budgets[0], budgets[-1]
        assert set(PARTS) - set(slow.stages_ms) == set(), "all is known by the second turn"
        assert slow.backend_stages_ms["speech"] >= PAUSE_MS
        assert slow.stages_ms["backend"] >= PAUSE_MS
        assert all(500 <= each.stages_ms["end_of_turn"] < 500 + PAUSE_MS for each in (usual, slow))
        assert long_others(slow) == []
        seen = await asyncio.to_thread(host.metrics)
        stage = "voxpop_transceiver_turn_stage_seconds_sum{stage=backend}"
        told_ms = sum(budget.stages_ms["backend"] for budget in budgets)
        assert seen[stage] * 1000 == pytest.approx(told_ms, abs=0.1 * len(budgets))
        assert seen["voxpop_transceiver_turns_total{outcome=over}"] == len(budgets)

    async def whole() -> None:
        async with serving_backend(clerks) as served, hosting(tmp_path, served.url) as host:
            await scenario(host)

    asyncio.run(whole())


def test_a_call_whose_backend_does_not_come_back_ends_with_that_reason(tmp_path: Path) -> None:
    async def breaks_off(line: Line) -> None:
        await line.greet()

    async def scenario(host: Host, server: Server) -> None:
        async with calling(host, 2 * PATIENCE_S) as call:
            with pytest.raises(CallError, match="backend"):
                await call.run_for(PATIENCE_S)
            codes = [
                event.event["error"]["code"]  # type: ignore[index]
                for event in call.record.events
                if event.type == "error"
            ]
            assert codes[0] == "backend_lost"
            assert codes[-1] == "backend_gone"
        seen = await asyncio.to_thread(host.metrics)
        assert seen["voxpop_transceiver_sessions_ended_total{reason=backend_gone}"] == 1
        assert seen["voxpop_transceiver_backend_losses_total{reason=closed}"] == len(server.lines)

    host = run(tmp_path, breaks_off, scenario, reconnect_s=2, answer_timeout_s=2, connections=0)
    assert any("lost its backend: closed" in text for text in host.log)
