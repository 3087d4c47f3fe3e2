"""Unchanged browsers call through the relay, from the page as people do, and get their own words back."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from core.addr import Endpoint
from tests.browser.driver import Browser, Chromium, Firefox, FirefoxWithSound, browser
from tests.browser.nat import Nat, nat
from tests.decoding import decode
from tests.e2e.kit import metric
from tests.sound import Samples, likeness_in_pieces, silence, speech, write_wav
from transceiver.demo.host import POP_ID, HostPlan, LocalHost, plan_host

pytestmark = pytest.mark.browser

BROWSERS = pytest.mark.parametrize("kind", [Chromium, Firefox], ids=lambda kind: kind.program)

LEAST_LIKENESS = 0.5
"""Two passes of Opus, a jitter buffer and a browser's microphone processing leave more than that of the
waveform; other speech comes to 0.2, the same backwards to 0.3."""
CONNECT_TIMEOUT_S = 30
ANSWER_TIMEOUT_S = 60
PATIENT = {"max_loop_lag_ms": 10_000}
"""On a machine that runs other things too, lateness is no reason to refuse a test's call."""

RECORD = """
const recorder = new MediaRecorder(%s, { audioBitsPerSecond: 128000 });
const chunks = [];
recorder.ondataavailable = ({ data }) => chunks.push(data);
recorder.start();
window.recording = { recorder, chunks };
"""

RECORDED = """
const { recorder, chunks } = window.recording;
const stopped = new Promise((resolve) => (recorder.onstop = resolve));
recorder.stop();
await stopped;
const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
let text = '';
for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
return btoa(text);
"""

Say = Callable[[str], None]


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    """Someone who says the same sentence every seven seconds."""
    path = tmp_path / "microphone.wav"
    write_wav(path, np.concatenate((silence(1000), speech(), silence(4000))))
    return path


@asynccontextmanager
async def running(folder: Path, router: Nat | None = None, **settings: object) -> AsyncIterator[HostPlan]:
    """A relay and a transceiver as operators run them; answers name the router if there is one."""
    plan = plan_host(transceiver_settings={**PATIENT, **settings})
    if router is not None:
        vip = plan.vips[0]
        router.target = (vip.host, vip.port)
        plan = dataclasses.replace(
            plan, vips=(Endpoint(vip.host, router.port),), relay_settings={"vips": [str(vip)]}
        )
    host = LocalHost(plan, folder)
    try:
        await host.start()
        yield plan
    finally:
        await host.stop()


def in_call(
    kind: type[Browser], tmp_path: Path, microphone: Path, check: Callable[[Browser], Awaitable[None]]
) -> None:
    """Call from the page, check, hang up."""

    async def run() -> None:
        async with running(tmp_path) as plan, browser(kind, tmp_path, microphone) as page:
            await call(page, plan)
            await check(page)

    asyncio.run(run())


async def call(page: Browser, plan: HostPlan) -> None:
    await page.open(plan.url)
    await page.evaluate("document.getElementById('call').click()")
    await page.wait_for("voxpop.problem || voxpop.setup.total !== undefined", CONNECT_TIMEOUT_S)
    assert await page.evaluate("return voxpop.problem") is None


async def record(page: Browser, stream: str = "voxpop.call.remoteStream") -> None:
    """Begin to record what the page plays, a script's expression."""
    await page.evaluate(RECORD % stream)


async def recorded(page: Browser) -> Samples:
    """What the page has played since then, with what its jitter buffer has still to play."""
    await page.evaluate("await new Promise((resolve) => setTimeout(resolve, 1000))")
    return decode(base64.b64decode(await page.evaluate(RECORDED)))


async def answers(page: Browser, count: int) -> None:
    """Until so many answers were said to their end since the recording began."""
    said = "voxpop.events.filter(({ event }) => event.type === 'output_audio_buffer.stopped').length"
    before = await page.evaluate(f"return {said}")
    await page.wait_for(f"{said} >= {before + count}", ANSWER_TIMEOUT_S)


def assert_own_words(heard: Samples, say: Say) -> None:
    likeness, backwards = (likeness_in_pieces(words, heard) for words in (speech(), speech()[::-1]))
    say(f"likeness {likeness:.2f} (backwards {backwards:.2f})")
    assert likeness > LEAST_LIKENESS
    assert likeness > 1.5 * backwards


@BROWSERS
def test_a_browser_gets_its_own_words_back(
    kind: type[Browser], tmp_path: Path, microphone: Path, say: Say
) -> None:
    async def check(page: Browser) -> None:
        await record(page)
        await answers(page, 1)
        assert_own_words(await recorded(page), say)

    in_call(kind, tmp_path, microphone, check)


