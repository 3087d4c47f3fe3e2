"""Relays and peers that end with the test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.host.kit import OpenPeer, StartRelay
from tests.edge.kit import (
    Peer,
    RelayProcess,
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartRelay]:
    """Starts relays that end with the test, as they should: at once, and without a traceback."""
    started: list[RelayProcess] = []
    with contextlib.ExitStack() as running:

        def start_relay(**settings: object) -> RelayProcess:
            relay = RelayProcess(tmp_path, **settings)  # type: ignore[arg-type]
            started.append(running.enter_context(relay))
            return relay

        yield start_relay
    for relay in started:
        assert "Traceback" not in relay.log_text()


@pytest.fixture
def peer() -> Iterator[OpenPeer]:
    """Opens sockets that are closed with the test."""
    opened: list[Peer] = []

    def open_peer(host: str = "127.0.0.1", port: int = 0) -> Peer:
        opened.append(Peer(host, port))
        return opened[-1]

    yield open_peer
    for one in opened:
        one.close()
