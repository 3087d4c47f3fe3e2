"""What the most expensive requests cost that strangers and callers can think of, as multiples of an offer.

A transceiver of one process on one CPU, whose event loop's CPU time is read around each series; the client is
on the other. An offer is what a browser sends, answered with 201. No request may cost more than ten of them:
the loop that reads it also sends every call of the process its sound, each 20 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
from pathlib import Path

from core.addr import Endpoint
from core.service.http_server import MAX_HEADER_BYTES
from tests.bench.bench_relay import only_worker
from tests.bench.bench_signaling import OFFER
from tests.bench.result import Figure
from transceiver.demo.host import LocalHost, plan_host
from transceiver.signaling.bodies import MAX_REQUEST_BYTES
from transceiver.signaling.forms import MAX_HEADER_BYTES as MAX_PART_HEADER
from transceiver.signaling.forms import MAX_PARTS

EACH, WARM_UP = 20, 30
MOST = 10
CALLS = "/v1/realtime/calls"
PART = b'--xyz\r\nContent-Disposition: form-data; name="sdp"'


def run() -> list[Figure]:
    """Every figure; takes some ten seconds."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return []
    try:
        return asyncio.run(_measure(cpus))
    finally:
        os.sched_setaffinity(0, set(cpus))


async def _measure(cpus: list[int]) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder:
        plan = plan_host(
            processes=1, workers=1, transceiver_settings={"max_loop_lag_ms": 10_000, "max_sessions": 1000}
        )
        host = LocalHost(plan, Path(folder))
        try:
            os.sched_setaffinity(0, {cpus[1]})
            await host.start()
            os.sched_setaffinity(0, {cpus[0]})
            assert host.transceiver.child is not None
            return _figures(host.plan.http, only_worker(host.transceiver.child.popen.pid))
        finally:
            await host.stop()


def _figures(http: Endpoint, worker: int) -> list[Figure]:
    normal = _request(CALLS, "application/sdp", OFFER)
    for _ in range(WARM_UP):
        _send(http, normal)
    offer_ms = _cost_ms(http, worker, normal, b"201")
    figures = [Figure("an offer", offer_ms, "ms", note="of the event loop's CPU")]
    for name, (request, status) in _worst().items():
        cost_ms = _cost_ms(http, worker, request, status)
        note = f"{cost_ms:.2f} ms, {status.decode()}"
        figures.append(Figure(name, cost_ms / offer_ms, "offers", at_most=MOST, note=note))
    return figures


def _worst() -> dict[str, tuple[bytes, bytes]]:
    """Requests, and the status that each is answered by."""
    json_type, form_type = "application/json", "multipart/form-data; boundary=xyz"
    part = PART + b"\r\n\r\n\r\n"
    long = PART + b"\r\nX: " + b"a:" * ((MAX_PART_HEADER - len(PART) - 20) // 2) + b"\r\n\r\n\r\n"
    near = b"\r\n--xyz" + b" " * 64 + b"a"
    punycode = (
        PART
        + b"\r\nContent-Type: text/plain; charset=punycode\r\n\r\n"
        + b"a" * 30_000
        + b"-"
        + b"a" * 30_000
    )
    session = b'{"sdp": "v=0", "session": {"x": [' + b"[]," * (MAX_REQUEST_BYTES // 3 - 30) + b"0]}}"
    flat = json.dumps(
        {"sdp": OFFER.decode(), "session": {str(number): number for number in range(9_000)}}
    ).encode()
    lines = OFFER + b"a=candidate:1 1 udp 2130706431 192.0.2.55 5000 typ host\r\n" * 1_000
    formats = OFFER + b"a=rtpmap:111 opus/48000/2\r\n" * 1_900
    secret = {"session": {"instructions": " ".join(str(number * number) for number in range(6_000))}}
    fields = b"".join(
        b"X-%d: %s\r\n" % (number, b"a" * (MAX_HEADER_BYTES // 120 - 10)) for number in range(120)
    )
    chunked = _request(CALLS, "application/sdp", None) + b"Transfer-Encoding: chunked\r\n\r\n"
    return {
        "a form of 2,000 parts": (_request(CALLS, form_type, part * 2_000 + b"--xyz--"), b"400"),
        "a form of long headers": (_request(CALLS, form_type, long * MAX_PARTS + b"--xyz--"), b"400"),
        "a form of near boundaries": (_request(CALLS, form_type, near * 1_900 + b"--xyz--"), b"400"),
        "a form in punycode": (_request(CALLS, form_type, punycode + b"\r\n--xyz--"), b"400"),
        "130,000 chunks of a byte": (chunked + b"1\r\na\r\n" * 130_000 + b"0\r\n\r\n", b"400"),
        "136 KiB in chunks of 24 bytes": (
            chunked + (b"18\r\n" + b"a" * 24 + b"\r\n") * (MAX_REQUEST_BYTES // 24) + b"0\r\n\r\n",
            b"413",
        ),
        "136 KiB of JSON arrays": (_request(CALLS, json_type, session), b"422"),
        "JSON of 9,000 members": (_request(CALLS, json_type, flat), b"201"),
        "an offer of 1,000 candidates": (_request(CALLS, "application/sdp", lines), b"201"),
        "an offer of 1,900 codecs": (_request(CALLS, "application/sdp", formats), b"201"),
        "a client secret with 40 KB": (
            _request("/v1/realtime/client_secrets", json_type, json.dumps(secret).encode()),
            b"400",
        ),
        "a header of 32 KiB": (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields + b"\r\n",
            b"200",
        ),
        "a body that nobody wants": (
            _request("/nowhere", "text/plain", b"a" * 4 * MAX_REQUEST_BYTES),
            b"404",
        ),
    }


def _request(path: str, content_type: str, body: bytes | None) -> bytes:
    """Whole, or up to where its length would be said."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
    return head.encode() + (b"" if body is None else b"Content-Length: %d\r\n\r\n" % len(body) + body)


def _cost_ms(http: Endpoint, worker: int, request: bytes, status: bytes) -> float:
    """Of one, by the mean of `EACH`. Raises RuntimeError where it is answered otherwise."""
    before_ns = _cpu_ns(worker)
    for _ in range(EACH):
        answer = _send(http, request)
        if not answer.startswith(b"HTTP/1.1 " + status):
            raise RuntimeError(f"{request[:100]!r}: {answer[-300:]!r}")
    return (_cpu_ns(worker) - before_ns) / EACH / 1e6


def _send(http: Endpoint, request: bytes) -> bytes:
    with socket.create_connection(http, timeout=30) as connection:
        with contextlib.suppress(ConnectionError):  # who is refused need not be read to the end
            connection.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 16):
                answer += data
        return answer


def _cpu_ns(pid: int) -> int:
    """Of its first thread, which has the loop."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
