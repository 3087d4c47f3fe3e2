"""Requests to a real host, and what they leave in its counters."""

from __future__ import annotations

import socket
from pathlib import Path

from core.addr import Endpoint
from core.keyring import Keyring
from tests.transceiver.host_kit import FRAGMENT, Host, Response
from tests.transceiver.net import CLUSTER
from transceiver.observer import NullObserver
from transceiver.signaling.calls import Others
from transceiver.signaling.hosts import OtherHosts, Place
from transceiver.signaling.siblings import Siblings

SDP = {"Content-Type": "application/sdp"}
ORIGIN = "https://app.example"
ICE_SERVERS = ["stun:stun.example.net:3478", "turn:turn.example.net?transport=udp"]
TRICKLE = (
    "a=ice-ufrag:QEPM\r\na=ice-pwd:uEE0igt6Ac6aTLrDV0M7Uqtt\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 2130706431 192.0.2.55 5000 typ host\r\na=end-of-candidates\r\n"
)
RESTART = (
    "a=ice-ufrag:NEWU\r\na=ice-pwd:aNewPasswordOfTheClient0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
)
AS_SDP, AS_JSON = "\r\nContent-Type: application/sdp", "\r\nContent-Type: application/json"
FORM = {"Content-Type": "multipart/form-data; boundary=xyz"}
JSON = {"Content-Type": "application/json"}


def form(*fields: tuple[str, str, str], boundary: str = "xyz") -> str:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'
        for name, value, extra in fields
    ]
    return "".join(parts) + f"--{boundary}--\r\n"


def patch(host: Host, path: str, body: str | bytes | None, **headers: str) -> Response:
    return host.request("PATCH", path, body, {"Content-Type": FRAGMENT, **headers})


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


def others(folder: Path) -> Others:
    """Of a process without siblings on host 0 of a cluster."""
    place = Place(CLUSTER, 0, Endpoint("127.0.0.1", 8080))
    return Others(Siblings(folder, 0, 1), OtherHosts(place, Keyring({1: bytes(32)}, 1), NullObserver()))
