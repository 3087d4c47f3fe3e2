"""Ports for servers of tests, which want to know them before they listen."""

from __future__ import annotations

import os
import random
import socket
from collections import deque

FIRST, PER_WORKER = 10_000, 2_000
"""Below those that the kernel gives away itself; those of this many workers side by side do not meet."""
WORKERS = 10
ATTEMPTS = 200
_given: deque[int] = deque(maxlen=PER_WORKER // 4)
"""The last ones: who asks for several, and listens on none yet, gets different ones."""


def free_port(host: str, kind: socket.SocketKind, count: int = 1) -> int:
    """The first of `count` ports in a row that nobody uses, and that no other worker of the run is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    start = FIRST + worker * PER_WORKER
    for _ in range(ATTEMPTS):
        first = random.randrange(start, start + PER_WORKER - count)
        row = range(first, first + count)
        if not any(port in _given for port in row) and all(_is_free(host, kind, port) for port in row):
            _given.extend(row)
            return first
    raise RuntimeError(f"no {count} ports in a row are free on {host}")


def free_tcp_port(host: str = "127.0.0.1") -> int:
    """One to listen on."""
    return free_port(host, socket.SOCK_STREAM)


def _is_free(host: str, kind: socket.SocketKind, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
