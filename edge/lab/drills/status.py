"""What the relay of a lab says of itself."""

from __future__ import annotations

from functools import partial
from typing import Any

from ebpf.net import netns
from edge.lab.lab import Running
from edge.lab.plan import Place
from edge.lab.status_pages import StatusPages

RESTORED = 'voxpop_relay_recalls_total{outcome="restored"}'
"""The metric of flows that came back from the store."""


def metrics(running: Running) -> dict[str, float]:
    """/metrics, by name and labels as Prometheus writes them. Raises UnavailableError."""
    return _pages(running).metrics()


def health(running: Running) -> dict[str, Any]:
    """/healthz. Raises UnavailableError."""
    return _pages(running).health()


def _pages(running: Running) -> StatusPages:
    inside = partial(netns.inside, running.plan.namespaces[Place.POP])
    return StatusPages("the relay", running.plan.relay_status, inside)
