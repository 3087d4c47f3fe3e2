"""The clients of docs/clients.md for browsers, as they stand there, in Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.browser.driver import Browser, Chromium, browser
from tests.browser.test_calls import ANSWER_TIMEOUT_S, LEAST_LIKENESS, assert_own_words, record, recorded
from tests.e2e.clients import PAGE, Server, application, serving
from tests.e2e.kit import process_tree
from tests.pages import PAGES, block, blocks, only
from tests.ports import free_tcp_port
from tests.sound import likeness_in_pieces, silence, speech, write_wav

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOST_TIMEOUT_S = 40
LOG = "document.getElementById('log').textContent"
SPEAKER = "document.getElementById('speaker').srcObject"
TWO_ANSWERS = r"/(buffer\.started[^]*buffer\.stopped[^]*){2}/"
"""The first may be to the end of a sentence that nobody heard the beginning of."""
IS_HEARD = """
const until = performance.now() + 30000;
for (;;) {
  const reports = [...(await pc.getStats()).values()];
  if ((reports.find(({ type }) => type === 'inbound-rtp')?.totalAudioEnergy ?? 0) > 0.001) break;
  if (performance.now() > until) throw new Error('nothing was heard');
  await new Promise((resolve) => setTimeout(resolve, 100));
}
return (await hangUp()).status;
"""
PARSED = """
const AsyncFunction = (async () => {}).constructor;
return %s.filter((code) => { try { new AsyncFunction(code); return false; } catch { return true; } });
"""


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Processes that do nothing for as long as this lasts."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_page_calls_with_a_key_of_its_server_finds_its_way_and_hangs_up(tmp_path: Path) -> None:
    microphone, port = tmp_path / "microphone.wav", free_tcp_port()
    write_wav(microphone, np.concatenate((silence(500), speech(), silence(3500))))

    async def run() -> None:
        async with serving(tmp_path, cors_origins=[f"http://127.0.0.1:{port}"]) as server:
            for name in ("server.py", "page.html"):
                (server.folder / name).write_text(block(PAGE, name))
            async with (
                application(server, "server.py", port) as (url, _),
                browser(Chromium, tmp_path, microphone) as page,
            ):
                await page.open(url)
                await talk(page, server)
                await whip(page, server)
                assert await unparsed(page) == []
            assert await server.ended("hangup") == 2

    asyncio.run(run())


async def talk(page: Browser, server: Server) -> None:
    await page.evaluate("element('call').click()")
    await page.wait_for(f"{SPEAKER} && {LOG}.includes('session.updated')", ANSWER_TIMEOUT_S)
    with stopped(process_tree(server.host.relay)):
        await page.wait_for(f"{LOG}.includes('ICE restarted')", LOST_TIMEOUT_S)
    await page.wait_for("['connected', 'completed'].includes(pc.iceConnectionState)", LOST_TIMEOUT_S)
    await hear(page)
    await page.evaluate("element('hangup').click()")
    await page.wait_for("!element('call').disabled")
    log = await page.evaluate(f"return {LOG}")
    assert log.startswith("session.created\n")
    assert "error" not in log


async def hear(page: Browser) -> None:
    """Its own words, once in three times: a machine that stands still takes some of them away."""
    for attempt in range(3):
        await record(page, SPEAKER)
        already = await page.evaluate(f"return {LOG}.length")
        await page.wait_for(f"{TWO_ANSWERS}.test({LOG}.slice({already}))", ANSWER_TIMEOUT_S)
        heard = await recorded(page)
        if attempt == 2 or likeness_in_pieces(speech(), heard) > LEAST_LIKENESS:
            assert_own_words(heard, lambda _: None)
            return


async def whip(page: Browser, server: Server) -> None:
    (code,) = [each for each in only(PAGE, "js") if "VOXPOP_URL" in each]
    assert await page.evaluate(server.filled_in(code) + IS_HEARD) == 200


async def unparsed(page: Browser) -> list[str]:
    """The JavaScript of all pages that the browser does not understand. Modules have tests of their own."""
    code = [each.text for where in PAGES for each in blocks(where) if each.language == "js"]
    scripts = [text for text in code if not text.startswith("import ")]
    assert scripts
    wrong: list[str] = await page.evaluate(PARSED % json.dumps(scripts))
    return wrong
