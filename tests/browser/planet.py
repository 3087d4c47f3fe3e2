"""A browser in a city of a planet, and its page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import numpy as np

from core.addr import Endpoint
from core.service import process
from edge.lab import processes, signaling
from edge.lab.plan import LOOPBACK
from edge.lab.planet.planet import City, Planet
from tests.browser.driver import Browser, Chromium, browser
from tests.sound import silence, speech, write_wav

CONNECT_TIMEOUT_S = 60.0


@contextmanager
def in_city(planet: Planet, city: City, transceiver: str, folder: Path) -> Iterator[str]:
    """This thread, and the browsers that it starts, are in the city meanwhile. The URL of the page of a host:
    loopback, as HTTPS would be, where pages may use a microphone.
    """
    listener = processes.listen(city.namespace, Endpoint(LOOPBACK, 0))
    with listener, city.inside():
        command = signaling.command(listener, planet.transceiver(transceiver).signaling)
        fds = (listener.fileno(),)
        child = process.spawn("signaling", command, folder / "signaling.log", fds, ends_with_us=True)
        try:
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            process.end(child)


@asynccontextmanager
async def calling(url: str, api_key: str, folder: Path) -> AsyncIterator[Browser]:
    """Unchanged Chromium with the page, in a call."""
    microphone = folder / "microphone.wav"
    write_wav(microphone, np.concatenate((silence(1000), speech(), silence(4000))))
    async with browser(Chromium, folder, microphone) as page:
        await page.open(url)
        await page.evaluate(f"document.getElementById('key').value = '{api_key}'")
        await page.evaluate("document.getElementById('call').click()")
        await page.wait_for("voxpop.problem || voxpop.setup.total !== undefined", CONNECT_TIMEOUT_S)
        problem = await page.evaluate("return voxpop.problem")
        assert problem is None, problem
        await page.wait_for("voxpop.path.pop", CONNECT_TIMEOUT_S)
        yield page
