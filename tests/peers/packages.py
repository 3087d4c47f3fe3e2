"""The npm packages of tests/peers/npm: bundled for a browser, or run by Node.js."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.browser.driver import Browser, Chromium, browser
from tests.peers.front import Front, front
from tests.processes import output_of
from tests.sound import Samples, silence, write_wav

NPM = Path(__file__).parent / "npm"
NODE_TIMEOUT_S = 60.0
BUNDLE = "page.js"
INDEX = f'<!doctype html><meta charset="utf-8"><script type="module" src="/{BUNDLE}"></script>'


def version(package: str) -> str:
    """What is installed of it."""
    found = json.loads((NPM / "node_modules" / package / "package.json").read_text())["version"]
    return str(found)


def node() -> str:
    """Node.js of the lock file, beside the interpreter that runs the tests."""
    found = shutil.which("node", path=str(Path(sys.executable).parent))
    assert found is not None, "make peers installs it"
    return found


async def run(
    *command: str | Path, environment: Mapping[str, str] | None = None, timeout_s: float = NODE_TIMEOUT_S
) -> str:
    """Node.js with these arguments, in tests/peers/npm; what it prints. Killed when it takes too long."""
    env = {**os.environ, **(environment or {})}
    return await output_of(node(), *command, cwd=NPM, env=env, timeout_s=timeout_s)


async def script(name: str, environment: Mapping[str, str]) -> Any:
    """The JSON that a script of tests/peers/npm prints on its last line."""
    return json.loads((await run(name, environment=environment)).splitlines()[-1])


async def bundle(page: str, folder: Path) -> None:
    """A page of tests/peers/npm/pages with all that it imports."""
    options = ("--bundle", "--format=esm", "--log-level=warning", f"--outfile={folder / BUNDLE}")
    await run("node_modules/esbuild/bin/esbuild", f"pages/{page}", *options)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[str]:
    """The site of an application, which is another one than that of its calls; its origin."""

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=INDEX, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_static("/", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        server = web.TCPSite(runner, "127.0.0.1", 0)
        await server.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def visiting(
    folder: Path,
    page: str,
    name: str,
    sounds: Mapping[str, Samples],
    microphone: Samples | None = None,
    kind: type[Browser] = Chromium,
    **settings: object,
) -> AsyncIterator[tuple[Browser, Front]]:
    """A browser on a page of tests/peers/npm/pages, and the host that it calls, before `voxpop backend NAME`.

    `sounds` are what the page can say, by name; `microphone` is what the browser's own hears over and over.
    """
    public = folder / "site"
    public.mkdir()
    for sound, samples in sounds.items():
        write_wav(public / f"{sound}.wav", samples)
    write_wav(folder / "microphone.wav", silence(1_000) if microphone is None else microphone)
    await bundle(page, public)
    async with (
        site(public) as origin,
        front(folder, name, [origin], **settings) as here,
        browser(kind, folder, folder / "microphone.wav") as tab,
    ):
        await tab.open(origin)
        await tab.wait_for("window.voxpop")
        yield tab, here
