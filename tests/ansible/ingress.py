"""HAProxy, as rendered, before two regions: a real transceiver, and a host that says what it got."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp

from tests.ansible.scenes import Ports, run, until_open
from tests.certificates import self_signed
from tests.processes import PATIENCE_S
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host

SECRET = "ek_this_is_nobody's_business"
FORGED = {
    "Voxpop-Pop": "far",
    "Voxpop-Steering": "mine",
    "X-Voxpop-Caller": "bob",
    "X-Voxpop-Forwarded": "voucher",
    "X-Forwarded-For": "203.0.113.66",
    "Forwarded": "for=203.0.113.66",
    "CF-Connecting-IP": "203.0.113.66",
    "CF-IPLatitude": "35.7",
    "CF-IPLongitude": "139.7",
}
CLIENT = "127.0.0.9"
"""Whom the proxy sees: not its own address, nor a host's."""


class _Answers(BaseHTTPRequestHandler):
    """What the proxy asks: it reads as much of an answer as it likes, and resets the connection then."""

    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().finish()

    def answer(self, status: int, told: object) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nowhere."""


class _Recorder(_Answers):
    """A host of another region, which answers with what it was asked."""

    def do_GET(self) -> None:
        self.answer(200, [[name.lower(), value] for name, value in self.headers.items()])


class _Ready(_Answers):
    """The relay of this host."""

    def do_GET(self) -> None:
        self.answer(200, {"state": "ready"})


class _Draining(_Answers):
    """The same, in a drain: it lives, and takes nothing."""

    def do_GET(self) -> None:
        self.answer(503 if self.path == "/readyz" else 200, {"state": "draining"})


@contextlib.contextmanager
def _serving(port: int, answers: type[_Answers]) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class _At(Host):
    """A transceiver at a port that is known before."""

    at: int = 0

    def write_config(self, **changes: str) -> None:
        self.http = self.at
        super().write_config(**changes)


@dataclass
class Client:
    """Of the proxy, from an address of its own."""

    port: int
    context: ssl.SSLContext

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by their names in small letters, body."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, source_address=(CLIENT, 0), context=self.context
        )
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()

    def until(self, path: str, status: int) -> None:
        """Ask until that is the answer."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.ask("GET", path)[0]) != status:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


def play(rendered: Path, folder: Path, ports: Ports) -> None:
    """A call is made, watched and ended through the proxy, which alone says who is where, and logs no key."""
    folder.mkdir()
    certificate, key = self_signed(folder)
    (folder / "voxpop.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    context = ssl.create_default_context(cafile=str(certificate))
    settings = {
        "trusted_proxies": '["127.0.0.1/32"]',
        "trusted_headers": '["Voxpop-Pop", "X-Forwarded-For"]',
    }
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(0.5)
        _configure(rendered, folder, heard.getsockname()[1])
        stack.enter_context(_serving(ports.west, _Recorder))
        (folder / "east").mkdir()
        east = _At(folder / "east", settings, processes=1, at=ports.east)
        with east:
            proxy = stack.enter_context(run("haproxy", "-W", "-f", "haproxy.cfg", cwd=folder))
            until_open(ports.https, proxy, folder / "log")
            client = Client(ports.https, context)
            client.until("/v1/pops", 401)
            path = _calls(client, east, folder)
            drained = east.verb("drain", "transceiver", "--config", east.config)
            assert drained.returncode == 0, drained.stderr
            client.until("/v1/pops", 200)  # which the recorder of the other region says to every GET
            asyncio.run(_sideband(client, east, path))
            assert client.ask("DELETE", path, Authorization=f"Bearer {east.keys['alice']}")[0] == 200
        _headers(client)
        _told(ports.management)
        _drained(ports)
        _logged(heard, east)


def _configure(rendered: Path, folder: Path, log_port: int) -> None:
    """With paths of this machine."""
    text = (rendered / "haproxy.cfg").read_text()
    for there, here in (
        ("/etc/haproxy/", f"{folder}/"),
        ("/run/haproxy/", f"{folder}/"),
        ("/dev/log", f"127.0.0.1:{log_port}"),
    ):
        assert there in text
        text = text.replace(there, here)
    if os.geteuid() != 0:
        dropped = ("    chroot ", "    user ", "    group ")
        text = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(dropped))
    (folder / "haproxy.cfg").write_text(text)


