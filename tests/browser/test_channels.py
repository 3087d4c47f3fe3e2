"""Data channels as pages make them, and how a page notices that its call is over, in unchanged browsers."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.demux import PacketKind, classify_untrusted
from tests.browser.driver import Browser, Chromium, Firefox, browser
from tests.browser.nat import nat
from tests.browser.test_calls import PATIENT, running
from tests.sound import silence, write_wav
from transceiver.demo.host import LocalHost, plan_host

pytestmark = pytest.mark.browser

BROWSERS = pytest.mark.parametrize("kind", [Chromium, Firefox], ids=lambda kind: kind.program)

CALL = """
const pc = new RTCPeerConnection();
const told = [];
const make = (label, options) => {
  const channel = pc.createDataChannel(label, options);
  channel.onmessage = ({ data }) => {
    const { type, error } = JSON.parse(data);
    told.push(error ? error.code : type);
  };
  channel.onclose = () => told.push('closed');
  return channel;
};
const until = async (isTrue) => {
  const deadline = performance.now() + 20000;
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(JSON.stringify(told));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
const connect = async () => {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  pc.addTrack(microphone.getTracks()[0], microphone);
  await pc.setLocalDescription();
  const headers = { 'Content-Type': 'application/sdp' };
  const body = pc.localDescription.sdp;
  const answer = await fetch('/v1/realtime/calls', { method: 'POST', headers, body });
  await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
};
"""
CHANNEL = """
const channel = make(%s);
await connect();
await until(() => channel.readyState === 'open');
channel.send(new TextEncoder().encode('{"type":"session.update","session":{"type":"realtime"}}'));
await until(() => told.includes('session.created') && told.includes('session.updated'));
channel.onclose = null;
channel.close();
told.length = 0;
make('oai-events');
await until(() => told.includes('session.created'));
pc.close();
return told;
"""
END = """
make('oai-events');
const left = new Promise((resolve) => (pc.onconnectionstatechange = () => {
  if (told.length > 1) resolve([pc.connectionState, pc.sctp.transport.state, performance.now()]);
}));
await connect();
await until(() => told.includes('session_expired'));
const toldAt = performance.now();
const [state, dtls, leftAt] = await left;
await until(() => told.includes('closed'));
pc.close();
return [...told, state, dtls, leftAt - toldAt];
"""
NOTICE_MS = 2000
"""Longest from the reason to a connection that is not "connected" any more."""
LOSS_NOTICE_S = {Chromium: 12.0, Firefox: 16.0}
"""Longest until the connection of a call is not "connected" any more whose process was killed: a new process
is there, and then Chromium has checked (every 2.5 s), or a check of Firefox's (every 4–6 s) has run out.
"""
PAGE = """
document.getElementById('call').click();
while (voxpop.call?.state !== 'ended') await new Promise((resolve) => setTimeout(resolve, 20));
const { restarts, redials } = voxpop.call;
return [document.getElementById('state').textContent, restarts, redials];
"""
WATCH = """
const { pc } = voxpop.call;
const began = performance.now();
window.left = new Promise((resolve) => {
  const leave = (state) => resolve([state, performance.now() - began]);
  pc.addEventListener('connectionstatechange', () => leave(pc.connectionState));
  voxpop.call.addEventListener('state', ({ detail }) => detail.state === 'ended' && leave('ended'));
});
"""
"""Whatever comes first: the browser notices, or the page does, which misses the audio."""


def run_in_page(kind: type[Browser], folder: Path, scripts: list[str], **settings: object) -> list[list[Any]]:
    async def run() -> list[list[Any]]:
        microphone = folder / "microphone.wav"
        write_wav(microphone, silence(1000))
        plan = plan_host(transceiver_settings={**PATIENT, **settings})
        host = LocalHost(plan, folder)
        try:
            await host.start()
            async with browser(kind, folder, microphone) as page:
                await page.open(plan.url)
                return [await page.evaluate(CALL + script) for script in scripts]
        finally:
            await host.stop()

    return asyncio.run(run())


@BROWSERS
def test_any_channel_is_the_event_channel_and_may_be_made_again(kind: type[Browser], tmp_path: Path) -> None:
    channels = ["'oai-events'", "''", "'messages'", "'x', { negotiated: true, id: 0 }"]
    channels.append("'x', { negotiated: true, id: 700 }")
    told = run_in_page(kind, tmp_path, [CHANNEL % channel for channel in channels])
    assert told == [["session.created"]] * len(channels)


@BROWSERS
@pytest.mark.parametrize("role", ["passive", pytest.param("active", marks=pytest.mark.slow)])
def test_a_session_that_ends_is_noticed_in_the_channel_in_the_connection_and_by_the_page(
    kind: type[Browser], role: str, tmp_path: Path, say: Callable[[str], None]
) -> None:
    told, shown = run_in_page(kind, tmp_path, [END, PAGE], max_session_s=3, dtls_role=role)
    *told, took_ms = told
    say(f"connectionState has changed {took_ms:.0f} ms after session_expired")
    assert told == ["session.created", "session_expired", "closed", "failed", "failed"]
    assert took_ms < NOTICE_MS
    assert shown == ["The session has reached the longest time that one may last.", 0, 0]


@BROWSERS
def test_a_session_that_ends_is_noticed_though_a_third_of_all_packets_is_lost(
    kind: type[Browser], tmp_path: Path, say: Callable[[str], None]
) -> None:
    async def run() -> list[Any]:
        microphone = tmp_path / "microphone.wav"
        write_wav(microphone, silence(1000))
        async with nat() as router, running(tmp_path, router, max_session_s=6) as plan:
            await router.change_port()
            count = itertools.count()
            router.loses = lambda data: classify_untrusted(data) is PacketKind.DTLS and next(count) % 3 == 1
            async with browser(kind, tmp_path, microphone) as page:
                await page.open(plan.url)
                seen: list[Any] = await page.evaluate(CALL + END)
                return seen

    *told, took_ms = asyncio.run(run())
    say(f"connectionState has changed {took_ms:.0f} ms after session_expired")
    assert told == ["session.created", "session_expired", "closed", "failed", "failed"]
    assert took_ms < NOTICE_MS


@BROWSERS
def test_a_page_notices_that_its_call_has_gone_with_the_process(
    kind: type[Browser], tmp_path: Path, say: Callable[[str], None]
) -> None:
    async def run() -> None:
        microphone = tmp_path / "microphone.wav"
        write_wav(microphone, silence(1000))
        host = LocalHost(plan_host(processes=1, transceiver_settings=PATIENT), tmp_path)
        try:
            await host.start()
            async with browser(kind, tmp_path, microphone) as page:
                await page.open(host.plan.url)
                await page.evaluate("document.getElementById('call').click()")
                await page.wait_for("voxpop.call?.state === 'connected'")
                await page.evaluate(WATCH)
                os.kill(worker_of(host), signal.SIGKILL)
                state, took_ms = await page.evaluate("return await window.left")
                say(f"{state} {took_ms / 1000:.1f} s after its process was killed")
                assert took_ms / 1000 < LOSS_NOTICE_S[kind]
                await page.wait_for("voxpop.call.state === 'ended'")
                seen = await page.evaluate("return document.getElementById('state').textContent")
                assert seen == "The server does not know this call any more."
        finally:
            await host.stop()

    asyncio.run(run())


def worker_of(host: LocalHost) -> int:
    """The one process of the transceiver that has calls."""
    assert host.transceiver.child is not None
    pid = host.transceiver.child.popen.pid
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(worker)
