"""Two regions of real transceivers, the first of which has no room."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.transceiver.asked import asked
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host, Response
from tests.transceiver.signaling.kit import SDP
from tests.transceiver.signaling.live import LIVE_SESSIONS, body, post
from tests.transceiver.signaling.regions import PAGE, two_regions
from transceiver.caller.api import SignalingClient, calls_url

OTHER_OFFER = CHROMIUM.replace("a=mid:0", "a=mid:zero").replace("BUNDLE 0", "BUNDLE zero")


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    with two_regions(tmp_path_factory.mktemp("regions")) as (east, west):
        call = east.call(CHROMIUM)
        yield east, west
        east.request("DELETE", call)


def refer(east: Host, sdp: str = CHROMIUM, **headers: str) -> Response:
    """What a full region says, once its process knows of the other one."""

    def referred() -> Response | None:
        response = east.request("POST", CALLS, sdp, SDP | headers)
        return response if response.status == 307 else None

    found = east.wait_until(referred, "a caller is referred")
    assert found is not None
    return found


def path_of(response: Response) -> str:
    url = urlsplit(response.headers["Location"])
    return f"{url.path}?{url.query}"


def test_a_full_region_sends_a_caller_on_who_needs_no_key_there(regions: tuple[Host, Host]) -> None:
    east, west = regions
    referred = refer(east)
    assert referred.headers["Location"].startswith(f"http://127.0.0.1:{west.http}{CALLS}?referral=")
    assert referred.headers["Cache-Control"] == "no-store"
    made = west.request("POST", path_of(referred), CHROMIUM, SDP, key=None)
    assert made.status == 201
    call = made.headers["Location"]
    assert west.request("DELETE", call, key="bob").status == 404, "it is the call of whoever was vouched for"
    assert west.request("DELETE", call, key="alice").status == 200
    assert east.metrics()["voxpop_transceiver_referrals_total{reason=full}"] >= 1
    region = f"voxpop_transceiver_region_up{{region=http://127.0.0.1:{west.http}}}"
    assert east.metrics()[region] == 1


def test_a_live_session_is_sent_on_to_its_own_path(regions: tuple[Host, Host]) -> None:
    east, west = regions
    refer(east)
    referred = post(east, body())
    assert referred.status == 307
    assert referred.headers["Location"].startswith(f"http://127.0.0.1:{west.http}{LIVE_SESSIONS}?referral=")
    other = post(west, body(sdp=OTHER_OFFER), None, path_of(referred))
    assert (other.status, other.code) == (401, "http_bad_referral")
    made = post(west, body(), None, path_of(referred))
    assert made.status == 201
    assert west.request("DELETE", made.headers["Location"]).status == 200


def test_a_referral_is_for_one_offer_and_only_to_make_a_call(regions: tuple[Host, Host]) -> None:
    east, west = regions
    path = path_of(refer(east))
    other = west.request("POST", path, OTHER_OFFER, SDP, key=None)
    assert (other.status, other.code) == (401, "http_bad_referral")
    forged = path[:-1] + ("A" if path[-1] != "A" else "B")
    assert west.request("POST", forged, CHROMIUM, SDP, key=None).code == "http_bad_referral"
    call = west.call(CHROMIUM)
    query = path.partition("?")[2]
    assert west.request("DELETE", f"{call}?{query}", key=None).code == "http_unauthorized"
    for elsewhere in ("/v1/pops", "/v1/realtime", CALLS):
        assert west.request("GET", f"{elsewhere}?{query}", key=None).code == "http_unauthorized"
    with_key = west.request("POST", forged, OTHER_OFFER, SDP)
    assert with_key.status == 201, "a key is enough without it"
    assert west.request("POST", path, CHROMIUM, SDP, key=None).code == "full"
    for made in (call, with_key.headers["Location"]):
        assert west.request("DELETE", made).status == 200
    assert east.request("POST", path, CHROMIUM, SDP).code == "full", "who was sent here is not sent on"


def test_a_page_is_welcome_where_its_region_has_sent_it(regions: tuple[Host, Host]) -> None:
    """After a redirection between two foreign origins a browser's Origin is `null`, and its key is gone."""
    east, west = regions
    referred = refer(east, Origin=PAGE)
    assert referred.headers["Access-Control-Allow-Origin"] == PAGE
    path = path_of(referred)
    asking = {"Origin": "null", "Access-Control-Request-Method": "POST"}
    preflight = west.request("OPTIONS", path, None, asking, key=None)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (200, "null")
    made = west.request("POST", path, CHROMIUM, SDP | {"Origin": "null"}, key=None)
    assert made.status == 201
    west.request("DELETE", made.headers["Location"])
    assert made.headers["Access-Control-Allow-Origin"] == "null"
    assert west.request("OPTIONS", CALLS, None, asking, key=None).status == 403, "and nowhere else"
    assert west.request("POST", CALLS, CHROMIUM, SDP | {"Origin": "null"}).code == "http_foreign_origin"


def test_our_own_client_gets_there(regions: tuple[Host, Host]) -> None:
    east, west = regions
    refer(east)

    async def place() -> str:
        async with aiohttp.ClientSession() as http:
            client = SignalingClient(http, calls_url(f"http://127.0.0.1:{east.http}"), east.keys["alice"])
            placed = await client.place(CHROMIUM, {"type": "realtime"})
            assert placed.location is not None
            assert placed.location.port == west.http
            assert str(placed.referred_to) == f"http://127.0.0.1:{west.http}"
            assert placed.steering == '"near";source=default;why=order, "far"'
            assert await client.hang_up(placed.location)
            return placed.answer_sdp

    assert "a=ice-lite" in asyncio.run(place())


def test_a_region_without_a_pop_refers(tmp_path: Path) -> None:
    """Its only one drains. What the other knows of that PoP is its own business."""
    said = json.dumps({"pop": "near", "forwarder": "xdp", "state": "draining"}).encode()
    with asked(503, said) as pop, two_regions(tmp_path, status=pop.address) as (east, west):
        referred = refer(east)
        assert west.request("POST", path_of(referred), CHROMIUM, SDP, key=None).status == 201
        assert east.metrics()["voxpop_transceiver_referrals_total{reason=no_pop}"] >= 1
        assert east.request("POST", path_of(referred), CHROMIUM, SDP).code == "no_pop", "one hop"


def test_a_region_that_drains_refers_and_one_that_vanishes_is_not_referred_to(tmp_path: Path) -> None:
    with two_regions(tmp_path, max_sessions="5") as (east, west):
        east.call(CHROMIUM)
        east.process.send_signal(signal.SIGTERM)
        east.wait_for_log("draining")
        assert refer(east).status == 307
        west.stop()
        east.wait_for_log(f"region http://127.0.0.1:{west.http} /readyz")
        east.wait_until(lambda: east.request("POST", CALLS, CHROMIUM, SDP).status == 503, "no region is left")
        refused = east.request("POST", CALLS, CHROMIUM, SDP)
        assert json.loads(refused.body)["error"]["code"] == "draining"
        assert refused.headers["Retry-After"]