def _calls(client: Client, east: Host, folder: Path) -> str:
    """Made over HTTP/2, with forged headers; the path of a call."""
    key = {"Authorization": f"Bearer {east.keys['alice']}", "Content-Type": "application/sdp"}
    status, headers, _ = client.ask("POST", f"{CALLS}?model={SECRET}", CHROMIUM.encode(), **key, **FORGED)
    assert status == 201
    assert headers["voxpop-steering"].startswith('"near";source=pop_header'), "the PoP that it has reached"
    # Its body is not waited for.
    assert client.ask("POST", CALLS, None, **key, **{"Content-Length": "200000"})[0] == 413
    (folder / "offer").write_text(CHROMIUM)
    command = ["curl", "--silent", "--http2", "--cacert", str(folder / "certificate.pem")]
    command += [
        "--data-binary",
        f"@{folder}/offer",
        "--write-out",
        "%{http_version} %{http_code}",
        "--output",
    ]
    command += ["/dev/null", *(word for name, value in key.items() for word in ("-H", f"{name}: {value}"))]
    url = f"https://127.0.0.1:{client.port}{CALLS}"
    told = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    assert told == "2 201", told
    return headers["location"].partition("?")[0]


async def _sideband(client: Client, east: Host, path: str) -> None:
    """By a browser's way, with the key among subprotocols."""
    url = f"https://127.0.0.1:{client.port}/v1/realtime?call_id={path.rpartition('/')[2]}"
    protocols = ("realtime", f"openai-insecure-api-key.{east.keys['alice']}")
    async with (
        asyncio.timeout(PATIENCE_S),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=protocols, ssl=client.context) as watching,
    ):
        told: Any = json.loads(await watching.receive_str())
        assert told["type"] == "session.created"


def _headers(client: Client) -> None:
    """What a host gets of a client that has made everything up."""
    _, _, body = client.ask("GET", "/v1/pops", None, **FORGED)
    told = [(name, value) for name, value in json.loads(body) if name in {each.lower() for each in FORGED}]
    assert sorted(told) == [("voxpop-pop", "near"), ("x-forwarded-for", CLIENT)]


def _told(port: int) -> None:
    """On the management address."""
    status, body = _ask(port, "/readyz")
    assert (status, json.loads(body)) == (200, {"state": "ready"})
    assert b'haproxy_server_status{proxy="new_east",server="east1",state="UP"} 0' in _ask(port, "/metrics")[1]


def _drained(ports: Ports) -> None:
    """The checker hears of a drain while the relay drains, and of nothing when there is no relay."""
    with _serving(ports.relay, _Ready):
        _until(lambda: _is_up(ports, "relay_answers") and _is_up(ports, "relay_takes"))
        assert _readiness(ports) == (200, "ready")
    _until(lambda: not _is_up(ports, "relay_takes"), lambda: _readiness(ports) == (200, "ready"))
    with _serving(ports.relay, _Draining):
        _until(lambda: _readiness(ports) == (503, "draining"))
    _until(lambda: _readiness(ports) == (200, "ready"))


def _until(is_so: Callable[[], bool], is_always: Callable[[], bool] = lambda: True) -> None:
    """Wait for the one; meanwhile the other has to hold."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert is_always()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert is_always()


def _is_up(ports: Ports, backend: str) -> bool:
    told = _ask(ports.management, "/metrics")[1].decode()
    return f'haproxy_server_status{{proxy="{backend}",server="relay",state="UP"}} 1' in told


def _readiness(ports: Ports) -> tuple[int, str]:
    status, body = _ask(ports.management, "/readyz")
    return status, json.loads(body)["state"]


def _ask(port: int, path: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _logged(heard: socket.socket, east: Host) -> None:
    lines = []
    with contextlib.suppress(TimeoutError):
        while True:
            lines.append(heard.recv(65_536).decode())
    log = "".join(lines)
    assert f"POST {CALLS} 201" in log
    assert "GET /v1/realtime 101" in log
    for secret in (SECRET, east.keys["alice"], "openai-insecure", "Bearer", CLIENT, "model="):
        assert secret not in log, secret
