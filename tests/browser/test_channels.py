"""Data channels as pages make them, and what a page hears of its session's end, in unchanged browsers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.driver import Browser, Chromium, Firefox, browser
from tests.browser.test_calls import PATIENT
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
await connect();
await until(() => told.includes('closed'));
pc.close();
return told;
"""


def run_in_page(kind: type[Browser], folder: Path, scripts: list[str], **settings: object) -> list[list[str]]:
    async def run() -> list[list[str]]:
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
def test_a_page_hears_why_its_session_ends_before_the_channel_closes(
    kind: type[Browser], tmp_path: Path
) -> None:
    (told,) = run_in_page(kind, tmp_path, [END], max_session_s=3)
    assert told == ["session.created", "session_expired", "closed"]
