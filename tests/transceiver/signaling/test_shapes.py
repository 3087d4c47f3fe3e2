"""transceiver.signaling.shapes: sessions are asked for as Realtime calls and as GPT-Live has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.signaling.kit import JSON, ORIGIN, RESTART, SDP, TRICKLE, patch, refusals
from tests.transceiver.signaling.live import LIVE_SESSIONS, MODEL, body, make, post
from tests.transceiver.signaling.test_secret_requests import new, secret

LIMITS = {"data_channel": {"allowed_client_events": ["session.close"]}}


def test_a_session_is_answered_as_the_api_has_it(host: Host) -> None:
    made = post(host, body())
    assert made.status == 201
    assert made.headers["Content-Type"].startswith("application/json")
    answer = json.loads(made.body)
    assert answer.keys() == {"session", "transport"}
    session_id = answer["session"]["id"]
    assert session_id.startswith("live_")
    assert answer["transport"]["type"] == "webrtc"
    assert "a=ice-lite" in answer["transport"]["sdp"]
    assert made.headers["Location"] == f"{LIVE_SESSIONS}/{session_id}"
    assert made.headers["ETag"] == '"0"'
    assert made.headers["Voxpop-Steering"].startswith('"near"')
    assert host.request("DELETE", made.headers["Location"]).status == 200


def test_it_is_the_resource_that_a_call_is_and_at_its_own_path_alone(host: Host) -> None:
    for method, tail in (("DELETE", ""), ("POST", "/hangup"), ("POST", "/hangup/")):
        path = make(host)
        elsewhere = path.replace(LIVE_SESSIONS, CALLS)
        assert host.request("GET", path).status == 204
        assert patch(host, path, TRICKLE).status == 204
        assert patch(host, path, RESTART, **{"If-Match": "*"}).status == 200
        assert host.request(method, elsewhere + tail).status == 404
        assert host.request(method, path + tail, key="bob").status == 404, "it is alice's"
        assert host.request(method, path + tail, key=None).status == 401
        assert host.request(method, path + tail).status == 200
        assert host.request(method, path + tail).status == 404
    call = host.call(CHROMIUM)
    assert host.request("DELETE", call.replace(CALLS, LIVE_SESSIONS)).status == 404
    assert host.request("DELETE", call).status == 200
    forged = f"{LIVE_SESSIONS}/{call.rpartition('/')[2].replace('rtc_', 'live_')}"
    assert host.request("DELETE", forged).status == 404


@pytest.mark.parametrize(
    ("text", "status", "code", "param"),
    [
        ("no", 400, "http_bad_session", None),
        ("[]", 400, "http_bad_session", None),
        ("{}", 400, "http_bad_body", "transport"),
        ('{"session": {}, "transport": []}', 400, "http_bad_body", "transport"),
        (body(type="sip"), 422, "http_not_supported", "transport.type"),
        (body(sdp=None), 400, "http_bad_body", None),
        (body(sdp="hello"), 400, "sdp_not_sdp", None),
        (body(sdp="v=0\r\n"), 422, "sdp_no_audio", None),
        (body([]), 400, "http_bad_session", "session"),
        (body({}), 400, "http_bad_session", "session.model"),
        (body({**MODEL, "store": True}), 400, "http_bad_session", "session.store"),
        (
            body({**MODEL, "delegation": {"type": "responses"}}),
            400,
            "http_bad_session",
            "session.delegation.type",
        ),
        (body({**MODEL, "client": {"data": {}}}), 400, "http_bad_session", "session.client"),
    ],
    ids=[
        "no JSON",
        "a list",
        "nothing",
        "transport is a list",
        "sip",
        "no sdp",
        "no SDP",
        "no audio",
        "session is a list",
        "no model",
        "store",
        "responses",
        "client",
    ],
)
def test_what_cannot_be_made_is_refused(
    host: Host, text: str, status: int, code: str, param: str | None
) -> None:
    refused = post(host, text)
    assert (refused.status, refused.code) == (status, code), refused.text
    assert json.loads(refused.body)["error"]["param"] == param


def test_other_bodies_are_told_what_is_taken(host: Host) -> None:
    for headers in (SDP, {"Content-Type": "multipart/form-data; boundary=xyz"}):
        refused = post(host, CHROMIUM, headers=headers)
        assert (refused.status, refused.code) == (415, "http_bad_content_type")
        assert refused.headers["Accept-Post"] == "application/json"
    packed = post(host, body(), headers={**JSON, "Content-Encoding": "gzip"})
    assert packed.status == 415
    options = host.request("OPTIONS", LIVE_SESSIONS)
    assert (options.status, options.headers["Allow"]) == (200, "GET, HEAD, OPTIONS, POST")
    assert options.headers["Accept-Post"] == "application/json"
    assert host.request("GET", LIVE_SESSIONS).status == 204
    assert post(host, body(), key="vpk_nobody").status == 401


def test_pages_of_a_configured_origin_may_ask(host: Host) -> None:
    asking = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    preflight = host.request("OPTIONS", LIVE_SESSIONS, None, asking, key=None)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    made = post(host, body(), headers={**JSON, "Origin": ORIGIN})
    assert (made.status, made.headers["Access-Control-Allow-Origin"]) == (201, ORIGIN)
    assert host.request("DELETE", made.headers["Location"]).status == 200
    assert post(host, body(), headers={**JSON, "Origin": "https://other.example"}).status == 403


# Client secrets


def test_a_secret_without_a_session_makes_either(host: Host) -> None:
    value = secret(host)
    path = make(host, key=value)
    assert host.request("POST", path + "/hangup", key=value).status == 200


def test_a_secret_with_a_session_makes_those_of_its_api_alone(host: Host) -> None:
    made = json.loads(new(host, {"session": {"type": "live", **MODEL, "client": LIMITS}}).body)
    assert made["session"]["type"] == "live"
    assert made["session"]["object"] == "live.session"
    live = made["value"]
    assert host.request("DELETE", make(host, {}, live), key=live).status == 200, "the model is in the secret"
    wants: list[dict[str, object]] = [{"client": {}}, {"store": True}]
    for own in wants:
        assert post(host, body(own), live).code == "http_bad_session", "it cannot say otherwise"
    crossed = host.request("POST", CALLS, CHROMIUM, SDP, live)
    assert (crossed.status, json.loads(crossed.body)["error"]["param"]) == (400, "session.type")
    realtime = secret(host, {"session": {"instructions": "Be brief."}})
    crossed = post(host, body(), realtime)
    assert (crossed.status, json.loads(crossed.body)["error"]["param"]) == (400, "session.type")


@pytest.mark.parametrize(
    ("session", "param"),
    [({"type": "live", "store": True}, "session.store"), ({"client": 1}, "session.client")],
    ids=str,
)
def test_a_secret_for_what_cannot_be_is_not_made(host: Host, session: object, param: str) -> None:
    refused = new(host, {"session": session})
    assert (refused.status, json.loads(refused.body)["error"]["param"]) == (400, param)


# Processes


def test_a_full_process_has_a_sibling_make_it(tmp_path: Path) -> None:
    """Each of two has room for one. That the second request always finds the free one happens once in 256
    runs, and harms none.
    """
    with Host(tmp_path, {"max_sessions": "1"}) as host:
        for _ in range(8):
            paths = [make(host), make(host)]
            owners = {path.rpartition("/")[2].partition("-")[0] for path in paths}
            assert owners == {"live_0", "live_1"}
            for path in paths:
                assert host.request("DELETE", path).status == 200
        paths = [make(host), make(host)]
        assert post(host, body()).code == "full"
        assert host.metrics()["voxpop_transceiver_sessions_made_total{api=live}"] == 18


def test_refusals_are_counted(host: Host) -> None:
    name = "voxpop_transceiver_http_refusals_total{reason=http_not_supported}"
    before = refusals(host).get(name, 0)
    post(host, body(type="sip"))
    assert refusals(host)[name] == before + 1
