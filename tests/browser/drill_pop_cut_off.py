"""The drill `pop-cut-off` with unchanged browsers: what they hear when the PoP of their call vanishes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar
from urllib.parse import urlsplit

from edge.lab.drills import planets
from edge.lab.drills.drill import CALLS, GAP, Bar, Drill, Figure, Outcome
from edge.lab.drills.pop_cut_off import TEXT
from edge.lab.drills.stage import Stage
from edge.lab.planet.planet import Planet
from tests.browser.driver import PREFERENCES, Browser, Chromium, Firefox, browser
from tests.browser.test_calls import CONNECT_TIMEOUT_S
from tests.browser.test_planet import trusting
from tests.sound import speech, write_wav

AGE_S, SHORT_AGE_S = 40.0, 4.0
"""Of the call: browsers have forgotten a path that they do not use after 30 s, if nothing comes by it."""
BACK_TIMEOUT_S = 30.0
LISTEN = """
window.heard = { packets: -1, last: performance.now(), longest: 0 };
setInterval(async () => {
  const reports = [...(await voxpop.call.pc.getStats()).values()];
  const packets = reports.find(({ type }) => type === 'inbound-rtp')?.packetsReceived ?? 0;
  if (packets === heard.packets) return;
  const now = performance.now();
  heard.longest = Math.max(heard.longest, now - heard.last);
  heard.packets = packets;
  heard.last = now;
}, 20);
"""
"""The browser counts anew 20 times a second at most, so gaps are told to 50 ms."""
LONG_GAP_MS = 500
"""More than a busy machine makes of nothing: then the PoP's absence was heard, and is over."""


def trusting_firefox(origin: str) -> type[Firefox]:
    """A Firefox that takes a host for safe although its pages come without TLS."""

    class Trusting(Firefox):
        preferences: ClassVar[Mapping[str, bool | int | str]] = {
            **PREFERENCES,
            "dom.securecontext.allowlist": urlsplit(origin).hostname or "",
        }

    return Trusting


def _play(stage: Stage, kind: Callable[[str], type[Browser]]) -> Outcome:
    with stage.planet(TEXT) as planet:
        city = planet.city("berlin")
        planets.blackhole(city, planet.pop("frankfurt"))
        with city.inside():
            return asyncio.run(_call(stage, planet, city.url("europe"), kind))


async def _call(stage: Stage, planet: Planet, url: str, kind: Callable[[str], type[Browser]]) -> Outcome:
    microphone = stage.directory / "microphone.wav"
    write_wav(microphone, speech())
    async with browser(kind(url), stage.directory, microphone) as page:
        await page.open(url)
        await page.evaluate(f"document.getElementById('key').value = '{planet.api_key}'")
        await page.evaluate("document.getElementById('call').click()")
        await page.wait_for("voxpop.problem || voxpop.path.pop", CONNECT_TIMEOUT_S)
        faults = []
        began_at = await page.evaluate("return voxpop.problem || voxpop.path.pop")
        if began_at != "frankfurt":
            faults.append(f"the call began at {began_at}")
        await page.evaluate(LISTEN)
        await asyncio.sleep(stage.pick(AGE_S, SHORT_AGE_S))
        await page.evaluate("heard.longest = 0")
        await asyncio.to_thread(planet.pop("frankfurt").cut_off)
        is_back = await _is_heard_again(page)
        gap_ms = await page.evaluate("return Math.max(heard.longest, performance.now() - heard.last)")
        state = await page.evaluate("return [voxpop.problem, voxpop.state]")
        restarts = await page.evaluate("return voxpop.call ? voxpop.call.restarts : 0")
    if not is_back:
        faults.append(f"nothing was heard any more; the page says {state}")
    return Outcome(
        {
            GAP: Figure(gap_ms, "ms"),
            CALLS: Figure(0 if is_back else 1),
            "ICE restarts": Figure(restarts),
        },
        tuple(faults),
    )


async def _is_heard_again(page: Browser) -> bool:
    """Whether there was a long gap, and is none any more."""
    over = f"voxpop.call === null || (heard.longest > {LONG_GAP_MS} && performance.now() - heard.last < 200)"
    try:
        await page.wait_for(over, BACK_TIMEOUT_S)
    except TimeoutError:
        return False
    return bool(await page.evaluate("return voxpop.call !== null"))


def _drill(name: str, product: type[Browser], kind: Callable[[str], type[Browser]], at_most_ms: int) -> Drill:
    return Drill(
        f"pop-cut-off-{name}",
        f"A PoP is cut off under a call of unchanged {name.capitalize()}",
        (Bar(GAP, at_most_ms, "ms"), Bar(CALLS, 0)),
        partial(_play, kind=kind),
        programs=("bird", product.program),
    )


DRILLS = (
    _drill("chromium", Chromium, trusting, 3000),
    _drill("firefox", Firefox, trusting_firefox, 5000),
)
"""OpenAI's SDK for agents gives up a call that is silent for 5 s."""
