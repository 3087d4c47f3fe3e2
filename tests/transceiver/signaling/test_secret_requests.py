"""transceiver.signaling.secret_requests: client secrets as a server gets them and a browser uses them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.errors import ConfigError
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host, Response
from tests.transceiver.signaling.kit import JSON, ORIGIN, RESTART, SDP, TRICKLE, patch
from tests.transceiver.signaling.test_client_secrets import KEYS, NOW_S
from transceiver.realtime.event import Event
from transceiver.realtime.settings import DEFAULTS
from transceiver.signaling.refusals import Refusal
from transceiver.signaling.secret_requests import answer

SECRETS = "/v1/realtime/client_secrets"


def new(host: Host, body: object = None, key: str | None = "alice") -> Response:
    text = "" if body is None else json.dumps(body)
    return host.request("POST", SECRETS, text, JSON, key)


def secret(host: Host, body: object = None, key: str = "alice") -> str:
    response = new(host, body, key)
    assert response.status == 200, response.text
    return str(json.loads(response.body)["value"])


def test_a_secret_comes_with_its_expiry_and_its_session(host: Host) -> None:
    before = int(time.time())
    session: dict[str, object] = {"type": "realtime", "model": "parrot", "instructions": "Listen."}
    session |= {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.6}}}}
    response = new(host, {"session": session, "expires_after": {"anchor": "created_at", "seconds": 60}})
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
    made = json.loads(response.body)
    assert made["value"].startswith("ek_")
    assert before + 60 <= made["expires_at"] <= time.time() + 60
    told = made["session"]
    assert (told["object"], told["model"], told["instructions"]) == ("realtime.session", "parrot", "Listen.")
    assert told["audio"]["input"]["turn_detection"]["threshold"] == 0.6
    assert told["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500, "the API's default"
    assert (told["tool_choice"], told["audio"]["output"]["speed"]) == ("auto", 1.0)
    assert made["session"]["id"].startswith("sess_")
    assert set(made) == {"value", "expires_at", "session"}


@pytest.mark.parametrize("body", [None, {}, {"session": None, "expires_after": None}])
def test_all_of_it_may_be_left_out(host: Host, body: object) -> None:
    made = json.loads(new(host, body).body)
    assert 595 <= made["expires_at"] - time.time() <= 600
    assert made["session"]["type"] == "realtime"


def test_a_browser_calls_with_one_several_times_and_what_is_its_call_s_goes_too(host: Host) -> None:
    value = secret(host)
    paths = [host.call(CHROMIUM, value) for _ in range(3)]
    assert len(set(paths)) == 3
    assert patch(host, paths[0], TRICKLE, Authorization=f"Bearer {value}").status == 204
    restarted = patch(host, paths[0], RESTART, Authorization=f"Bearer {value}", **{"If-Match": "*"})
    assert restarted.status == 200
    assert host.request("DELETE", paths[0], key=value).status == 200
    assert host.request("POST", paths[1] + "/hangup", key=value).status == 200
    assert host.request("DELETE", paths[2], key="alice").status == 200, "the call is its API key's"


def test_another_key_s_secret_does_not_see_the_call(host: Host, call: str) -> None:
    assert host.request("DELETE", call, key=secret(host, key="bob")).status == 404


def test_every_process_takes_it(host: Host) -> None:
    """Each connection goes to either of two; that all twelve go to one happens once in 2,000 runs."""
    value = secret(host)
    assert {host.request("GET", "/v1/pops", key=value).status for _ in range(12)} == {200}


def test_the_settings_in_it_are_the_defaults_of_its_calls(host: Host) -> None:
    """A call's own come first, member by member, and are judged together with those of the secret."""
    value = secret(host, {"session": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}})
    for threshold, status in ((9, 400), (0.2, 201)):
        turns = {"type": "server_vad", "threshold": threshold}
        body = {"sdp": CHROMIUM, "session": {"turn_detection": turns}}
        response = host.request("POST", CALLS, json.dumps(body), JSON, value)
        assert response.status == status, response.text
    host.request("DELETE", response.headers["Location"])


