"""A browser is led to the nearest PoP, and its page says which that is and why."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.browser.driver import Chromium, browser
from tests.browser.test_calls import CONNECT_TIMEOUT_S, PATIENT
from tests.sound import speech, write_wav
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.signaling.regions import two_regions
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

HANG_UP = """
const headers = { Authorization: 'Bearer %s' };
return (await fetch(voxpop.call.location, { method: 'DELETE', headers })).status;
"""


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


def test_a_page_of_a_full_region_is_answered_by_another_though_its_key_stays_behind(tmp_path: Path) -> None:
    """`fetch` follows the 307 with method and body, and without the key."""
    write_wav(tmp_path / "microphone.wav", speech())
    with two_regions(tmp_path, is_reachable=True) as (east, west):
        east_url, west_url = (f"http://127.0.0.1:{region.http}" for region in (east, west))
        west.write_config(cors_origins=f'["{east_url}"]')
        west.process.send_signal(signal.SIGHUP)
        west.wait_for_log("reloaded: ")
        east.call(CHROMIUM)

        async def run() -> None:
            async with browser(Chromium, tmp_path, tmp_path / "microphone.wav") as page:
                await page.open(east_url)
                await page.evaluate(f"document.getElementById('key').value = '{east.keys['alice']}'")
                await page.evaluate("document.getElementById('call').click()")
                await page.wait_for("voxpop.problem || voxpop.setup.total !== undefined", CONNECT_TIMEOUT_S)
                assert await page.evaluate("return voxpop.problem") is None
                assert (await page.evaluate("return voxpop.call.location")).startswith(f"{west_url}/v1/")
                assert await page.evaluate(HANG_UP % east.keys["alice"]) == 200

        asyncio.run(run())
        ended = "voxpop_transceiver_sessions_ended_total{reason=hangup}"
        assert west.metrics()[ended] == 1
        assert east.metrics()["voxpop_transceiver_referrals_total{reason=full}"] == 1
