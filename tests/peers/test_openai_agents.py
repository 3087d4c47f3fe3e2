"""The Agents SDK of OpenAI, in Python, with nothing but the URL set."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.realtime import RealtimeAgent, RealtimeRunner

from tests.sound import find, silence, speech
from tests.transceiver.backends.server.kit import PATIENCE_S, parrots, samples, serving


def test_it_hears_the_parrot_interrupts_it_and_has_its_history() -> None:
    async def scenario() -> None:
        async with serving(parrots()) as served:
            runner = RealtimeRunner(RealtimeAgent(name="parrot", instructions="Say it back."))
            session = await runner.run(model_config={"url": served.url + "?model=parrot", "api_key": "none"})
            async with session, asyncio.timeout(PATIENCE_S):
                await session.send_audio(speech().tobytes() + silence(1_500).tobytes())
                audio = b""
                history: list[Any] = []
                async for event in session:
                    assert event.type != "error", event
                    if event.type == "audio":
                        audio += event.audio.data
                    elif event.type == "audio_end":
                        await session.interrupt()
                    elif event.type == "history_updated":
                        history = event.history
                    elif _is(event, "conversation.item.retrieved"):
                        break
            assert find(speech(), samples(audio)).likeness > 0.999
            assert [item.role for item in history] == ["user", "assistant"]

    asyncio.run(scenario())


def _is(event: Any, kind: str) -> bool:
    """Whether it is a server event as it came."""
    if event.type != "raw_model_event" or event.data.type != "raw_server_event":
        return False
    return bool(event.data.data["type"] == kind)
