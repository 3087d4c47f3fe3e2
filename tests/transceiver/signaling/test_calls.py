"""The signaling API as callers see it: real requests to real processes."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.transceiver.descriptions import CASES as CASES_OF_CLIENTS
from tests.transceiver.descriptions import (
    CHROMIUM,
    FIREFOX,
    OFFERS,
    VIDEO_SECTION,
    attributes,
    section,
    without,
)
from tests.transceiver.host_kit import CALLS, FRAGMENT, VIP, Host, Response
from transceiver.sdp import parse_answer_untrusted, parse_fragment_untrusted
from transceiver.session.ids import new_session_id, owner_of
from transceiver.signaling.bodies import MAX_REQUEST_BYTES
from transceiver.signaling.calls import OLDER_CALLS

SDP = {"Content-Type": "application/sdp"}
OTHER_PROCESS = f"{CALLS}/rtc_1-{'A' * 22}"
"""Of a call that there is not; always the same, as tests are named by it."""
ORIGIN = "https://app.example"
TRICKLE = (
    "a=ice-ufrag:QEPM\r\na=ice-pwd:uEE0igt6Ac6aTLrDV0M7Uqtt\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 2130706431 192.0.2.55 5000 typ host\r\na=end-of-candidates\r\n"
)
RESTART = (
    "a=ice-ufrag:NEWU\r\na=ice-pwd:aNewPasswordOfTheClient0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    settings = {"max_sessions": "40", "cors_origins": f'["{ORIGIN}"]'}
    with Host(tmp_path_factory.mktemp("host"), settings) as running:
        yield running
    assert running.process.returncode == 130
    noise = [line for line in running.log if " INFO " not in line]
    assert noise == [], "refusals are counted, not logged"


@pytest.fixture
def call(host: Host) -> Iterator[str]:
    path = host.call(CHROMIUM)
    yield path
    host.request("DELETE", path)


def form(*fields: tuple[str, str, str], boundary: str = "xyz") -> str:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'
        for name, value, extra in fields
    ]
    return "".join(parts) + f"--{boundary}--\r\n"


AS_SDP, AS_JSON = "\r\nContent-Type: application/sdp", "\r\nContent-Type: application/json"
FORM = {"Content-Type": "multipart/form-data; boundary=xyz"}
JSON = {"Content-Type": "application/json"}


# Making and ending calls


@pytest.mark.parametrize("name", OFFERS)
def test_an_offer_is_answered(host: Host, name: str) -> None:
    response = host.request("POST", CALLS, OFFERS[name], SDP)
    assert response.status == 201
    assert response.headers["Content-Type"] == "application/sdp"
    path = response.headers["Location"]
    assert owner_of(path.removeprefix(CALLS + "/")) in (0, 1)
    assert response.headers["ETag"].startswith('"')
    answer = parse_answer_untrusted(response.text)
    assert answer.ice_lite
    assert len(answer.ufrag) == 28
    assert host.request("DELETE", path).status == 200
    assert host.request("DELETE", path).status == 404


def test_an_answer_names_vips_alone_in_the_order_of_the_pops(host: Host, call: str) -> None:
    """The cluster has no IPv6 prefix, so an IPv6 VIP would lead nowhere; and no address of the host
    itself may be told.
    """
    answer = host.request("POST", CALLS, CHROMIUM, SDP)
    assert [f"{c.host}:{c.port}" for c in parse_answer_untrusted(answer.text).candidates] == [
        VIP,
        "198.51.100.7:3478",
    ]
    assert "127.0.0.1" not in answer.text
    assert str(host.udp) not in answer.text
    host.request("DELETE", answer.headers["Location"])


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, form(("sdp", CHROMIUM, ""), ("session", "{}", ""))),
        (FORM, form(("sdp", CHROMIUM, ""))),
        (FORM, form(("sdp", CHROMIUM, AS_SDP), ("session", "{}", AS_JSON))),
        (FORM, form(("sdp", CHROMIUM, '; filename="offer.sdp"'), ("other", "x", ""))),
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


def test_hanging_up_as_the_openai_api_does(host: Host, call: str) -> None:
    assert host.request("POST", call + "/hangup").status == 200
    assert host.request("POST", call + "/hangup").status == 404


def test_session_settings_reach_the_backend(host: Host) -> None:
    bad = {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 7}}}}
    response = host.request("POST", CALLS, json.dumps({"sdp": CHROMIUM, "session": bad}), JSON)
    assert (response.status, response.code) == (400, "http_bad_session")
    assert "threshold" in response.text


@pytest.mark.parametrize("name", sorted(set(CASES_OF_CLIENTS) - {"ice-lite"}))
def test_an_offer_in_the_shape_of_those_of_other_clients_is_answered(host: Host, name: str) -> None:
    path = host.call(CASES_OF_CLIENTS[name])
    assert host.request("DELETE", path).status == 200


# Trickle and ICE restart (RFC 9725 §4.3)


def patch(host: Host, path: str, body: str | bytes | None, **headers: str) -> Response:
    return host.request("PATCH", path, body, {"Content-Type": FRAGMENT, **headers})


def test_trickled_candidates_are_taken_and_ignored(host: Host, call: str) -> None:
    assert patch(host, call, TRICKLE).status == 204
    assert patch(host, call, TRICKLE, **{"If-Match": '"0"'}).status == 204
    assert patch(host, call, "a=end-of-candidates\r\n").status == 204


def test_candidates_of_a_section_that_gives_up_its_transport_are_no_restart(host: Host) -> None:
    path = host.call(CASES_OF_CLIENTS["ufrag-per-section"])
    try:
        for ufrag, password in (("WzB2", "OH6pQW7NFBqFPZDwBelG9Q"), ("ad0p", "97xod07v15PMlRbTRtfnRK")):
            body = TRICKLE.replace("QEPM", ufrag).replace("uEE0igt6Ac6aTLrDV0M7Uqtt", password)
            assert patch(host, path, body).status == 204
        assert patch(host, path, RESTART).status == 428
    finally:
        host.request("DELETE", path)


def test_ice_restart_gives_new_credentials_and_a_new_etag(host: Host, call: str) -> None:
    first = patch(host, call, RESTART, **{"If-Match": "*"})
    assert first.status == 200
    assert first.headers["Content-Type"] == FRAGMENT
    old, new = '"0"', first.headers["ETag"]
    assert new != old
    fragment = parse_fragment_untrusted(first.text)
    assert fragment.ufrag is not None
    assert len(fragment.ufrag) == 28
    assert VIP.split(":")[0] in first.text
    stale = patch(host, call, RESTART.replace("NEWU", "NEWV"), **{"If-Match": old})
    assert (stale.status, stale.code) == (412, "http_stale_etag")
    again = patch(host, call, RESTART.replace("NEWU", "NEWV"), **{"If-Match": new})
    assert again.status == 200
    assert parse_fragment_untrusted(again.text).ufrag != fragment.ufrag
    assert patch(host, call, RESTART.replace("NEWU", "NEWV")).status == 204, "the client's current ufrag"


def test_a_restart_that_is_refused_leaves_the_call(host: Host, call: str) -> None:
    assert patch(host, call, RESTART).code == "http_no_if_match"
    assert patch(host, call, RESTART.replace("NEWU", "N"), **{"If-Match": "*"}).code == "sdp_bad_ice"
    assert patch(host, call, TRICKLE).status == 204


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        ('"0"', True),
        ('W/"0"', True),
        ('"7", "0"', True),
        ('"7","x y" ,W/"0"', True),
        (" * ", True),
        ('"7"', False),
        ('W/"7", "1"', False),
        ("0", False),
        ("", False),
        ('"0', False),
        ('"x*", "y"', False),
        ('"' * 5000, False),
    ],
)
def test_if_match_is_a_list_of_tags_weak_ones_too(host: Host, condition: str, is_met: bool) -> None:
    """RFC 9110 §13.1.1; proxies that compress weaken ours."""
    path = host.call(CHROMIUM)
    try:
        for body in (TRICKLE, RESTART):
            response = patch(host, path, body, **{"If-Match": condition})
            assert response.status == (412 if not is_met else 204 if body is TRICKLE else 200)
    finally:
        host.request("DELETE", path)


def test_if_match_in_two_lines_reaches_the_owner_through_any_process(host: Host, call: str) -> None:
    for _ in range(6):
        for tags, status in ((b'If-Match: "9"\r\nIf-Match: W/"0"', b"204"), (b'If-Match: "9"', b"412")):
            head = b"PATCH " + call.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + tags
            head += b"\r\nAuthorization: Bearer " + host.keys["alice"].encode()
            head += b"\r\nContent-Type: " + FRAGMENT.encode() + b"\r\nContent-Length: %d\r\n\r\n"
            assert raw(host, head % len(TRICKLE) + TRICKLE.encode()).split()[1] == status


# Other ways to write a path


@pytest.mark.parametrize(
    "path",
    [OLDER_CALLS, OLDER_CALLS + "/", OLDER_CALLS + "?model=gpt-realtime", CALLS + "/", CALLS + "/?x=y"],
)
def test_an_offer_is_taken_where_clients_send_it(host: Host, path: str) -> None:
    for headers, body in ((SDP, CHROMIUM), (JSON, json.dumps({"sdp": CHROMIUM}))):
        response = host.request("POST", path, body, headers)
        assert response.status == 201, response.text
        assert response.headers["Location"].startswith(CALLS + "/rtc_")
        assert host.request("DELETE", response.headers["Location"]).status == 200
    assert host.request("POST", path, CHROMIUM, SDP, key=None).status == 401


def test_a_slash_at_the_end_of_a_call_s_path(host: Host) -> None:
    for method, end in (("DELETE", "/"), ("POST", "/hangup/")):
        path = host.call(CHROMIUM)
        assert patch(host, path + "/", TRICKLE).status == 204
        assert host.request(method, path + end).status == 200
        assert host.request("DELETE", path).status == 404


@pytest.mark.parametrize(
    "path", ["/realtime/calls", "/v1/calls", "/whip", "/v1/realtime/sessions", CALLS + "//"]
)
def test_a_wrong_path_is_told_the_right_one(host: Host, path: str) -> None:
    response = host.request("POST", path, CHROMIUM, SDP)
    assert (response.status, response.code) == (404, "http_not_found")
    assert CALLS in response.text


ALLOWED = {
    CALLS: "OPTIONS, POST",
    CALLS + "/": "OPTIONS, POST",
    OLDER_CALLS: "OPTIONS, POST",
    OTHER_PROCESS: "DELETE, OPTIONS, PATCH",
    f"{OTHER_PROCESS}/hangup": "OPTIONS, POST",
    "/v1/pops": "GET, HEAD, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize("path", ALLOWED)
def test_options_say_what_each_path_takes(host: Host, path: str) -> None:
    response = host.request("OPTIONS", path, key=None)
    assert (response.status, response.headers["Allow"]) == (204, ALLOWED[path])
    is_for_offers = path.rstrip("/") in (CALLS, OLDER_CALLS)
    assert response.headers.get("Accept-Post") == (
        "application/sdp, multipart/form-data, application/json" if is_for_offers else None
    )
    assert response.headers.get("Accept-Patch") == (FRAGMENT if "PATCH" in ALLOWED[path] else None)
    refused = host.request("PUT", path, "", {})
    assert (refused.status, refused.headers["Allow"]) == (405, ALLOWED[path])


@pytest.mark.parametrize("path", ["/v1/nowhere", CALLS + "2", "/nowhere"])
def test_options_of_nothing(host: Host, path: str) -> None:
    assert host.request("OPTIONS", path, key=None).status == 404
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    preflight = host.request("OPTIONS", path, None, asked, key=None)
    assert preflight.status == (204 if path.startswith("/v1/") else 404)
    assert preflight.headers.get("Access-Control-Allow-Origin") == (
        ORIGIN if path.startswith("/v1/") else None
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [(CALLS, 405), (OTHER_PROCESS, 405), ("/v1/pops", 200), ("/healthz", 200), ("/", 200), ("/nowhere", 404)],
)
def test_head_is_what_get_is_without_a_body(host: Host, path: str, status: int) -> None:
    """RFC 9725 §4.2 keeps GET and HEAD of calls for later: 405."""
    head = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.keys['alice']}\r\n"
    answer = raw(host, f"{head}Connection: close\r\n\r\n".encode())
    lines, _, body = answer.partition(b"\r\n\r\n")
    assert (int(lines.split()[1]), body) == (status, b"")
    got = host.request("GET", path)
    assert got.status == status
    assert f"Content-Length: {len(got.body)}\r\n".encode() in lines + b"\r\n"


# Who may


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer vpk_wrong",
        "Bearer \xff",  # not UTF-8
        "Basic YTpi",
        "vpk_wrong",
        "Bearer " + "x" * 5000,
    ],
)
def test_without_a_valid_key(host: Host, header: str) -> None:
    headers = SDP if header is None else SDP | {"Authorization": header}
    response = host.request("POST", CALLS, CHROMIUM, headers, key=None)
    assert (response.status, response.code) == (401, "http_unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_the_call_of_another(host: Host, call: str) -> None:
    for method, path, body, headers in (
        ("DELETE", call, None, {}),
        ("POST", call + "/hangup", None, {}),
        ("PATCH", call, RESTART, {"Content-Type": FRAGMENT, "If-Match": "*"}),
    ):
        response = host.request(method, path, body, headers, key="bob")
        assert (response.status, response.code) == (404, "http_not_found")
    assert patch(host, call, TRICKLE).status == 204, "it goes on"


def test_nobody_becomes_another_by_a_header_of_the_hand_over(host: Host, call: str) -> None:
    response = host.request("DELETE", call, None, {"X-Voxpop-Caller": "alice"}, key="bob")
    assert response.status == 404


# Pages of other origins


def test_preflight_of_a_configured_origin(host: Host) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-openai-agents-sdk",
    }
    response = host.request("OPTIONS", CALLS, None, asked, key=None)
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"POST", "PATCH", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
    assert response.headers["Access-Control-Allow-Headers"] == "Authorization, *"
    assert response.headers["Vary"] == "Origin"
    assert "application/sdp" in response.headers["Accept-Post"]


def test_a_page_of_a_configured_origin_sees_location_and_etag(host: Host) -> None:
    response = host.request("POST", CALLS, CHROMIUM, SDP | {"Origin": ORIGIN})
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
    assert {"Location", "ETag", "Retry-After", "Link", "Allow", "Accept-Post", "Accept-Patch"} <= exposed
    host.request("DELETE", response.headers["Location"])


def test_a_page_of_a_configured_origin_sees_what_a_path_takes(host: Host, call: str) -> None:
    for method, path, name in (
        ("OPTIONS", CALLS, "Accept-Post"),
        ("OPTIONS", call, "Accept-Patch"),
        ("PUT", call, "Allow"),
        ("POST", CALLS, "Accept-Post"),
        ("PATCH", call, "Accept-Patch"),
    ):
        response = host.request(method, path, "x", {"Origin": ORIGIN})
        assert response.headers[name], (method, path)
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert name in response.headers["Access-Control-Expose-Headers"].split(", ")


def test_errors_too_can_be_read_by_a_page_of_a_configured_origin(host: Host) -> None:
    response = host.request("POST", CALLS, "x", SDP | {"Origin": ORIGIN})
    assert response.status == 400
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        f"{ORIGIN}.evil.example",
        "http://app.example",
        "%%%",
        "http://[",
        "http://a\xff",
    ],
)
def test_pages_of_other_origins_are_kept_out(host: Host, origin: str) -> None:
    """A form needs no preflight, so it is the request itself that is refused."""
    headers = FORM | {"Origin": origin}
    response = host.request("POST", CALLS, form(("sdp", CHROMIUM, "")), headers)
    assert (response.status, response.code) == (403, "http_foreign_origin")
    assert "Access-Control-Allow-Origin" not in response.headers
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert host.request("OPTIONS", CALLS, None, headers, key=None).status == 403


def test_the_page_that_we_serve(host: Host) -> None:
    response = host.request("POST", CALLS, CHROMIUM, SDP | {"Origin": f"http://127.0.0.1:{host.http}"})
    assert response.status == 201
    host.request("DELETE", response.headers["Location"])


# Bad input

OTHERS = OTHER_PROCESS
HTML = {"Content-Type": "text/html"}
NO_BOUNDARY = {"Content-Type": "multipart/form-data"}
SDPFRAG = {"Content-Type": FRAGMENT}
ODD_CHARSET = "\r\nContent-Type: text/plain; charset=no"
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
    "form with unknown charset": (FORM, form(("sdp", CHROMIUM, ODD_CHARSET)), 400, "http_bad_body"),
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
    "GET of the calls": ("GET", CALLS, {}, None, 405, "http_method_not_allowed"),
    "PUT of a call": ("PUT", OTHERS, {}, "", 405, "http_method_not_allowed"),
    "DELETE of no call": ("DELETE", OTHERS, {}, None, 404, "http_not_found"),
    "of process 99": ("DELETE", f"{CALLS}/{new_session_id(99)}", {}, None, 404, "http_not_found"),
    "DELETE of what is no id": ("DELETE", f"{CALLS}/..%2f..%2fetc", {}, None, 404, "http_not_found"),
    "PATCH of no call": ("PATCH", OTHERS, SDPFRAG, TRICKLE, 404, "http_not_found"),
    "PATCH with an offer": ("PATCH", OTHERS, SDP, CHROMIUM, 415, "http_bad_content_type"),
}
CASES: dict[str, Case] = {name: ("POST", CALLS, *case) for name, case in BAD.items()} | ELSEWHERE


def refusals(host: Host) -> dict[str, float]:
    return {
        name: value
        for name, value in host.metrics().items()
        if name.startswith("voxpop_transceiver_http_refusals")
    }


def holdings(host: Host) -> dict[str, float]:
    """What requests could leave behind, over both processes. Sockets are counted as open files."""
    now = host.metrics()
    return {
        name: value
        for name, value in now.items()
        if name.startswith(
            (
                "voxpop_transceiver_sessions{",
                "voxpop_transceiver_routes",
                "voxpop_transceiver_tasks",
                "process_open_fds",
            )
        )
    }


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
        host.request("DELETE", f"{CALLS}/{new_session_id(0)}")
        host.request("DELETE", f"{CALLS}/{new_session_id(1)}")
    before = holdings(host)
    for _ in range(3):
        for method, path, headers, body, *_ in CASES.values():
            host.request(method, path, body, headers)
    host.wait_until(lambda: holdings(host) == before, "sockets, tasks or routes are left")


def test_a_call_that_ends_leaves_nothing_behind(host: Host) -> None:
    before = holdings(host)
    for _ in range(10):
        path = host.call(CHROMIUM)
        patch(host, path, RESTART, **{"If-Match": "*"})
        assert host.request("DELETE", path).status == 200
    host.wait_until(lambda: holdings(host) == before, "sockets, tasks or routes are left")


def raw(host: Host, data: bytes, *, is_cut: bool = False) -> bytes:
    """What comes back for bytes that need not be HTTP, until the other side closes."""
    with socket.create_connection(("127.0.0.1", host.http), timeout=30) as connection:
        connection.sendall(data)
        if is_cut:
            connection.shutdown(socket.SHUT_WR)
        chunks = []
        while chunk := connection.recv(65536):
            chunks.append(chunk)
        return b"".join(chunks)


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


def test_two_megabytes_in_chunks_of_unknown_length(host: Host) -> None:
    key = host.keys["alice"].encode()
    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key
    head += b"\r\nContent-Type: application/sdp\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    chunks = -(-MAX_REQUEST_BYTES // 0x8000) + 1
    assert raw(host, head + chunk * chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_a_body_that_trickles_in_is_given_up(host: Host) -> None:
    key = host.keys["alice"].encode()
    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key
    head += b"\r\nContent-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0\r\n"
    answer = raw(host, head)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"http_timeout" in answer


@pytest.mark.slow
def test_a_header_that_never_ends_is_given_up(host: Host) -> None:
    assert raw(host, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""


def test_clients_that_leave_early(host: Host) -> None:
    key = host.keys["alice"].encode()
    head = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key
    before = holdings(host)
    for tail in (b"", b"\r\nContent-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0\r\n"):
        raw(host, head + tail, is_cut=True)
    host.wait_until(lambda: holdings(host) == before, "a connection is left")


# What else is served


def test_health(host: Host) -> None:
    assert host.request("GET", "/healthz", key=None).status == 200
    assert json.loads(host.request("GET", "/readyz", key=None).body) == {"state": "ready"}


def test_pops(host: Host) -> None:
    listing = json.loads(host.request("GET", "/v1/pops").body)
    assert [pop["id"] for pop in listing] == ["near", "far"]
    assert listing[0] == {
        "id": "near",
        "vips": [VIP, "[2001:db8::7]:3478"],
        "forwarder": "unknown",
        "state": "unknown",
    }
    assert host.request("GET", "/v1/pops", key=None).status == 401


def test_the_page(host: Host) -> None:
    index = host.request("GET", "/", key=None)
    assert index.status == 200
    assert index.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in index.headers["Content-Security-Policy"]
    assert index.headers["X-Content-Type-Options"] == "nosniff"
    script = host.request("GET", "/app.js", key=None)
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/../worker.py",
        "/%2e%2e/worker.py",
        "/..%2fworker.py",
        "//etc/passwd",
        "/app.js/",
        "/app.js%00",
        "/worker.py",
        "/web",
    ],
)
def test_nothing_but_the_page_is_served(host: Host, path: str) -> None:
    assert host.request("GET", path, key=None).status == 404


def test_no_version_is_told(host: Host) -> None:
    for path in ("/", "/nowhere", CALLS):
        assert host.request("GET", path).headers["Server"] == "voxpop"


# Several processes


def test_a_request_reaches_the_owner_through_any_process(host: Host) -> None:
    """Each request is a connection of its own, which the kernel gives to either process."""
    paths = [host.call(CHROMIUM) for _ in range(24)]
    owners = [owner_of(path.removeprefix(CALLS + "/")) for path in paths]
    assert set(owners) == {0, 1}
    for path in paths:
        assert patch(host, path, TRICKLE).status == 204
        restarted = patch(host, path, RESTART, **{"If-Match": "*"})
        assert restarted.status == 200
        assert attributes(restarted.text.replace("\r\n", "\n"), "ice-ufrag")
        assert restarted.headers["ETag"] != '"0"'
    for path in paths[::2]:
        assert host.request("DELETE", path).status == 200
    for path in paths[1::2]:
        assert host.request("POST", path + "/hangup").status == 200
    for path in paths:
        assert host.request("DELETE", path).status == 404
