"""Real browsers without a driver package: Chromium over its DevTools protocol, Firefox over WebDriver BiDi.

Both are JSON over a WebSocket. What the tests need of them is little: open a page, run a script in it,
look at it.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import aiohttp

START_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 120
STOP_TIMEOUT_S = 10
WINDOW = (1280, 1000)

Reply = dict[str, Any]


class BrowserError(Exception):
    """The browser refused a command, or a script in it threw."""


class Browser(ABC):
    """One browser process with one page. An async context manager."""

    program: str
    listening: re.Pattern[str]

    def __init__(self, folder: Path, microphone: Path) -> None:
        self._folder = folder
        self._microphone = microphone
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Reply]] = {}
        self._readers: list[asyncio.Task[None]] = []

    @abstractmethod
    def arguments(self) -> Sequence[str]:
        """The command line after the program's name."""

    @abstractmethod
    async def _attach(self) -> None:
        """Get hold of a page."""

    @abstractmethod
    async def open(self, url: str) -> None:
        """Load a page and wait for it."""

    @abstractmethod
    async def _run(self, script: str) -> Reply:
        """Run an async function expression's text as if the user had just clicked; its string result."""

    @abstractmethod
    async def screenshot(self) -> bytes:
        """What the page looks like, as PNG."""

    def endpoint(self, url: str) -> str:
        """The WebSocket to talk to, from the one that the browser announces."""
        return url

    async def evaluate(self, body: str) -> Any:
        """The value that `body`, the inside of an async function, returns."""
        reply = await self._run(f"(async () => JSON.stringify((await (async () => {{{body}}})()) ?? null))()")
        return json.loads(reply["value"])

    async def wait_for(self, condition: str, timeout_s: float = 30) -> None:
        """Until a script expression is true."""
        script = (
            f"const until = performance.now() + {timeout_s * 1000};"
            f"while (!({condition})) {{"
            "  if (performance.now() > until) return false;"
            "  await new Promise((resolve) => setTimeout(resolve, 20));"
            "} return true;"
        )
        if not await self.evaluate(script):
            state = await self.evaluate("return {...window.voxpop, call: undefined, player: undefined}")
            raise TimeoutError(f"{self.program}: {condition} did not come true; page state: {state}")

    async def __aenter__(self) -> Self:
        program = shutil.which(self.program)
        assert program is not None
        async with AsyncExitStack() as undoing:
            self._process = await asyncio.create_subprocess_exec(
                program,
                *self.arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            undoing.push_async_callback(self._end_readers)
            undoing.push_async_callback(self._stop)
            async with asyncio.timeout(START_TIMEOUT_S):
                url = await self._announced()
                self._readers.append(asyncio.create_task(self._read_away()))
                http = await undoing.enter_async_context(aiohttp.ClientSession())
                connecting = http.ws_connect(self.endpoint(url), max_msg_size=0)
                self._socket = await undoing.enter_async_context(connecting)
                self._readers.append(asyncio.create_task(self._read()))
                await self._attach()
            self._undoing = undoing.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._undoing.aclose()

    async def _end_readers(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def command(self, method: str, **extra: Any) -> Reply:
        """One command and its result."""
        number = next(self._ids)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, **extra})
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            reply = await future
        if "error" in reply:
            raise BrowserError(f"{method}: {reply['error']} {reply.get('message', '')}")
        result: Reply = reply["result"]
        return result

    async def _announced(self) -> str:
        assert self._process.stderr is not None
        seen = []
        async for line in self._process.stderr:
            seen.append(line.decode(errors="replace"))
            if found := self.listening.search(seen[-1]):
                return found[1]
        raise BrowserError(f"{self.program} did not start: {''.join(seen)}")

    async def _read_away(self) -> None:
        assert self._process.stderr is not None
        while await self._process.stderr.read(65_536):
            pass

    async def _read(self) -> None:
        async for message in self._socket:
            reply = message.json()
            future = self._pending.pop(reply.get("id"), None)
            if future is not None and not future.done():
                future.set_result(reply)

    async def _stop(self) -> None:
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class Chromium(Browser):
    """Chromium with a WAV file for a microphone."""

    program = "chromium"
    listening = re.compile(r"DevTools listening on (ws://\S+)")

    def arguments(self) -> Sequence[str]:
        return (
            "--headless=new",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
            f"--user-data-dir={self._folder}",
            f"--window-size={WINDOW[0]},{WINDOW[1]}",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={self._microphone}",
            "--autoplay-policy=no-user-gesture-required",
            "--allow-loopback-in-peer-connection",
            "--disable-features=WebRtcHideLocalIpsWithMdns",
            "about:blank",
        )

    async def _attach(self) -> None:
        targets = await self.command("Target.getTargets")
        page = next(target for target in targets["targetInfos"] if target["type"] == "page")
        attached = await self.command(
            "Target.attachToTarget", params={"targetId": page["targetId"], "flatten": True}
        )
        self._page = {"sessionId": attached["sessionId"]}
        await self.command("Page.enable", **self._page)

    async def open(self, url: str) -> None:
        await self.command("Page.navigate", params={"url": url}, **self._page)
        await self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def _run(self, script: str) -> Reply:
        params = {"expression": script, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        reply = await self.command("Runtime.evaluate", params=params, **self._page)
        if "exceptionDetails" in reply:
            raise BrowserError(str(reply["exceptionDetails"].get("exception", reply)))
        result: Reply = reply["result"]
        return result

    async def screenshot(self) -> bytes:
        reply = await self.command("Page.captureScreenshot", **self._page)
        return base64.b64decode(reply["data"])


PREFERENCES = {
    # Without the permission, or a microphone in use, Firefox gathers the default route's address only,
    # from which loopback is out of reach.
    "permissions.default.microphone": 1,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.getusermedia.insecure.enabled": True,
    "remote.active-protocols": 1,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}

FILE_AS_MICROPHONE = """() => {
  // Firefox's fake microphone is a tone, so what an audio element plays takes its place.
  const letters = atob("%s");
  const file = new Blob([Uint8Array.from(letters, (letter) => letter.charCodeAt(0))], { type: "audio/wav" });
  navigator.mediaDevices.getUserMedia = async () => {
    const player = new Audio(URL.createObjectURL(file));
    player.loop = true;
    await player.play();
    window.microphone = player; // or it may be collected as garbage
    return player.mozCaptureStream();
  };
}"""


class Firefox(Browser):
    """Firefox with the WAV file played into its page in place of a microphone."""

    program = "firefox-esr"
    preferences: ClassVar[Mapping[str, bool | int | str]] = PREFERENCES
    listening = re.compile(r"WebDriver BiDi listening on (ws://\S+)")

    def arguments(self) -> Sequence[str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in self.preferences.items()
        ]
        (self._folder / "user.js").write_text("\n".join(lines))
        return (
            "--headless",
            "--no-remote",
            f"--width={WINDOW[0]}",
            f"--height={WINDOW[1]}",
            "--remote-debugging-port=0",
            "--profile",
            str(self._folder),
            "about:blank",
        )

    def endpoint(self, url: str) -> str:
        return f"{url}/session"

    async def _attach(self) -> None:
        await self.command("session.new", params={"capabilities": {}})
        tree = await self.command("browsingContext.getTree", params={})
        self._context = tree["contexts"][0]["context"]
        script = FILE_AS_MICROPHONE % base64.b64encode(self._microphone.read_bytes()).decode()
        await self.command("script.addPreloadScript", params={"functionDeclaration": script})

    async def open(self, url: str) -> None:
        params = {"context": self._context, "url": url, "wait": "complete"}
        await self.command("browsingContext.navigate", params=params)

    async def _run(self, script: str) -> Reply:
        params = {
            "expression": script,
            "target": {"context": self._context},
            "awaitPromise": True,
            "userActivation": True,
        }
        reply = await self.command("script.evaluate", params=params)
        if reply["type"] == "exception":
            raise BrowserError(reply["exceptionDetails"]["text"])
        result: Reply = reply["result"]
        return result

    async def screenshot(self) -> bytes:
        reply = await self.command("browsingContext.captureScreenshot", params={"context": self._context})
        return base64.b64decode(reply["data"])


class FirefoxWithSound(Firefox):
    """Firefox with a sound device of its own making: without any, its WebAudio never starts. The clock of
    that device is a few per cent slow, so what is said and heard through it is warped.
    """

    preferences: ClassVar[Mapping[str, bool | int | str]] = {
        **PREFERENCES,
        "media.cubeb.force_mock_context": True,
    }


@asynccontextmanager
async def browser(kind: type[Browser], folder: Path, microphone: Path) -> AsyncIterator[Browser]:
    """A running browser whose profile is in `folder`."""
    async with kind(folder / kind.program, microphone) as running:
        yield running
