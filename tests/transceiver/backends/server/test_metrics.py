"""What a backend's process shows of itself, as Prometheus reads it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_tcp_port
from tests.transceiver.backends.server.kit import Served, parrots, serving, talking
from tests.transceiver.backends.server.test_process import process
from transceiver.backends.server.app import Access
from transceiver.backends.server.client import Client
from transceiver.backends.server.metrics import RECORDED, SECTION, STAGES, Metrics
from transceiver.backends.server.response import Response

NAMES = [series.name for series in SECTION.catalogue]


def samples(text: str) -> dict[str, float]:
    """Those of ours that are not zero."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            if sample.name.startswith("voxpop_backend_") and sample.value:
                found[f"{sample.name.removeprefix('voxpop_backend_')}{{{labels}}}"] = sample.value
    return found


def shown(served: Served) -> dict[str, float]:
    return samples(served.server.metrics.exposition(served.server.sessions).decode())


def test_everything_is_there_from_the_start() -> None:
    text = Metrics().exposition(0).decode()
    assert samples(text) == {}
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {name.removesuffix("_total") for name in NAMES} <= families
    assert len(RECORDED) + 1 == len(NAMES)


def test_clients_their_events_and_what_they_did_wrong_are_counted() -> None:
    async def scenario() -> None:
        access = Access(lambda key: "alice" if key == "k" else None, 1)
        async with serving(parrots(), access) as served:
            key = {"Authorization": "Bearer k"}
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with talking(served.url):
                    pass
            async with talking(served.url, headers=key) as talk:
                await talk.until("session.created")
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    async with talking(served.url, headers=key):
                        pass
                await talk.ask("x", "error")
                await talk.ask("session.update", "session.updated", session={})
                assert shown(served) == {
                    "sessions{}": 1,
                    "events_total{received}": 2,
                    "events_total{sent}": 3,
                    "errors_total{unknown_event}": 1,
                    "refusals_total{invalid_api_key}": 1,
                    "refusals_total{server_full}": 1,
                }
            await served.server.emptied()
            now = shown(served)
            assert now["sessions_ended_total{left}"] == 1
            assert "sessions{}" not in now

    asyncio.run(scenario())


def test_stages_are_told_by_whoever_measures_them() -> None:
    metrics = Metrics()
    client = Client("sess_1", "m", lambda _: None, lambda: False)
    client.took = metrics.stage
    stages = {**dict.fromkeys(STAGES, 30.0), "dream": 600.0, "total": 720.0}
    Response(client).complete(stages_ms=stages)
    now = samples(metrics.exposition(0).decode())
    assert {key: value for key, value in now.items() if key.startswith("stage_seconds_sum")} == {
        **{f"stage_seconds_sum{{{stage}}}": 0.03 for stage in STAGES},
        "stage_seconds_sum{other}": 0.6,
    }


def test_a_process_shows_them_where_it_is_told_to() -> None:
    async def scenario(url: str, at: str) -> None:
        async with talking(url) as talk, aiohttp.ClientSession() as http:
            await talk.until("session.created")
            page = await (await http.get(f"{at}/metrics")).text()
            assert samples(page) == {"sessions{}": 1, "events_total{sent}": 1}
            assert "process_resident_memory_bytes" in page
            for path in ("healthz", "readyz"):
                answer = await http.get(f"{at}/{path}")
                assert (answer.status, await answer.json()) == (200, {"state": "ready", "sessions": 1})

    at = f"127.0.0.1:{free_tcp_port()}"
    with process("--metrics", at) as (_, url):
        asyncio.run(scenario(url, f"http://{at}"))
