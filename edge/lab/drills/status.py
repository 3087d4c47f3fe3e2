"""What the relay of a lab says of itself."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any

from core.errors import UnavailableError
from ebpf.net import netns
from edge.lab.lab import Running
from edge.lab.plan import Place

TIMEOUT_S = 10.0


def metrics(running: Running) -> dict[str, float]:
    """/metrics, by name and labels as Prometheus writes them. Raises UnavailableError."""
    lines = _page(running, "/metrics").splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def health(running: Running) -> dict[str, Any]:
    """/healthz. Raises UnavailableError."""
    found: dict[str, Any] = json.loads(_page(running, "/healthz"))
    return found


def _page(running: Running, path: str) -> str:
    at = running.plan.relay_status
    connection = http.client.HTTPConnection(at.host, at.port, timeout=TIMEOUT_S)
    with contextlib.closing(connection), netns.inside(running.plan.namespaces[Place.POP]):
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"the relay does not answer: {error}") from None
