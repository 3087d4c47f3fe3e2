"""The Agents SDK of OpenAI in Firefox, which has another WebRTC stack than Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.driver import FirefoxWithSound
from tests.peers.judge import judge
from tests.peers.packages import visiting
from tests.peers.test_agents_npm import SOUNDS, Visit, asks_for_the_time, breaks_in

pytestmark = pytest.mark.browser


def test_an_agent_in_firefox_has_its_tool_called_and_is_interrupted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with visiting(tmp_path, "agents.js", "clerk", SOUNDS, kind=FirefoxWithSound) as (page, front):
            visit = Visit(page, front)
            await visit.connect()
            await asks_for_the_time(visit)
            await breaks_in(visit)
            await page.evaluate("session.close()")
            state = await visit.state()
            assert state["errors"] == []
            judge(state["received"])

    asyncio.run(scenario())
