"""A browser in Tokyo calls over the WAN of a planet, and is answered by the PoP in Tokyo."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from edge.lab.planet import lifecycle, spec
from edge.lab.planet.planet import Planet
from tests.browser.driver import Chromium, browser
from tests.browser.test_calls import CONNECT_TIMEOUT_S
from tests.sound import speech, write_wav

pytestmark = [
    pytest.mark.browser,
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

PATIENT = "[transceiver]\nmax_loop_lag_ms = 10000\n"
WORDS = "tokyo (nearest by your address, 0 km), then frankfurt (9332 km)"


@pytest.fixture
def planet() -> Iterator[Planet]:
    with lifecycle.running(PATIENT + spec.default_text(), f"b{os.getpid()}") as made:
        yield made


def trusting(origin: str) -> type[Chromium]:
    """A Chromium that lets pages of an origin use the microphone although they come without TLS."""

    class Trusting(Chromium):
        def arguments(self) -> Sequence[str]:
            return (f"--unsafely-treat-insecure-origin-as-secure={origin}", *super().arguments())

    return Trusting


def test_a_browser_in_tokyo_is_answered_by_the_pop_there_and_its_page_says_why(
    planet: Planet, tmp_path: Path
) -> None:
    write_wav(tmp_path / "microphone.wav", speech())
    city = planet.city("tokyo")
    url = city.url("america")

    async def run() -> None:
        async with browser(trusting(url), tmp_path, tmp_path / "microphone.wav") as page:
            await page.open(url)
            await page.evaluate(f"document.getElementById('key').value = '{planet.api_key}'")
            await page.evaluate("document.getElementById('call').click()")
            await page.wait_for("voxpop.problem || voxpop.setup.total !== undefined", CONNECT_TIMEOUT_S)
            assert await page.evaluate("return voxpop.problem") is None
            await page.wait_for("voxpop.path.pop")
            path = await page.evaluate("return voxpop.path")
            assert (path["pop"], path["forwarder"]) == ("tokyo", "xdp")
            assert await page.evaluate("return document.getElementById('steering').textContent") == WORDS

    with city.inside():
        asyncio.run(run())
    (flow,) = (
        flow for flow in planet.host("tokyo/1").flows() if flow["client"].rpartition(":")[0] in city.addresses
    )
    assert flow["transceiver"].startswith("10.2.2."), "the region in America"
    assert planet.host("tokyo/1").counters()["forward_upstream"] > 0
