"""A browser is led to the nearest PoP, and its page says which that is and why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.driver import Chromium, browser
from tests.browser.test_calls import CONNECT_TIMEOUT_S, PATIENT
from tests.sound import speech, write_wav
from tests.transceiver.steering.places import FRANKFURT, NEW_YORK, TOKYO, record, write_database
from transceiver.demo.host import CONFIG_FILE, LocalHost, plan_host

pytestmark = pytest.mark.browser

WORDS = "demo (nearest by your address, 0 km), then fra (9332 km)"

RELAY_IS_KNOWN = """
for (;;) {
  const pops = await (await fetch('/v1/pops')).json();
  if (pops.find(({ id }) => id === 'demo').state === 'ready') return;
  await new Promise((resolve) => setTimeout(resolve, 100));
}
"""
"""Relay and transceiver start at once, and one that has not answered yet is not named beside others."""


def test_a_client_in_tokyo_is_answered_by_the_pop_there(tmp_path: Path) -> None:
    """The database has this machine in Tokyo. Before the PoP there the configuration has two that do not
    answer: a call through either would not connect for seconds.
    """
    write_wav(tmp_path / "microphone.wav", speech())
    write_database(tmp_path / "cities.mmdb", {"127.0.0.0/8": record(TOKYO)})
    plan = plan_host(transceiver_settings=PATIENT | {"location_database": "cities.mmdb"})
    host = LocalHost(plan, tmp_path)
    config = (tmp_path / CONFIG_FILE).read_text()
    head, pop, rest = config.partition("[[pop]]\n")
    far = "".join(
        f'[[pop]]\nid = "{city}"\nvips = ["192.0.2.{number}:3478"]\n'
        f"latitude = {at.latitude}\nlongitude = {at.longitude}\n"
        for number, (city, at) in enumerate({"nyc": NEW_YORK, "fra": FRANKFURT}.items(), 1)
    )
    here = f"latitude = {TOKYO.latitude}\nlongitude = {TOKYO.longitude}\n"
    (tmp_path / CONFIG_FILE).write_text(head + far + pop + here + rest)

    async def run() -> None:
        try:
            await host.start()
            async with browser(Chromium, tmp_path, tmp_path / "microphone.wav") as page:
                await page.open(plan.url)
                await page.evaluate(RELAY_IS_KNOWN)
                await page.evaluate("document.getElementById('call').click()")
                await page.wait_for("voxpop.problem || voxpop.setup.total !== undefined", CONNECT_TIMEOUT_S)
                assert await page.evaluate("return voxpop.problem") is None
                await page.wait_for("voxpop.path.pop")
                assert (await page.evaluate("return voxpop.path"))["pop"] == "demo"
                assert await page.evaluate("return voxpop.steering") == [
                    {"pop": "demo", "source": "database", "why": "nearest", "km": "0"},
                    {"pop": "fra", "km": "9332"},
                ]
                assert await page.evaluate("return document.getElementById('steering').textContent") == WORDS
        finally:
            await host.stop()

    asyncio.run(run())
