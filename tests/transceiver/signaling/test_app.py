"""What the applications do about mistakes of ours; all else is in test_signaling."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.transceiver.net import Counts, running
from tests.transceiver.signaling.kit import others
from transceiver.session.manager import SessionManager
from transceiver.signaling.app import Access, public_app, sibling_app
from transceiver.signaling.calls import Calls
from transceiver.signaling.pops import PopDirectory
from transceiver.signaling.referrals import Referrer
from transceiver.signaling.steering import Steering, SteeringPlan


class Refusals(Counts):
    def request_refused(self, reason: str) -> None:
        self.refused[reason] += 1


def calls_of(manager: SessionManager, folder: Path, counts: Counts) -> Calls:
    steering = Steering(counts, SteeringPlan())
    return Calls(manager, others(folder), counts, steering, Referrer())


def broken() -> bytes:
    raise RuntimeError("out of numbers")


def test_a_fault_is_told_as_the_api_tells_errors_and_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        counts = Refusals()
        async with running() as server:
            calls = calls_of(server.manager, tmp_path, counts)
            async with TestClient(TestServer(sibling_app(calls, broken, counts))) as client:
                response = await client.get("/metrics")
                assert response.status == 500
                error = (await response.json())["error"]
        assert (error["type"], error["code"]) == ("server_error", "http_fault")
        assert "numbers" not in error["message"]
        assert counts.refused == {"http_fault": 1}

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert [record.exc_text and "out of numbers" in record.exc_text for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("[::1]", 200),
        ("rebound.example:8080", 403),
        ("127.0.0.1.example", 403),
        ("", 403),
    ],
)
def test_without_keys_a_name_that_leads_to_us_makes_no_page_ours(
    tmp_path: Path, host: str, status: int
) -> None:
    async def scenario() -> None:
        counts = Refusals()
        async with running() as server:
            calls = calls_of(server.manager, tmp_path, counts)
            app = public_app(calls, Access(None, ()), PopDirectory(()), lambda: None, counts, None)
            async with TestClient(TestServer(app)) as client:
                headers = {"Host": host, "Origin": f"http://{host}"}
                assert (await client.get("/v1/pops", headers=headers)).status == status

    asyncio.run(scenario())