def test_settings_that_no_call_could_have_are_refused_when_it_is_made(host: Host) -> None:
    """By the API's rules and, for the last one, by the backend of this host."""
    wrong: tuple[tuple[object, str], ...] = (
        ({"audio": {"input": {"turn_detection": {"threshold": 9}}}}, "session.audio.input.turn_detection"),
        ({"audio": {"output": {"speed": 7}}}, "session.audio.output.speed"),
        ({"tools": "all"}, "session.tools"),
        ({"max_output_tokens": 0}, "session.max_output_tokens"),
        ({"audio": {"audio": {"audio": 1}}, "output_modalities": []}, "session.output_modalities"),
        ({"turn_detection": {"type": "server_vad", "pause_ms": 20}}, "session.turn_detection.pause_ms"),
    )
    for session, param in wrong:
        response = new(host, {"session": session})
        assert (response.status, response.code) == (400, "http_bad_session"), session
        assert json.loads(response.body)["error"]["param"] == param


@pytest.mark.parametrize("kind", ["realtime", "live"])
def test_the_backend_is_asked_of_either_api_in_words_of_its_own(kind: str) -> None:
    def judge(settings: Event) -> None:
        if DEFAULTS.updated(settings).model == "large":
            raise ConfigError(["session.model must be one that is served here"])

    for session in ({"type": kind, "model": "small"}, {"type": kind}):
        assert answer({"session": session}, KEYS, "web-shop", NOW_S, judge)["value"]
    with pytest.raises(Refusal) as caught:
        answer({"session": {"type": kind, "model": "large"}}, KEYS, "web-shop", NOW_S, judge)
    assert caught.value.param == "session.model"


@pytest.mark.parametrize("depth", [17, 63, 200, 500, 900, 960, 990, 1_500])
@pytest.mark.parametrize("member", ["audio", "x"])
def test_depth_is_a_fault_of_the_session_s_and_never_ours(host: Host, member: str, depth: int) -> None:
    session = f'{{"{member}":' * depth + "1" + "}" * depth
    secret_body, call_body = (
        f'{{"session": {session}}}',
        f'{{"sdp": {json.dumps(CHROMIUM)}, "session": {session}}}',
    )
    asked = host.request("POST", SECRETS, secret_body, JSON)
    assert (asked.status, asked.code) == (400, "http_bad_session")
    called = host.request("POST", CALLS, call_body, JSON)
    assert (called.status, called.code) == (400, "http_bad_session")


def test_permissions_are_for_who_has_an_api_key(host: Host) -> None:
    client: Mapping[str, object] = {"client": {"data_channel": {"allowed_client_events": []}}}
    value = secret(host, {"session": client})
    for wanted in (client, {"client": None}):
        body = json.dumps({"sdp": CHROMIUM, "session": wanted})
        refused = host.request("POST", CALLS, body, JSON, value)
        assert (refused.status, refused.code) == (400, "http_bad_session")
        taken = host.request("POST", CALLS, body, JSON)
        assert taken.status == 201
        host.request("DELETE", taken.headers["Location"])
    host.request("DELETE", host.call(CHROMIUM, value))


def test_a_secret_makes_no_other(host: Host) -> None:
    response = new(host, key=secret(host))
    assert (response.status, response.code) == (403, "http_bad_client_secret")


@pytest.mark.parametrize("key", [None, "vpk_nobody", "ek_nobody"])
def test_who_has_no_api_key_gets_none(host: Host, key: str | None) -> None:
    response = new(host, key=key)
    assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"expires_after": 60}, "expires_after", "http_bad_body"),
        ({"expires_after": {"anchor": "now"}}, "expires_after.anchor", "http_bad_body"),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds", "http_bad_body"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds", "http_bad_body"),
        ({"expires_after": {"seconds": True}}, "expires_after.seconds", "http_bad_body"),
        ({"expires_after": {"seconds": "60"}}, "expires_after.seconds", "http_bad_body"),
        ({"expires_after": {"seconds": 60.5}}, "expires_after.seconds", "http_bad_body"),
        ({"session": []}, "session", "http_bad_session"),
        (
            {"session": {"client": {"data_channel": {"allowed": []}}}},
            "session.client.data_channel",
            "http_bad_session",
        ),
        ({"session": {"instructions": "x" * 70_000}}, "session", "http_bad_session"),
    ],
    ids=["number", "anchor", "short", "long", "bool", "text", "half", "array", "permissions", "large"],
)
def test_what_is_wrong_is_named(host: Host, body: object, param: str, code: str) -> None:
    response = new(host, body)
    assert (response.status, response.code) == (400, code)
    error = json.loads(response.body)["error"]
    assert error["param"] == param
    assert error["message"].startswith(param)


