"""A browser on a planet: led to the nearest PoP, and to the other one when that is gone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from edge.lab.planet import lifecycle
from tests.browser.drill_pop_cut_off import DRILL
from tests.browser.planet import calling, in_city
from tests.edge.lab.drills.kit import play_short

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.slow]

TOKYO = """
[[city]]
name = "tokyo"
latitude = 35.69
longitude = 139.69
[[pop]]
name = "frankfurt"
latitude = 50.11
longitude = 8.68
[[pop]]
name = "tokyo"
latitude = 35.69
longitude = 139.69
[[region]]
name = "europe"
latitude = 53.35
longitude = -6.26
[transceiver]
max_loop_lag_ms = 10000
"""
"""The configuration has Frankfurt first: only the address of the client leads elsewhere."""


def test_a_client_in_tokyo_is_answered_by_the_pop_there_and_the_page_says_why(tmp_path: Path) -> None:
    async def run(url: str, api_key: str) -> None:
        async with calling(url, api_key, tmp_path) as page:
            assert await page.evaluate("return voxpop.path.pop") == "tokyo"
            assert await page.evaluate("return voxpop.path.forwarder") == "xdp"
            words = await page.evaluate("return document.getElementById('steering').textContent")
            assert words == "tokyo (nearest by your address, 0 km), then frankfurt (9332 km)"
            await page.wait_for("voxpop.turns.length >= 1", 60)

    with (
        lifecycle.running(TOKYO, f"b{os.getpid()}") as planet,
        in_city(planet, planet.city("tokyo"), "europe/1", tmp_path) as url,
    ):
        asyncio.run(run(url, planet.api_key))


def test_a_call_goes_on_when_its_pop_is_cut_off(tmp_path: Path) -> None:
    play_short(DRILL, tmp_path, f"b{os.getpid()}")
