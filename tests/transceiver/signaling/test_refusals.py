"""What is refused, and that it is counted once and leaves nothing behind."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from core.errors import SdpError
from core.keyring import Keyring
from tests.transceiver.descriptions import CASES as CASES_OF_CLIENTS
from tests.transceiver.descriptions import (
    CHROMIUM,
    VIDEO_SECTION,
    section,
    without,
)
from tests.transceiver.host_kit import CALLS, FRAGMENT, Host
from tests.transceiver.signaling.kit import (
    FORM,
    JSON,
    SDP,
    TRICKLE,
    form,
    holdings,
    raw,
    refusals,
)
from transceiver.sdp import SdpReason
from transceiver.session.ids import Owner, new_session_id
from transceiver.signaling.refusals import HttpReason, Refusal, from_framework, from_sdp

FOREIGN_KEYS = Keyring({1: bytes(32)}, 1)


def call_of(process: int, host: int = 0) -> str:
    """The path of a call that there is not."""
    return f"{CALLS}/{new_session_id(Owner(host, process), 1, FOREIGN_KEYS)}"


OTHERS = call_of(1)


HTML = {"Content-Type": "text/html"}


NO_BOUNDARY = {"Content-Type": "multipart/form-data"}


SDPFRAG = {"Content-Type": FRAGMENT}


AS_BASE64 = "\r\nContent-Transfer-Encoding: base64"


NAMELESS = form(("sdp", CHROMIUM, "")).replace('; name="sdp"', "")


ONLY_VIDEO = without(section(CHROMIUM, 0).lstrip("\n"), "a=group") + "\n" + VIDEO_SECTION


Case = tuple[str, str, dict[str, str], str | bytes | None, int, str]


BAD: dict[str, tuple[dict[str, str], str | bytes, int, str]] = {
    "2 MB of SDP": (SDP, CHROMIUM + "a=x\r\n" * 400_000, 413, "http_too_large"),
    "SDP of 70 KB": (SDP, CHROMIUM + "a=x:" + "y" * 68_000, 413, "sdp_too_large"),
    "SDP of 3000 lines": (SDP, CHROMIUM + "a=x\n" * 3_000, 413, "sdp_too_many_lines"),
    "nothing": (SDP, "", 400, "sdp_not_sdp"),
    "prose": (SDP, "hello", 400, "sdp_not_sdp"),
    "bytes": (SDP, b"v=0\n\xff\xfe", 400, "sdp_not_sdp"),
    "hostile a= line": (SDP, CHROMIUM.replace("a=mid:0", "a=mid:0\x0ba=x"), 400, "sdp_bad_mid"),
    "ice-lite": (SDP, CASES_OF_CLIENTS["ice-lite"], 422, "sdp_ice_lite"),
    "packets of 3 ms": (SDP, CHROMIUM.replace("a=mid:0", "a=mid:0\na=maxptime:3"), 422, "sdp_bad_ptime"),
    "SDP without audio": (SDP, without(CHROMIUM, "m=audio"), 422, "sdp_no_audio"),
    "video only": (SDP, ONLY_VIDEO, 422, "sdp_video_only"),
    "no Opus": (SDP, CHROMIUM.replace("opus/", "speex/"), 422, "sdp_no_opus"),
    "no fingerprint": (SDP, without(CHROMIUM, "a=fingerprint"), 422, "sdp_no_fingerprint"),
    "no rtcp-mux": (SDP, without(CHROMIUM, "a=rtcp-mux"), 422, "sdp_no_rtcp_mux"),
    "unknown content type": (HTML, CHROMIUM, 415, "http_bad_content_type"),
    "no content type": ({}, CHROMIUM.encode(), 415, "http_bad_content_type"),
    "packed": (SDP | {"Content-Encoding": "gzip"}, "x", 415, "http_bad_content_type"),
    "form without boundary": (NO_BOUNDARY, "x", 400, "http_bad_body"),
    "form that is none": (FORM, "hello", 400, "http_bad_body"),
    "form that is cut": (FORM, form(("sdp", CHROMIUM, ""))[:-40], 400, "http_bad_body"),
    "form without sdp": (FORM, form(("session", "{}", "")), 400, "http_bad_body"),
    "form with nameless part": (FORM, NAMELESS, 400, "http_bad_body"),
    "form that is encoded": (FORM, form(("sdp", CHROMIUM, AS_BASE64)), 400, "http_bad_body"),
    "session that is no JSON": (
        FORM,
        form(("sdp", CHROMIUM, ""), ("session", "{", "")),
        400,
        "http_bad_session",
    ),
    "session that is a list": (
        FORM,
        form(("sdp", CHROMIUM, ""), ("session", "[]", "")),
        400,
        "http_bad_session",
    ),
    "session of many brackets": (
        FORM,
        form(("sdp", CHROMIUM, ""), ("session", "[" * 60_000, "")),
        400,
        "http_bad_session",
    ),
    "JSON that is none": (JSON, "{", 400, "http_bad_session"),
    "JSON without sdp": (JSON, "{}", 400, "http_bad_body"),
    "JSON with a number as sdp": (JSON, '{"sdp": 1}', 400, "http_bad_body"),
}


ELSEWHERE: dict[str, Case] = {
    "unknown path": ("POST", "/v1/realtime/calls2", SDP, CHROMIUM, 404, "http_not_found"),
    "PUT of the calls": ("PUT", CALLS, {}, None, 405, "http_method_not_allowed"),
    "PUT of a call": ("PUT", OTHERS, {}, "", 405, "http_method_not_allowed"),
    "DELETE of no call": ("DELETE", OTHERS, {}, None, 404, "http_not_found"),
    "of process 99": ("DELETE", call_of(99), {}, None, 404, "http_not_found"),
    "of a host that nobody has named": ("DELETE", call_of(0, 1), {}, None, 404, "http_not_found"),
    "DELETE of what is no id": ("DELETE", f"{CALLS}/..%2f..%2fetc", {}, None, 404, "http_not_found"),
    "PATCH of no call": ("PATCH", OTHERS, SDPFRAG, TRICKLE, 404, "http_not_found"),
    "PATCH with an offer": ("PATCH", OTHERS, SDP, CHROMIUM, 415, "http_bad_content_type"),
}


CASES: dict[str, Case] = {name: ("POST", CALLS, *case) for name, case in BAD.items()} | ELSEWHERE


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_and_counted_once(host: Host, case: str) -> None:
    method, path, headers, body, status, code = CASES[case]
    before = refusals(host)
    response = host.request(method, path, body, headers)
    assert (response.status, response.code) == (status, code)
    assert response.headers["Content-Type"].startswith("application/json")
    grown = {name: value - before[name] for name, value in refusals(host).items() if value != before[name]}
    assert grown == {f"voxpop_transceiver_http_refusals_total{{reason={code}}}": 1}


def test_bad_input_leaves_nothing_behind(host: Host) -> None:
    holdings(host)  # connections between the processes stay open, so make them first
    for _ in range(8):
        host.request("DELETE", call_of(0))
        host.request("DELETE", call_of(1))
    before = holdings(host)
    for _ in range(3):
        for method, path, headers, body, *_ in CASES.values():
            host.request(method, path, body, headers)
    host.wait_until(lambda: holdings(host) == before, "sockets, tasks or routes are left")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 300 + b"\r\n",
    ],
)
def test_what_is_not_http_gets_400_and_a_count_and_no_traceback(host: Host, data: bytes) -> None:
    before = refusals(host)
    assert raw(host, data).split(b"\r\n")[0] in (b"HTTP/1.1 400 Bad Request", b"HTTP/1.0 400 Bad Request")
    grown = {name: value - before[name] for name, value in refusals(host).items() if value != before[name]}
    assert grown == {"voxpop_transceiver_http_refusals_total{reason=http_malformed}": 1}
    assert "Traceback" not in "".join(host.log)


def error_of(refusal: Refusal) -> dict[str, object]:
    """The error object of the OpenAI API."""
    body = refusal.response().text
    assert body is not None
    error: dict[str, object] = json.loads(body)["error"]
    return error


def test_every_fault_of_a_description_is_the_callers_and_says_which() -> None:
    for reason in SdpReason:
        refusal = from_sdp(SdpError(reason, "Words."))
        assert refusal.status in (400, 413, 422)
        assert error_of(refusal) == {
            "message": "Words.",
            "type": "invalid_request_error",
            "code": str(reason),
            "param": None,
        }


def test_what_aiohttp_refuses_is_told_in_our_words() -> None:
    refusal = from_framework(web.HTTPMethodNotAllowed("PUT", ["GET", "POST"]))
    assert (refusal.status, refusal.reason) == (405, HttpReason.METHOD_NOT_ALLOWED)
    assert refusal.headers == {"Allow": "GET, OPTIONS, POST"}
    unknown = from_framework(web.HTTPRequestURITooLong())
    assert (unknown.status, unknown.reason) == (414, HttpReason.MALFORMED)


def test_a_fault_of_ours_is_the_servers() -> None:
    assert error_of(Refusal(500, HttpReason.FAULT, "x"))["type"] == "server_error"
