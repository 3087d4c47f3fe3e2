"""Bodies of every form, of any length and at any pace, sent to a real host."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from tests.transceiver.descriptions import (
    CHROMIUM,
    FIREFOX,
)
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.http_kit import heard_until_closed, serving
from tests.transceiver.net import running
from tests.transceiver.signaling.kit import (
    AS_JSON,
    AS_SDP,
    FORM,
    JSON,
    SDP,
    form,
    holdings,
    others,
    raw,
)
from transceiver.observer import NullObserver
from transceiver.signaling.app import Access, public_app
from transceiver.signaling.bodies import MAX_REQUEST_BYTES
from transceiver.signaling.calls import Calls
from transceiver.signaling.pops import PopDirectory
from transceiver.signaling.referrals import Referrer
from transceiver.signaling.steering import Steering, SteeringPlan

TIMEOUT_S = 0.2
NO_NAME = '; filename=""'
"""What the openai package of npm writes, and WebKit's FormData for a Blob."""


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, form(("sdp", CHROMIUM, ""), ("session", "{}", ""))),
        (FORM, form(("sdp", CHROMIUM, ""))),
        (FORM, form(("sdp", CHROMIUM, AS_SDP), ("session", "{}", AS_JSON))),
        (FORM, form(("sdp", CHROMIUM, '; filename="offer.sdp"'), ("other", "x", ""))),
        (FORM, form(("sdp", CHROMIUM, NO_NAME + AS_SDP), ("session", "{}", NO_NAME + AS_JSON))),
        (JSON, json.dumps({"sdp": CHROMIUM, "session": {}})),
        (JSON, json.dumps({"sdp": FIREFOX})),
        (SDP | {"X-OpenAI-Agents-SDK": "openai-agents-js.0.20.0"}, CHROMIUM.replace("\n", "\r\n")),
        ({"Content-Type": "application/sdp; charset=utf-8"}, CHROMIUM),
    ],
)  # fmt: skip
def test_every_form_of_a_call(host: Host, headers: dict[str, str], body: str | bytes | None) -> None:
    response = host.request("POST", CALLS, body, headers)
    assert response.status == 201, response.text
    assert host.request("DELETE", response.headers["Location"]).status == 200


def test_a_form_of_two_thousand_parts(host: Host) -> None:
    body = form(("sdp", CHROMIUM, ""), *((f"x{number}", "", "") for number in range(2_000)))
    response = host.request("POST", CALLS, body, FORM)
    assert (response.status, response.code) == (400, "http_bad_body")


def test_a_body_that_says_that_it_is_too_long_is_not_waited_for(host: Host) -> None:
    key = host.keys["alice"].encode()
    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key
    head += b"\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1)
    assert raw(host, head).startswith(b"HTTP/1.1 413"), "before the 10 s for a body are over it would be 408"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Authorization: Bearer nobody's", 401),
        (f"Content-Length: {MAX_REQUEST_BYTES + 1}", 413),
        ("Content-Type: text/plain", 415),
        ("Content-Type: application/sdp", 100),
    ],
)
def test_who_asks_before_they_send_is_told_to_where_nothing_speaks_against_it(
    host: Host, line: str, status: int
) -> None:
    fields = {"Authorization": f"Bearer {host.keys['alice']}", "Content-Type": "application/sdp"}
    fields |= {"Content-Length": str(len(CHROMIUM)), "Expect": "100-continue", "Host": "localhost"}
    fields |= dict([line.split(": ")])
    head = "\r\n".join(["POST /v1/realtime/calls HTTP/1.1", *map(": ".join, fields.items()), "\r\n"])
    with socket.create_connection(("127.0.0.1", host.http), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
        assert answer.startswith(f"HTTP/1.1 {status}".encode())
        if status == 100:
            connection.sendall(CHROMIUM.encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 201")


def test_two_megabytes_in_chunks_of_unknown_length(host: Host) -> None:
    key = host.keys["alice"].encode()
    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key
    head += b"\r\nContent-Type: application/sdp\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    chunks = -(-MAX_REQUEST_BYTES // 0x8000) + 1
    assert raw(host, head + chunk * chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_one_byte_chunks(host: Host) -> None:
    key = host.keys["alice"].encode()
    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key
    head += b"\r\nContent-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(host, head + b"1\r\na\r\n" * 30_000 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"http_wasteful" in answer


def test_a_body_that_trickles_in_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running() as server:
            steering = Steering(NullObserver(), SteeringPlan())
            calls = Calls(server.manager, others(tmp_path), NullObserver(), steering, Referrer(), TIMEOUT_S)
            app = public_app(calls, Access(None, ()), PopDirectory(()), lambda: None, NullObserver(), None)
            async with serving(app) as port:
                answer = await heard_until_closed(port, head)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"http_timeout" in answer
        assert f"longer than {TIMEOUT_S:g} s".encode() in answer

    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: localhost"
    head += b"\r\nContent-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0\r\n"
    asyncio.run(scenario())


def test_clients_that_leave_early(host: Host) -> None:
    key = host.keys["alice"].encode()
    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key
    before = holdings(host)
    for tail in (b"", b"\r\nContent-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0\r\n"):
        raw(host, head + tail, is_cut=True)
    host.wait_until(lambda: holdings(host) == before, "a connection is left")