@pytest.mark.parametrize("body", ["{", "[]", '{"session": {"a": NaN}}', "[" * 100_000])
def test_a_body_that_is_no_object_is_refused(host: Host, body: str) -> None:
    assert host.request("POST", SECRETS, body, JSON).status == 400


def test_another_type_of_body_is_refused(host: Host) -> None:
    response = host.request("POST", SECRETS, "a=b", {"Content-Type": "application/x-www-form-urlencoded"})
    assert (response.status, response.headers["Accept-Post"]) == (415, "application/json")


def test_it_is_for_pages_of_the_configured_origins(host: Host) -> None:
    value = secret(host)
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    asked = host.request("OPTIONS", CALLS, headers={"Origin": ORIGIN, **preflight}, key=None)
    assert asked.headers["Access-Control-Allow-Origin"] == ORIGIN
    taken = host.request("POST", CALLS, CHROMIUM, {**SDP, "Origin": ORIGIN}, value)
    assert taken.status == 201
    host.request("DELETE", taken.headers["Location"])
    foreign = host.request("POST", CALLS, CHROMIUM, {**SDP, "Origin": "https://other.example"}, value)
    assert (foreign.status, foreign.code) == (403, "http_foreign_origin")


def test_the_path_says_what_it_takes(host: Host) -> None:
    response = host.request("OPTIONS", SECRETS + "/", key=None)
    assert (response.status, response.headers["Accept-Post"]) == (200, "application/json")
    assert response.headers["Allow"] == "OPTIONS, POST"
    assert host.request("GET", SECRETS).status == 405


def test_a_deleted_api_key_takes_its_secrets_along_and_calls_stay(tmp_path: Path) -> None:
    with Host(tmp_path, processes=1) as host:
        value, other = secret(host), secret(host, key="bob")
        call = host.call(CHROMIUM, value)
        keys = tmp_path / "api-keys.toml"
        keys.write_text("[key.bob]" + keys.read_text().partition("[key.bob]")[2])
        host.process.send_signal(signal.SIGHUP)
        host.wait_for_log("reloaded")
        refused = host.request("POST", CALLS, CHROMIUM, SDP, value)
        assert (refused.status, refused.code) == (401, "http_bad_client_secret")
        assert host.request("DELETE", call, key=value).status == 401
        assert host.request("DELETE", call, key=other).status == 404
        host.call(CHROMIUM, other)
        host.stop()
        assert value not in "".join(host.log)
        assert value[3:30] not in "".join(host.log)


def test_an_open_host_makes_secrets_for_clients_that_insist_on_one(tmp_path: Path) -> None:
    settings = {"open": "true", "api_keys_file": "", "page": "false"}
    with Host(tmp_path, settings, processes=1) as host:
        deep: object = {"session": {"client": {"data_channel": {"allowed_client_events": []}}}}
        host.call(CHROMIUM, secret(host, deep))
        host.call(CHROMIUM, secret(host))
        host.call(CHROMIUM, "ek_of_another_service")


def test_voxpop_call_takes_one_too(tmp_path: Path) -> None:
    with Host(tmp_path, processes=1, is_reachable=True, has_far=False) as host:
        file = tmp_path / "client.key"
        file.write_text(secret(host, {"session": {"instructions": os.urandom(2_000).hex()}}) + "\n")
        assert len(file.read_text()) > 2_048
        done = host.verb("call", f"http://127.0.0.1:{host.http}", "--json", "--api-key-file", file)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["answered"]
