"""What a key may have of a real host, whichever of its processes it comes to."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host, kill
from tests.transceiver.signaling.kit import SDP, raw
from tests.transceiver.signaling.sidebands import refused, run, sideband
from transceiver.sdp import MAX_SDP_BYTES

ROOM = 60
FLOOD = 120
REFUSED = "voxpop_transceiver_quota_refusals_total{{key={},quota={}}}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    settings = {"max_sessions": str(ROOM // 2)}
    with Host(tmp_path_factory.mktemp("quotas"), settings) as running:
        yield running


def post(host: Host, key: str, body: str = CHROMIUM) -> int:
    return host.request("POST", CALLS, body, SDP, key).status


def test_one_key_cannot_take_the_others_calls(host: Host) -> None:
    """As fast as it can; 3.4 per second would have done, and the other key had 0 of 6."""
    paths = []
    for _ in range(FLOOD):
        response = host.request("POST", CALLS, CHROMIUM, SDP, "alice")
        if response.status == 201:
            paths.append(response.headers["Location"])
    assert len(paths) == ROOM // 2, "half of the room may be calls that nobody comes to"
    error = json.loads(response.body)["error"]
    assert (response.status, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert error["param"] is None
    assert "pending_calls" in error["message"]
    assert response.headers["Retry-After"] == "2"
    assert [post(host, "bob") for _ in range(6)] == [201] * 6
    assert host.metrics()[REFUSED.format("alice", "pending_calls")] == FLOOD - ROOM // 2
    assert host.metrics()[REFUSED.format("bob", "pending_calls")] == 0
    assert {host.request("DELETE", path).status for path in paths} == {200}, "a hang-up is never refused"
    assert post(host, "alice") == 201


def test_what_is_refused_is_refused_by_its_header(host: Host) -> None:
    """Quotas of a key's own are adopted by a reload."""
    own = host.folder / "api-keys.toml"
    own.write_text(own.read_text().replace("[key.bob]\n", "[key.bob]\npending_calls = 1\n"))
    host.process.send_signal(signal.SIGHUP)
    host.wait_for_log("reloaded")
    host.wait_until(lambda: post(host, "bob") == 429, "quotas of its own are adopted")
    response = host.request("POST", CALLS, "x" * (MAX_SDP_BYTES + 1), SDP, "bob")
    assert (response.status, response.code) == (429, "rate_limit_exceeded"), "or it would be 413"
    head = f"POST {CALLS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.keys['bob']}\r\n"
    asks = head + "Content-Type: application/sdp\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    assert raw(host, asks.encode()).startswith(b"HTTP/1.1 429"), "not told first to send it"
    assert host.request("GET", "/v1/pops", key="bob").status == 200
    assert post(host, "alice") == 201


def test_a_secret_has_a_quota_below_its_key(host: Host) -> None:
    body = host.request("POST", "/v1/realtime/client_secrets").body
    secret = json.loads(body)["value"]
    made = Counter(post(host, secret) for _ in range(2 * 10 + 4))
    assert 10 <= made[201] <= 2 * 10, "each of two processes counts by itself"
    assert made[429] == 24 - made[201]
    assert post(host, "alice") == 201


def test_sidebands_are_counted_where_they_come_in(host: Host) -> None:
    own = host.folder / "api-keys.toml"
    own.write_text(own.read_text().replace("[key.alice]\n", "[key.alice]\nsidebands = 1\n"))
    host.process.send_signal(signal.SIGHUP)
    host.wait_for_log("reloaded")
    path = host.call(CHROMIUM)

    async def scenario() -> None:
        async with sideband(host, path):
            assert await refused(host, path) == 429

    run(scenario())
    assert host.metrics()[REFUSED.format("alice", "sidebands")] == 1


def test_the_calls_of_a_process_that_died_are_nobodys(host: Host) -> None:
    while post(host, "alice") == 201:
        pass
    before = host.workers
    for worker in before:
        kill(worker)
    host.wait_until(lambda: host.has_replaced(before), "they are replaced")
    assert post(host, "alice") == 201
