"""Set-up of whole calls, POST to first audio, at 20 a second, whatever the store does meanwhile.

In rounds, each of which has every trouble and a healthy store, so that what the machine does meets all alike.
The ratio of two p95 comes with its range (`core.compare`); the target is missed where all of that is above
it. "well, again" shows what chance alone does. The store is a real one on this machine, so to start it again
takes some of the same cores, which a store elsewhere would not.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

from core.compare import Round, compare, percentile
from tests.bench.result import Figure
from tests.redis_server import Server, running
from transceiver.caller.api import SignalingClient, calls_url
from transceiver.caller.call import Call
from transceiver.demo.host import CONFIG_FILE, LocalHost, plan_host
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate
from transceiver.transport.warmup import warm_up

ROUNDS, CALLS = 12, 40
PER_S = 20
WARM_UP = 20
WELL, AGAIN = "well", "well, again"
LIMIT = 1.2
TROUBLES: Mapping[str, Callable[[Server], object]] = {
    WELL: lambda redis: None,
    AGAIN: lambda redis: None,
    "killed": lambda redis: redis.stop(),
    "restarted empty": lambda redis: (redis.stop(), redis.start()),
    "slow": lambda redis: redis.cli("CLIENT", "PAUSE", "60000", "ALL"),
    "full": lambda redis: redis.cli("CONFIG", "SET", "maxmemory", "1"),
}
"""What is done to a store that is well."""


def run() -> list[Figure]:
    """Two transceiver processes, two relay workers, one Redis."""
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder:
        rounds = asyncio.run(_measure(Path(folder)))
    figures = []
    for percent in (50, 95):
        usual = percentile([ms for each in rounds for ms in each[WELL]], percent)
        figures.append(Figure(f"set-up at {PER_S}/s, store {WELL}, p{percent}", usual, "ms"))
    for trouble in TROUBLES:
        if trouble != WELL:
            found = compare([Round(each[WELL], each[trouble]) for each in rounds], 95)
            name = f"set-up, store {trouble}: p95 to that of a healthy one, at least"
            note = f"{found}; {ROUNDS} × {CALLS} calls each, none failed"
            figures.append(Figure(name, found.low, "times", at_most=LIMIT, note=note))
    return figures


async def _measure(folder: Path) -> Sequence[Mapping[str, Sequence[float]]]:
    """Of each round, by trouble: ms of each call."""
    with running(Server(folder / "redis")) as redis:
        host = LocalHost(plan_host(transceiver_settings={"max_loop_lag_ms": 10_000}), folder)
        with (folder / CONFIG_FILE).open("a") as config:
            config.write(f'[store]\nurl = "{redis.url}"\n')
        crowd = _Crowd(host.plan.url)
        try:
            await host.start()
            await warm_up()
            await crowd.set_up(WARM_UP)
            return [await _round(number, redis, host, crowd) for number in range(ROUNDS)]
        finally:
            crowd.close()
            await host.stop()


async def _round(number: int, redis: Server, host: LocalHost, crowd: _Crowd) -> Mapping[str, Sequence[float]]:
    """Each trouble comes first, last and in between as often as the others."""
    turn = number % len(TROUBLES)
    names = [*TROUBLES][turn:] + [*TROUBLES][:turn]
    found = {}
    for name in names:
        await asyncio.to_thread(TROUBLES[name], redis)
        found[name] = await crowd.set_up(CALLS)
        if name not in (WELL, AGAIN):
            await asyncio.to_thread(lambda: (redis.stop(), redis.start()))
            await _until_well(host)
    return found


async def _until_well(host: LocalHost) -> None:
    """The breaker's longest pause is 5 s."""
    deadline = time.monotonic() + 30
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"http://{host.plan.relay_metrics}/healthz") as response:
                if json.loads(await response.read())["store"].get("state") == "well":
                    return
            assert time.monotonic() < deadline, "the store is well again, and is not believed"
            await asyncio.sleep(0.05)


class _Crowd:
    """Callers that come one after the other, whether those before are through or not."""

    def __init__(self, url: str) -> None:
        self._url = calls_url(url)
        self._ticker = Ticker()
        self._certificate = Certificate.generate()

    async def set_up(self, calls: int) -> Sequence[float]:
        """ms of each, from the POST to the first audio. Raises CallError for one that fails."""
        tasks = []
        for _ in range(calls):
            tasks.append(asyncio.create_task(self._call()))
            await asyncio.sleep(1 / PER_S)
        return await asyncio.gather(*tasks)

    async def _call(self) -> float:
        """As a new client does it, on a connection of its own."""
        async with aiohttp.ClientSession() as http:
            call = Call(SignalingClient(http, self._url, None), self._ticker, self._certificate)
            try:
                began_ns = time.monotonic_ns()
                await call.connect()
                return (time.monotonic_ns() - began_ns) / 1e6
            finally:
                await call.hang_up()

    def close(self) -> None:
        """Stop the clock."""
        self._ticker.close()