@pytest.mark.parametrize("kind", [Chromium, FirefoxWithSound], ids=lambda kind: kind.program)
def test_the_page_shows_the_numbers_that_matter(
    kind: type[Browser], tmp_path: Path, microphone: Path, say: Say
) -> None:
    # The level meters of Firefox stand still or go wrong where there is no sound device to give the time.
    has_meters = kind is Chromium
    names = ["setup", "setup-signaling", "setup-ice", "setup-dtls", "setup-audio", "rtt"]

    async def check(page: Browser) -> None:
        await answers(page, 1)
        if has_meters:
            await page.wait_for("voxpop.turns.length >= 1", ANSWER_TIMEOUT_S)
        await page.wait_for("voxpop.path.pop && voxpop.stats.rtt !== undefined")
        shown = {
            name: await page.evaluate(f"return document.getElementById('{name}').textContent")
            for name in [*names, *["turn"] * has_meters]
        }
        if has_meters:
            await assert_budget(page)
        turn_ms = [turn["ms"] for turn in await page.evaluate("return voxpop.turns")]
        say(f"{shown}; end of speech to first answer {turn_ms} ms")
        assert all(text.endswith(" ms") for text in shown.values())
        assert await page.evaluate("return voxpop.path") == {"pop": POP_ID, "forwarder": "userspace"}
        setup = await page.evaluate("return voxpop.setup")
        assert setup["total"] == pytest.approx(
            sum(setup[stage] for stage in ("signaling", "ice", "dtls", "audio"))
        )
        kinds = await page.evaluate("return voxpop.events.map(({ event }) => event.type)")
        assert kinds[0] == "session.created"
        assert "input_audio_buffer.speech_started" in kinds
        await page.evaluate("document.getElementById('hangup').click()")
        await page.wait_for("voxpop.state === 'ended' && !document.getElementById('call').disabled")

    in_call(kind, tmp_path, microphone, check)


SHOWN = """
const shown = (turn, item) => {
  const style = getComputedStyle(item);
  const pieces = [...item.querySelectorAll('i')];
  return {
    ...turn,
    height: item.getBoundingClientRect().height,
    chart: document.getElementById('turns').getBoundingClientRect().height,
    text: item.textContent,
    isOver: item.classList.contains('over'),
    pieces: pieces.map((each) => [each.dataset.part, each.getBoundingClientRect().height]),
    isReversed: style.flexDirection === 'column-reverse',
  };
};
const items = [...document.querySelectorAll('#turns li')];
return {
  turns: voxpop.turns.map((turn, index) => shown(turn, items[index])),
  legend: [...document.querySelectorAll('#budget div')].map((row) => row.textContent),
  events: voxpop.events.filter(({ event }) => event.type === 'output_audio_buffer.started'),
  bounded: (() => {
    const { bar, split } = window.budgetOfPage;
    return bar({ ms: 250, parts: split(250, { network_ms: 'x', backend_ms: -1, pacing_ms: 400 }) }).title;
  })(),
};
"""


async def assert_budget(page: Browser) -> None:
    """Each turn is a bar of parts against 300 ms, and says in words what they are."""
    await page.evaluate("window.budgetOfPage = await import('/budget.js')")
    shown = await page.evaluate(SHOWN)
    (turn, *_) = shown["turns"]
    told = turn["budget"]
    assert told in [started["event"]["voxpop"]["budget"] for started in shown["events"]]
    parts = {part["name"]: part["ms"] for part in turn["parts"]}
    assert sum(parts.values()) == pytest.approx(turn["ms"])
    assert parts["rest"] == pytest.approx(turn["ms"] - told["total_ms"])
    silence_ms = parts["end_of_turn"]
    assert silence_ms >= 160
    assert list(parts)[-1] == "rest"
    is_over = turn["ms"] > 300
    assert turn["isOver"] == is_over
    assert ("over the bar" in turn["text"]) == is_over
    assert f"end of turn {silence_ms:.1f}" in turn["text"]
    assert turn["height"] == pytest.approx(turn["chart"] * min(1, turn["ms"] / 600), abs=4)
    heights = dict(turn["pieces"])
    assert list(heights) == list(parts)
    shares = [heights[name] / heights["end_of_turn"] for name in ("jitter_buffer", "way_out")]
    assert shares == pytest.approx(
        [parts[name] / silence_ms for name in ("jitter_buffer", "way_out")], abs=0.03
    )
    assert f"End of turn{shown['turns'][-1]['budget']['end_of_turn_ms']:.1f} ms" in shown["legend"]
    assert len(shown["legend"]) == 7
    assert shown["bounded"] == "250 ms: pacing 400.0 + your device, and the rest -150.0"


@BROWSERS
def test_a_call_survives_a_change_of_the_clients_port(
    kind: type[Browser], tmp_path: Path, microphone: Path, say: Say
) -> None:
    async def run() -> None:
        async with (
            nat() as router,
            running(tmp_path, router) as plan,
            browser(kind, tmp_path, microphone) as page,
        ):
            await router.change_port()
            await call(page, plan)
            await answers(page, 1)
            before = await proofs(plan)
            assert before >= 1, "a check of ours was answered"
            await moved(router, say)
            await record(page)
            await answers(page, 2)  # the first may have begun before the move
            assert await page.evaluate("return [voxpop.problem, voxpop.state]") == [None, "connected"]
            assert_own_words(await recorded(page), say)
            assert await proofs(plan) > before, "and one on the new path"

    asyncio.run(run())


async def proofs(plan: HostPlan) -> float:
    """How often the browser has shown that it hears the transceiver."""
    name = "voxpop_transceiver_path_checks_total"
    return await metric(plan.transceiver_metrics, name, result="answered")


async def moved(router: Nat, say: Say) -> None:
    """Change the port in mid-call, and say what that cost."""
    changed_ns = await router.change_port()
    async with asyncio.timeout(60):
        await router.answered.wait()
    back_ns = router.answered_ns
    check_ns, nominates = next(check for check in router.checks if check[0] > changed_ns)
    say(
        f"silent for {(back_ns - changed_ns) / 1e6:.0f} ms; the first check on the new path came after "
        f"{(check_ns - changed_ns) / 1e6:.0f} ms, {'with' if nominates else 'without'} USE-CANDIDATE"
    )
    assert back_ns >= check_ns
