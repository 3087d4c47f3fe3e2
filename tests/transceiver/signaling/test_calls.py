"""The signaling API as callers see it: real requests to real processes."""

import json
from pathlib import Path

import pytest

from tests.transceiver.descriptions import CASES as CASES_OF_CLIENTS
from tests.transceiver.descriptions import (
    CHROMIUM,
    OFFERS,
)
from tests.transceiver.host_kit import CALLS, FRAGMENT, VIP, Host
from tests.transceiver.signaling.kit import (
    FORM,
    ICE_SERVERS,
    JSON,
    ORIGIN,
    RESTART,
    SDP,
    TRICKLE,
    form,
    holdings,
    patch,
    raw,
)
from transceiver.sdp import parse_answer_untrusted, parse_fragment_untrusted
from transceiver.session.ids import owner_of
from transceiver.signaling.shapes import OLDER_CALLS

OTHER_PROCESS = f"{CALLS}/rtc_1-{'A' * 50}"
"""Of a call that there is not; always the same, as tests are named by it."""

# Making and ending calls


@pytest.mark.parametrize("name", OFFERS)
def test_an_offer_is_answered(host: Host, name: str) -> None:
    response = host.request("POST", CALLS, OFFERS[name], SDP)
    assert response.status == 201
    assert response.headers["Content-Type"] == "application/sdp"
    path = response.headers["Location"]
    assert owner_of(path.removeprefix(CALLS + "/")) in ((0, 0), (0, 1))
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
        ('W/"0"', False),
        ('"7", W/"0"', False),
        ('W/"0", "0"', True),
        ('"7", "0"', True),
        ('"7","x y" ,"0"', True),
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
def test_if_match_is_a_list_of_tags_and_weak_ones_do_not_count(
    host: Host, condition: str, is_met: bool
) -> None:
    """RFC 9110 §13.1.1, §8.8.3.2."""
    path = host.call(CHROMIUM)
    try:
        for body in (TRICKLE, RESTART):
            response = patch(host, path, body, **{"If-Match": condition})
            assert response.status == (412 if not is_met else 204 if body is TRICKLE else 200)
    finally:
        host.request("DELETE", path)


def test_if_match_in_two_lines_reaches_the_owner_through_any_process(host: Host, call: str) -> None:
    for _ in range(6):
        for tags, status in ((b'If-Match: W/"9"\r\nIf-Match: "0"', b"204"), (b'If-Match: "9"', b"412")):
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
    CALLS: "GET, HEAD, OPTIONS, POST",
    CALLS + "/": "GET, HEAD, OPTIONS, POST",
    OLDER_CALLS: "GET, OPTIONS, POST",
    OTHER_PROCESS: "DELETE, GET, HEAD, OPTIONS, PATCH",
    f"{OTHER_PROCESS}/hangup": "OPTIONS, POST",
    "/v1/pops": "GET, HEAD, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize("path", ALLOWED)
def test_options_say_what_each_path_takes(host: Host, path: str) -> None:
    response = host.request("OPTIONS", path, key=None)
    assert (response.status, response.headers["Allow"]) == (200, ALLOWED[path])
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
    assert preflight.status == (200 if path.startswith("/v1/") else 404)
    assert preflight.headers.get("Access-Control-Allow-Origin") == (
        ORIGIN if path.startswith("/v1/") else None
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [(CALLS, 204), (OTHER_PROCESS, 404), ("/v1/pops", 200), ("/healthz", 200), ("/", 200), ("/nowhere", 404)],
)
def test_head_is_what_get_is_without_a_body(host: Host, path: str, status: int) -> None:
    head = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.keys['alice']}\r\n"
    answer = raw(host, f"{head}Connection: close\r\n\r\n".encode())
    lines, _, body = answer.partition(b"\r\n\r\n")
    assert (int(lines.split()[1]), body) == (status, b"")
    got = host.request("GET", path)
    assert got.status == status
    if status != 204:  # has no content by its nature (RFC 9110 §8.6)
        assert f"Content-Length: {len(got.body)}\r\n".encode() in lines + b"\r\n"


def test_a_call_is_there_until_it_is_hung_up_and_has_no_content(host: Host) -> None:
    """RFC 9725 §4.1; through either process."""
    path = host.call(CHROMIUM)
    for method in ("GET", "HEAD") * 4:
        shown = host.request(method, path)
        assert (shown.status, shown.body) == (204, b"")
    assert host.request("GET", path, key="bob").status == 404
    assert host.request("GET", path, key=None).status == 401
    assert host.request("DELETE", path).status == 200
    assert host.request("GET", path).status == 404


def test_a_tag_that_is_not_asked_for_is_not_looked_at(host: Host, call: str) -> None:
    """RFC 9725 §4.3.1: a session must ignore it where no ICE session is meant, as in DELETE."""
    assert host.request("DELETE", call, headers={"If-Match": '"7"'}).status == 200


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


# Pages of other origins


def test_preflight_of_a_configured_origin(host: Host) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-openai-agents-sdk",
    }
    response = host.request("OPTIONS", CALLS, None, asked, key=None)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"POST", "PATCH", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
    assert response.headers["Access-Control-Allow-Headers"] == "Authorization, *"
    assert response.headers["Vary"] == "Origin"
    assert "application/sdp" in response.headers["Accept-Post"]


def test_stun_and_turn_servers_of_the_operator_are_told_with_a_call(host: Host) -> None:
    """RFC 9725 §4.6, a line for each; and with nothing else."""
    made = host.request("POST", CALLS, CHROMIUM, SDP)
    assert made.headers.get_all("Link") == [f'<{uri}>; rel="ice-server"' for uri in ICE_SERVERS]
    for method in ("GET", "DELETE"):
        assert "Link" not in host.request(method, made.headers["Location"]).headers
    assert "Link" not in host.request("POST", CALLS, "no SDP", SDP).headers


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


def test_a_call_that_ends_leaves_nothing_behind(tmp_path: Path) -> None:
    """On a host of its own: calls of other tests end when they like."""
    with Host(tmp_path) as host:
        before = holdings(host)
        for _ in range(10):
            path = host.call(CHROMIUM)
            patch(host, path, RESTART, **{"If-Match": "*"})
            assert host.request("DELETE", path).status == 200
        host.wait_until(lambda: holdings(host) == before, "sockets, tasks or routes are left")


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


def test_no_version_is_told(host: Host) -> None:
    for path in ("/", "/nowhere", CALLS):
        assert host.request("GET", path).headers["Server"] == "voxpop"
