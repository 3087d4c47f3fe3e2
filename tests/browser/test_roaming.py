"""The client's interface is taken away in mid-call and another comes: ICE restarts, and the call goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from ebpf.net import netns
from tests.browser.driver import Browser, Chromium, Firefox, browser
from tests.browser.roaming import Roamer, roaming
from tests.browser.test_calls import answers
from tests.e2e.kit import Callers, is_answered
from tests.pages import only
from tests.sound import silence, speech, write_wav

BROWSERS = pytest.mark.parametrize("kind", [Chromium, Firefox], ids=lambda kind: kind.program)
AWAY_S = 3.0
CONNECT_TIMEOUT_S = 60
BACK_TIMEOUT_S = 60

Say = Callable[[str], None]

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Roamer]:
    with roaming() as roamer:
        yield roamer


@pytest.fixture
def roamer(lab: Roamer) -> Iterator[Roamer]:
    lab.begin()
    with netns.inside(lab.namespace):
        yield lab


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    path = tmp_path / "microphone.wav"
    write_wav(path, np.concatenate((silence(1000), speech(), silence(4000))))
    return path


async def roam(leave: Callable[[], None], roamer: Roamer) -> float:
    """Into another network, some time after `leave`; when, by the monotonic clock."""
    await asyncio.to_thread(leave)  # netlink's library has an event loop of its own
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(roamer.join)
    return time.monotonic()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("kind", "loss"),
    [(Chromium, "leave"), (Firefox, "leave"), (Firefox, "fade")],
    ids=["chromium-leave", "firefox-leave", "firefox-fade"],
)
def test_the_page_finds_its_way_from_another_network(
    kind: type[Browser], loss: str, roamer: Roamer, tmp_path: Path, microphone: Path, say: Say
) -> None:
    async def run() -> None:
        async with browser(kind, tmp_path, microphone) as page:
            await page.open(roamer.url)
            await page.evaluate("document.getElementById('call').click()")
            await page.wait_for("voxpop.problem || voxpop.setup.total !== undefined", CONNECT_TIMEOUT_S)
            await answers(page, 1)
            await page.evaluate(
                "window.shown = []; const place = document.getElementById('state');"
                "const look = new MutationObserver(() => shown.push(place.textContent));"
                "look.observe(place, { childList: true });"
            )
            joined = await roam(getattr(roamer, loss), roamer)
            anew = "(voxpop.call.restarts || voxpop.call.redials)"
            is_back = f"voxpop.call === null || ({anew} && voxpop.state !== 'reconnecting')"
            await page.wait_for(is_back, BACK_TIMEOUT_S)
            shown = await page.evaluate("return shown")
            assert await page.evaluate("return [voxpop.problem, voxpop.state]") == [None, "connected"], shown
            restarts, redials = await page.evaluate("return [voxpop.call.restarts, voxpop.call.redials]")
            back_s = time.monotonic() - joined
            say(f"back {back_s:.1f} s after the new network: {restarts} ICE restarts, {redials} new calls")
            # With no network at all Firefox gives DTLS up, and there is nothing left that could be restarted.
            assert redials == 0 or (kind is Firefox and loss == "leave")
            assert any("looking for another" in text for text in shown)
            await answers(page, 1)

    asyncio.run(run())


TWO_SECONDS_OF_AUDIO = """
const received = async () => {
  const reports = [...(await example.pc.getStats()).values()];
  return reports.find(({ type }) => type === 'inbound-rtp')?.packetsReceived ?? 0;
};
const [before, until] = [await received(), performance.now() + 60000];
while (await received() < before + 100) {
  if (performance.now() > until) return false;
  await new Promise((resolve) => setTimeout(resolve, 200));
}
return true;
"""


@pytest.mark.browser
@BROWSERS
def test_the_example_of_the_readme_finds_its_way_from_another_network(
    kind: type[Browser], roamer: Roamer, tmp_path: Path, microphone: Path, say: Say
) -> None:
    example = "\n".join(only("README.md", "js")).replace("http://127.0.0.1:8080", roamer.url)

    async def run() -> None:
        async with browser(kind, tmp_path, microphone) as page:
            await page.open(roamer.url)
            await page.evaluate(f"{example}\nwindow.example = {{ pc, events, speaker }};")
            await page.wait_for("example.pc.connectionState === 'connected'", CONNECT_TIMEOUT_S)
            await page.evaluate(
                "window.states = []; example.pc.addEventListener('iceconnectionstatechange', "
                "() => states.push(example.pc.iceConnectionState));"
            )
            joined = await roam(roamer.fade, roamer)
            through = "['connected', 'completed'].includes(example.pc.iceConnectionState)"
            await page.wait_for(f"states.length > 1 && {through}", BACK_TIMEOUT_S)
            say(f"connected again {time.monotonic() - joined:.1f} s after the new network came")
            assert await page.evaluate(TWO_SECONDS_OF_AUDIO), await page.evaluate("return states")

    asyncio.run(run())


@pytest.mark.parametrize("loss", ["leave", "fade"])
def test_a_call_of_the_command_finds_its_way_from_another_network(
    loss: str, roamer: Roamer, say: Say
) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as http:
            crowd = Callers(roamer.url, http)
            try:
                call = crowd.call()
                await call.connect()
                assert call.transport is not None
                assert call.transport.local_address is not None
                assert call.transport.local_address.host == roamer.host
                await is_answered(call)
                joined = await roam(getattr(roamer, loss), roamer)
                async with asyncio.timeout(BACK_TIMEOUT_S):
                    await call.transport.next_audio()
                say(f"audio {time.monotonic() - joined:.1f} s after the new network came")
                assert call.transport.local_address.host == roamer.host
                assert call.transport.restarts > 0
                await is_answered(call)
            finally:
                await crowd.hang_up()
                crowd.close()

    asyncio.run(run())
