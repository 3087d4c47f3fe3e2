"""What callers are told about PoPs and where they are led, asked of a real relay."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from core import stun, token
from core.addr import Endpoint
from core.config import PopSettings
from core.keyring import Keyring
from core.service.files import load_masters
from core.stun import Attribute, MessageType
from tests.paths import ROOT
from tests.ports import free_tcp_port
from tests.processes import end
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, FRAGMENT, Host, Response
from transceiver.sdp import parse_answer_untrusted
from transceiver.signaling.pops import (
    REFUSED,
    UNANSWERED,
    WIDEST,
    PopDirectory,
    PopReport,
    Standing,
    decode_reports,
    other_pop_untrusted,
    read_status_untrusted,
)

SDP = {"Content-Type": "application/sdp"}
PATIENCE_S = 30.0
ROUNDS = 4
"""Of questions to a PoP. With the last one asked, what came of those before has been said."""
NOW_S = 1_900_000_000.4
ASKED = PopSettings("asked", (Endpoint("192.0.2.1", 3478),), Endpoint("192.0.2.1", 9100))
OTHER = PopSettings("other", (Endpoint("192.0.2.2", 3478),), Endpoint("192.0.2.2", 9100))
NEVER_ASKED = PopSettings("never-asked", (Endpoint("192.0.2.3", 3478),))


@dataclass
class Relay:
    status: str
    vip: tuple[str, int]
    keys: Path
    process: subprocess.Popen[str]

    def make_flow(self) -> None:
        """A client of another transceiver's, so that the relay has something to carry."""
        keyring = Keyring(*load_masters(self.keys))
        expiry = token.expiry_after(int(time.time()) // 60, 60)
        ufrag = token.mint(token.Token(keyring.mint_with, 1, 0, 20000, expiry, 7), keyring)
        username = (Attribute.USERNAME, f"{ufrag}:them".encode())
        password = keyring.ice_password(keyring.mint_with, ufrag.encode())
        check = stun.encode(MessageType.BINDING_REQUEST, os.urandom(12), [username], password)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as transceiver,
        ):
            transceiver.bind(("127.0.0.1", 20000))
            transceiver.settimeout(30.0)
            client.sendto(check, self.vip)
            transceiver.recv(2048)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay with keys of its own."""
    status, vip = (f"127.0.0.1:{free_tcp_port()}" for _ in range(2))
    config, keys = tmp_path / "relay.toml", tmp_path / "relay-keys.toml"
    command = [sys.executable, "-m", "voxpop"]
    subprocess.run([*command, "keys", "new", keys], cwd=ROOT, check=True)
    config.write_text(
        '[token]\nkeys_file = "relay-keys.toml"\n'
        '[[cluster]]\nid = 1\nipv4 = "127.0.0.1/32"\nports = [20000, 20001]\n'
        f'[relay]\npop = "near"\nvips = ["{vip}"]\nmetrics = "{status}"\n'
        'workers = 1\nforwarder = "userspace"\n'
    )
    command += ["relay", "--config", str(config)]
    host, _, port = vip.partition(":")
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("is ready" in line for line in process.stderr)
            yield Relay(status, (host, int(port)), keys, process)
        finally:
            process.kill()


def near(host: Host) -> dict[str, Any]:
    first: dict[str, Any] = json.loads(host.request("GET", "/v1/pops").body)[0]
    return first


def offer(host: Host) -> Response:
    return host.request("POST", CALLS, CHROMIUM, SDP)


def test_forwarder_and_state_are_the_relays_own_words(relay: Relay, tmp_path: Path) -> None:
    with Host(tmp_path, processes=1, status=relay.status) as host:
        assert near(host)["forwarder"] == "userspace"
        assert near(host)["state"] == "ready"
        assert host.metrics()["voxpop_transceiver_pop_load_ratio{pop=near}"] == 0.0
        end(relay.process)
        host.wait_until(lambda: near(host)["state"] == "silent", "the relay is gone")


def test_while_the_only_pop_drains_calls_are_refused_and_readyz_says_so(relay: Relay, tmp_path: Path) -> None:
    with Host(tmp_path, status=relay.status, has_far=False) as host:
        call = host.call(CHROMIUM)
        etag = offer(host).headers["ETag"]
        assert host.request("GET", "/readyz", key=None).status == 200
        assert host.metrics()["voxpop_transceiver_pop_up{pop=near}"] == 1
        relay.make_flow()
        relay.process.send_signal(signal.SIGTERM)
        host.wait_until(lambda: near(host)["state"] == "draining", "the relay drains")

        def is_refused_everywhere() -> bool:
            return all(offer(host).status == 503 for _ in range(8))

        host.wait_until(is_refused_everywhere, "both processes know")
        refused = offer(host)
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "no_pop", "3")
        ready = host.request("GET", "/readyz", key=None)
        assert (ready.status, json.loads(ready.body)) == (503, {"state": "no_pop"})
        restart = (
            "a=ice-ufrag:NEWU\r\na=ice-pwd:aNewPasswordOfTheClient0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
        )
        headers = {"Content-Type": FRAGMENT, "If-Match": "*"}
        assert host.request("PATCH", call, restart + "a=mid:0\r\n", headers).code == "no_pop"
        assert etag, "a restart that is refused leaves the call as it was"
        assert host.request("DELETE", call).status == 200, "calls that exist go on"
        assert host.metrics()["voxpop_transceiver_pop_up{pop=near}"] == 0
        assert "PoP near is down (draining, forwarder userspace)" in host.wait_for_log("PoP near is")
        assert sum("PoP near is" in line for line in host.log) == 1, "once for the host"


def test_a_pop_that_drains_is_left_out_while_another_is_up(relay: Relay, tmp_path: Path) -> None:
    with Host(tmp_path, processes=1, status=relay.status) as host:
        before = [str(c.host) for c in parse_answer_untrusted(offer(host).text).candidates]
        assert before == ["192.0.2.7", "198.51.100.7"]
        end(relay.process)
        host.wait_until(lambda: near(host)["state"] == "silent", "the relay is gone")
        after = [str(c.host) for c in parse_answer_untrusted(offer(host).text).candidates]
        assert after == ["198.51.100.7"]
        assert host.request("GET", "/readyz", key=None).status == 200


@contextmanager
def with_clock(ahead_s: int) -> Iterator[tuple[str, Queue[None]]]:
    """The status of a relay whose host has another time, and a word for each time that it was asked."""
    asked: Queue[None] = Queue()

    class Status(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", formatdate(time.time() + ahead_s, usegmt=True))
            self.end_headers()
            self.wfile.write(b'{"state": "ready", "forwarder": "xdp"}')
            asked.put(None)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Status) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_clocks_that_are_hours_off_are_said_once(tmp_path: Path) -> None:
    with with_clock(7200) as (near, asked), with_clock(-10_800) as (behind, asked_too):
        tables = f'[[pop]]\nid = "behind"\nvips = ["192.0.2.9:3478"]\nstatus = "{behind}"\n'
        with Host(tmp_path, processes=2, status=near, tables=tables) as host:
            name = "voxpop_transceiver_pop_clock_ahead_seconds"
            metrics = host.metrics()
            assert metrics[f"{name}{{pop=near}}"] == pytest.approx(7200, abs=2.0)
            assert metrics[f"{name}{{pop=behind}}"] == pytest.approx(-10_800, abs=2.0)
            for _ in range(ROUNDS):
                asked.get(timeout=PATIENCE_S)
                asked_too.get(timeout=PATIENCE_S)
            host.stop()
    for pop, words in (("near", "7200 s ahead of"), ("behind", "s behind")):
        said = [line for line in host.log if f"the clock of PoP {pop} is" in line]
        assert len(said) == 1, "once for the host"
        assert words in said[0]
        assert " ERROR " in said[0]


@pytest.mark.parametrize(
    ("status", "body", "report"),
    [
        (200, b'{"state": "ready", "forwarder": "xdp"}', PopReport("xdp", "ready", Standing.UP)),
        (503, b'{"state": "draining", "forwarder": "xdp"}', PopReport("xdp", "draining", Standing.DOWN)),
        (503, b'{"state": "starting"}', PopReport("unknown", "starting", Standing.DOUBTFUL)),
        (503, b"", PopReport("unknown", "unknown", Standing.DOWN)),
        (404, b"<html>", PopReport()),
        (302, b"", PopReport()),
        (200, b"[" * 10_000, PopReport()),
        (200, b'{"state": "' + b"x" * 17 + b'", "forwarder": 7}', PopReport()),
        (200, b'{"state": "<b>", "forwarder": ["xdp"]}', PopReport()),
        (200, b"\xff\xfe", PopReport()),
        (200, b'{"flows": 1024, "capacity": 4096}', PopReport(load=0.25)),
        (200, b'{"flows": 0, "capacity": 3}', PopReport(load=0.0)),
        (200, b'{"flows": 1, "capacity": 3}', PopReport(load=0.333)),
        (200, b'{"flows": 4100, "capacity": 4096}', PopReport(load=1.0)),
        (200, b'{"flows": 1e9, "capacity": 4096}', PopReport()),
        (200, b'{"flows": 8192, "capacity": 4096}', PopReport()),
        (200, b'{"flows": -1, "capacity": 4096}', PopReport()),
        (200, b'{"flows": true, "capacity": true}', PopReport()),
        (200, b'{"flows": NaN, "capacity": 0}', PopReport()),
        (200, b'{"flows": 0, "capacity": 0}', PopReport()),
        (200, b'{"flows": "7", "capacity": [1]}', PopReport()),
    ],
)
def test_what_a_status_says(status: int, body: bytes, report: PopReport) -> None:
    assert read_status_untrusted(status, body) == report
    assert decode_reports({"a": report.encode()}) == {"a": report}
    assert len(json.dumps(report.encode())) <= len(json.dumps(WIDEST.encode()))


DRAINING = PopReport("xdp", "draining", Standing.DOWN)


@pytest.mark.parametrize(
    ("reports", "named"),
    [
        ({}, ["asked", "other", "never-asked"]),
        ({"asked": REFUSED}, ["other", "never-asked"]),
        ({"asked": UNANSWERED, "other": REFUSED}, ["never-asked"]),
        ({"never-asked": REFUSED}, ["asked", "other"]),  # heard of, by way of the store
        ({"asked": REFUSED, "other": DRAINING}, ["never-asked"]),
    ],
)
def test_which_pops_are_named(reports: dict[str, PopReport], named: list[str]) -> None:
    pops = (ASKED, OTHER, NEVER_ASKED)
    assert [pop.id for pop in PopDirectory(pops, reports).usable(pops)] == named


def test_one_in_doubt_is_better_than_none_but_one_that_is_down_is_not() -> None:
    """When no PoP can be asked, it may well be the asking that fails."""
    directory = PopDirectory((ASKED, OTHER), {"asked": UNANSWERED, "other": REFUSED})
    assert directory.usable((ASKED, OTHER)) == (ASKED, OTHER)
    directory.learn({"asked": UNANSWERED, "other": DRAINING})
    assert directory.usable((ASKED, OTHER)) == (ASKED,)
    directory.learn({"asked": DRAINING, "other": DRAINING})
    assert directory.usable((ASKED, OTHER)) == ()


@pytest.mark.parametrize(
    ("body", "other"),
    [
        (b'{"pop": "asked"}', None),
        (b'{"pop": "far"}', "far"),
        (b"{}", None),
        (b'{"pop": 3}', None),
        (b'{"pop": "\\u001b[31m"}', None),
        (b"\xff", None),
        (b"[" * 10_000, None),
    ],
)
def test_whose_status_it_is(body: bytes, other: str | None) -> None:
    assert other_pop_untrusted(body, "asked") == other
