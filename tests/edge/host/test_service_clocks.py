"""A transceiver whose clock is off, and a real relay: both say it."""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
from types import SimpleNamespace

import pytest

from core.addr import Endpoint
from core.clocks import http_date
from core.config import PopSettings
from tests.edge.host.kit import HOST, StartRelay
from tests.edge.kit import RelayProcess, eventually
from transceiver.host import pop_watch
from transceiver.host.pop_watch import PopWatch
from transceiver.host.status_client import StatusClient

HOURS_S = 7200.0
OURS = '[[cluster]]\nid = 9\nipv4 = "127.0.0.1/32"\nports = [1024, 65535]\n'


def ahead_s(relay: RelayProcess) -> float:
    series = "voxpop_relay_transceiver_clock_ahead_seconds "
    line = next(line for line in relay.get("/metrics")[1].splitlines() if line.startswith(series))
    return float(line.removeprefix(series))


def complaints(relay: RelayProcess) -> list[str]:
    return [line for line in relay.log_text().splitlines() if "clock" in line]


def test_both_ends_say_that_their_clocks_are_apart(
    start: StartRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    relay = start(cluster=OURS)
    assert "clocks_ahead_s" not in relay.summary()
    client = StatusClient()
    watch = PopWatch([PopSettings("test", (Endpoint("192.0.2.1", 3478),), relay.metrics)], client)

    async def ask() -> None:
        await watch.ask()
        await client.close()

    asyncio.run(ask())
    assert ahead_s(relay) == 0.0
    assert complaints(relay) == []
    fast = SimpleNamespace(time=lambda: time.time() + HOURS_S)
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(pop_watch, "time", fast)
        for _ in range(3):
            asyncio.run(ask())
    assert ahead_s(relay) == pytest.approx(HOURS_S, abs=2.0)
    assert relay.summary()["clocks_ahead_s"] == {"127.0.0.1": pytest.approx(HOURS_S, abs=2.0)}
    eventually(lambda: complaints(relay), "the relay says it")
    (line,) = complaints(relay)
    assert "the clock of transceiver host 127.0.0.1 is 720" in line
    assert "s ahead of ours" in line
    assert len(caplog.messages) == 1
    assert "the clock of PoP test is" in caplog.messages[0]
    assert "s behind this host's" in caplog.messages[0]
    assert relay.get("/readyz")[0] == 200, "whose clock is wrong is not known"


@pytest.mark.parametrize(("source", "is_believed"), [(HOST, True), ("127.0.0.1", False)])
def test_a_stranger_who_asks_for_the_status_is_not_believed(
    start: StartRelay, source: str, is_believed: bool
) -> None:
    relay = start()
    asked = http.client.HTTPConnection(relay.metrics.host, relay.metrics.port, source_address=(source, 0))
    for path in ("/healthz", "/readyz"):
        asked.request("GET", path, headers={"Date": http_date(time.time() - HOURS_S)})
        asked.getresponse().read()
    asked.close()
    assert ("clocks_ahead_s" in relay.summary()) is is_believed
    assert bool(complaints(relay)) is is_believed
