"""A daemon's status pages are read, and that nobody answers is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from core.addr import Endpoint
from core.errors import UnavailableError
from edge.lab.status_pages import StatusPages

METRICS = b"""\
# HELP voxpop_relay_flows Flows.
# TYPE voxpop_relay_flows gauge

voxpop_relay_flows{family="ipv4"} 3.0
voxpop_relay_pop_info{pop="a place"} 1.0
"""
PAGES = {
    "/healthz": (200, b'{"state": "ready"}'),
    "/metrics": (200, METRICS),
    "/readyz": (503, b""),
}


class Daemon(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = PAGES[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Daemon) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pages(server: HTTPServer) -> StatusPages:
    return StatusPages("the relay", Endpoint("127.0.0.1", server.server_port), nullcontext)


def test_what_it_says_is_read(server: HTTPServer) -> None:
    asked = pages(server)
    assert asked.health() == {"state": "ready"}
    assert asked.metrics() == {
        'voxpop_relay_flows{family="ipv4"}': 3,
        'voxpop_relay_pop_info{pop="a place"}': 1,
    }


def test_it_is_ready_when_it_says_so(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pages(server).is_ready() is False
    monkeypatch.setitem(PAGES, "/readyz", (200, b""))
    assert pages(server).is_ready() is True


def test_that_nobody_answers_is_told() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # so that nobody else is there, and does not listen
        asked = StatusPages("the relay", Endpoint(*silent.getsockname()), nullcontext)
        with pytest.raises(UnavailableError, match="the relay does not answer: "):
            asked.health()
        assert asked.is_ready() is False
