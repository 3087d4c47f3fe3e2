"""The examples of docs/clients.md with packages of npm, as they stand there, in Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.browser.driver import Browser, Chromium, browser
from tests.e2e.clients import PAGE, application, serving
from tests.pages import block, blocks, only
from tests.paths import ROOT
from tests.peers.packages import NPM, run
from tests.ports import free_tcp_port
from tests.sound import silence, speech, write_wav

pytestmark = pytest.mark.browser

LIVE = "docs/live.md"
SERVERS = {"server.py": ("agent.js", "helper.js", "whip.js"), "broker.py": ("live.js", LIVE)}
"""Whose page has which examples."""
HANG_UP = {"agent.js": "close", "helper.js": "close", "live.js": "close", LIVE: "close", "whip.js": "stop"}
"""What each example returns, and how that ends the call."""
ANSWER_TIMEOUT_S = 60
IS_HEARD = """
const until = performance.now() + %d;
while (performance.now() < until) {
  const reports = [...(await witness.connections.at(-1).getStats()).values()];
  if ((reports.find(({ type }) => type === 'inbound-rtp')?.totalAudioEnergy ?? 0) > 0.001) return true;
  await new Promise((resolve) => setTimeout(resolve, 100));
}
return false;
"""


LIVE_CALL = """
import { OpenAILiveWebRTC } from "openai/live/webrtc";
export async function call() {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const speaker = Object.assign(new Audio(), { autoplay: true });
  const show = (text) => console.log(text);
  const myServer = async (offer) => (await fetch("/live", { method: "POST", body: offer })).text();
  %s
  return connection;
}
"""
"""What the beginning of docs/live.md leaves to its reader."""


async def bundled(folder: Path) -> str:
    """A page with all examples: `clients` has them by their file's name, `witness` what they do."""
    lines = [f"import * as witness from {str(NPM / 'pages/witness.js')!r};"]
    for number, name in enumerate(HANG_UP):
        code = LIVE_CALL % only(LIVE, "js")[0] if name == LIVE else block(PAGE, name)
        (folder / f"{number}.js").write_text(code)
        lines.append(f"import {{ call as call{number} }} from './{number}.js';")
    calls = ", ".join(f"{name!r}: call{number}" for number, name in enumerate(HANG_UP))
    (folder / "entry.js").write_text(
        "\n".join([*lines, f"Object.assign(window, {{ witness, clients: {{ {calls} }} }});"])
    )
    environment = {"NODE_PATH": str(NPM / "node_modules")}
    code = await run(
        "node_modules/esbuild/bin/esbuild",
        folder / "entry.js",
        *("--bundle", "--format=esm", "--charset=utf8", "--log-level=warning"),
        environment=environment,
    )
    return f'<!doctype html><meta charset="utf-8"><script type="module">{code}</script>'


async def talk(page: Browser, name: str) -> None:
    """Call by an example, hear the answer, hang up."""
    await page.evaluate(f"window.client = await clients[{name!r}]()")
    assert await page.evaluate(IS_HEARD % (ANSWER_TIMEOUT_S * 1000)), name
    await page.evaluate(f"await client.{HANG_UP[name]}()")


def test_every_module_of_the_page_has_its_turn() -> None:
    scripts = [each for each in blocks(ROOT / PAGE) if each.language == "js"]
    assert {each.name for each in scripts if each.text.startswith("import ")} == HANG_UP.keys() - {LIVE}


def test_each_is_answered_and_hangs_up(tmp_path: Path) -> None:
    microphone, port = tmp_path / "microphone.wav", free_tcp_port()
    write_wav(microphone, np.concatenate((silence(500), speech(), silence(3500))))

    async def scenario() -> None:
        async with serving(tmp_path, cors_origins=[f"http://127.0.0.1:{port}"]) as server:
            for program in SERVERS:
                (server.folder / program).write_text(block(PAGE, program))
            (server.folder / "page.html").write_text(await bundled(server.folder))
            async with browser(Chromium, tmp_path, microphone) as page:
                for program, names in SERVERS.items():
                    async with application(server, program, port) as (url, _):
                        await page.open(url)
                        await page.wait_for("window.clients")
                        for name in names:
                            await talk(page, name)
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    while await server.ended("remote_closed") + await server.ended("hangup") < len(HANG_UP):
                        pass

    asyncio.run(scenario())
