"""What one writes with stock aiortc to bring callers to a backend of the Realtime API: the other side of
`make bench ONLY=realtime`.

    python -m tests.bench.aiortc_bridge BACKEND_URL

A peer connection and a WebSocket per call, as in aiortc's own example of a server: the caller's audio is
resampled and appended, deltas wait in a queue, a track takes 20 ms of it at a time and is paced as aiortc
paces its own, and the queue is emptied when the backend says that the caller speaks. The first line on
standard output is the URL.
"""

from __future__ import annotations

import asyncio
import base64
import fractions
import json
import sys
import time

import aiohttp
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, AudioResampler

RATE, FRAME_SAMPLES = 24_000, 480


class Playout(MediaStreamTrack):
    """What the backend says, 20 ms at a time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.queue = bytearray()
        self._began_s: float | None = None
        self._pts = 0

    async def recv(self) -> AudioFrame:
        """As `aiortc.AudioStreamTrack` does it."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._began_s is None:
            self._began_s = time.time()
        else:
            self._pts += FRAME_SAMPLES
            await asyncio.sleep(self._began_s + self._pts / RATE - time.time())
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        pcm = bytes(self.queue[: FRAME_SAMPLES * 2])
        del self.queue[: len(pcm)]
        frame.planes[0].update(pcm.ljust(FRAME_SAMPLES * 2, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._pts, fractions.Fraction(1, RATE)
        return frame


class Bridged:
    """One call."""

    def __init__(self, backend_url: str, session: object) -> None:
        self._backend_url = backend_url
        self._session = session
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._playout = Playout()
        self._heard: asyncio.Queue[bytes] = asyncio.Queue(maxsize=500)
        self._tasks: list[asyncio.Task[None]] = []

    async def answer(self, offer_sdp: str) -> str:
        """The backend is called while the caller is answered."""
        self._tasks.append(asyncio.create_task(self._talk_to_backend()))
        self._peer.on("track", self._listen)
        self._peer.on("connectionstatechange", self._changed)
        self._peer.addTrack(self._playout)
        await self._peer.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        return str(self._peer.localDescription.sdp)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._peer.close()

    async def _changed(self) -> None:
        if self._peer.connectionState == "failed":
            print("a call has failed", file=sys.stderr, flush=True)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._receive(track)))

    async def _receive(self, track: MediaStreamTrack) -> None:
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            for resampled in resampler.resample(frame):
                pcm = bytes(resampled.planes[0])[: resampled.samples * 2]
                if not self._heard.full():
                    self._heard.put_nowait(pcm)

    async def _talk_to_backend(self) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(self._backend_url) as socket:
            await socket.send_json({"type": "session.update", "session": self._session})
            sending = asyncio.create_task(self._send(socket))
            try:
                async for message in socket:
                    self._take(json.loads(message.data))
            finally:
                sending.cancel()

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            audio = base64.b64encode(await self._heard.get()).decode()
            await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})

    def _take(self, event: dict[str, str]) -> None:
        if event["type"] == "response.output_audio.delta":
            self._playout.queue += base64.b64decode(event["delta"])
        elif event["type"] == "input_audio_buffer.speech_started":
            self._playout.queue.clear()


class Signaling:
    """The HTTP side."""

    def __init__(self, backend_url: str) -> None:
        self._backend_url = backend_url
        self._calls: dict[str, Bridged] = {}

    async def place(self, request: web.Request) -> web.Response:
        """POST of an offer and a session, as multipart."""
        form = {key: bytes(value).decode() for key, value in (await request.post()).items()}  # type: ignore[arg-type]
        call = Bridged(self._backend_url, json.loads(form["session"]))
        answer = await call.answer(form["sdp"])
        name = f"call{time.monotonic_ns()}"
        self._calls[name] = call
        headers = {"Location": f"/v1/realtime/calls/{name}"}
        return web.Response(status=201, text=answer, content_type="application/sdp", headers=headers)

    async def hang_up(self, request: web.Request) -> web.Response:
        """DELETE of a call."""
        call = self._calls.pop(request.match_info["name"], None)
        if call is not None:
            await call.close()
        return web.Response(status=200 if call is not None else 404)

    async def close(self) -> None:
        await asyncio.gather(*(call.close() for call in self._calls.values()))


async def serve(backend_url: str) -> None:
    """Until cancelled."""
    signaling = Signaling(backend_url)
    app = web.Application()
    app.router.add_post("/v1/realtime/calls", signaling.place)
    app.router.add_delete("/v1/realtime/calls/{name}", signaling.hang_up)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()
    finally:
        await signaling.close()
        await runner.cleanup()


if __name__ == "__main__":
    try:
        asyncio.run(serve(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(0)
