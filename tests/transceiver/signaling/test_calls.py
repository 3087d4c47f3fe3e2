"""The signaling API as callers see it: real requests to real processes."""

import json

import pytest

from tests.transceiver.descriptions import (
    CHROMIUM,
    OFFERS,
)
from tests.transceiver.host_kit import CALLS, FRAGMENT, VIP, Host
from tests.transceiver.signaling.kit import (
    FORM,
    JSON,
    ORIGIN,
    RESTART,
    SDP,
    TRICKLE,
    form,
    holdings,
    patch,
)
from transceiver.sdp import parse_answer_untrusted, parse_fragment_untrusted
from transceiver.session.ids import owner_of

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


def test_hanging_up_as_the_openai_api_does(host: Host, call: str) -> None:
    assert host.request("POST", call + "/hangup").status == 200
    assert host.request("POST", call + "/hangup").status == 404


def test_session_settings_reach_the_backend(host: Host) -> None:
    bad = {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 7}}}}
    response = host.request("POST", CALLS, json.dumps({"sdp": CHROMIUM, "session": bad}), JSON)
    assert (response.status, response.code) == (400, "http_bad_session")
    assert "threshold" in response.text


# Trickle and ICE restart (RFC 9725 §4.3)


def test_trickled_candidates_are_taken_and_ignored(host: Host, call: str) -> None:
    assert patch(host, call, TRICKLE).status == 204
    assert patch(host, call, TRICKLE, **{"If-Match": '"0"'}).status == 204
    assert patch(host, call, "a=end-of-candidates\r\n").status == 204


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
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"POST", "PATCH", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
    assert response.headers["Access-Control-Allow-Headers"] == "Authorization, *"
    assert response.headers["Vary"] == "Origin"
    assert "application/sdp" in response.headers["Accept-Post"]


def test_a_page_of_a_configured_origin_sees_location_and_etag(host: Host) -> None:
    response = host.request("POST", CALLS, CHROMIUM, SDP | {"Origin": ORIGIN})
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {"Location", "ETag"} <= set(response.headers["Access-Control-Expose-Headers"].split(", "))
    host.request("DELETE", response.headers["Location"])


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


def test_a_call_that_ends_leaves_nothing_behind(host: Host) -> None:
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
