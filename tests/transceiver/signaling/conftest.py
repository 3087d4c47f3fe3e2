"""A host for all that ask it over HTTP, and a call on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transceiver.descriptions import (
    CHROMIUM,
)
from tests.transceiver.host_kit import Host
from tests.transceiver.signaling.kit import (
    ICE_SERVERS,
    ORIGIN,
)

UNBOUNDED = ("requests_per_s", "pending_calls", "secret_requests_per_s", "secret_pending_calls")
"""Quotas that tests, which ask as fast as they can, would meet; they have their own in test_quotas."""


@pytest.fixture(scope="package")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    quotas = "".join(f'{name} = "unlimited"\n' for name in UNBOUNDED)
    settings = {"max_sessions": "40", "cors_origins": f'["{ORIGIN}"]', "ice_servers": f"{ICE_SERVERS}"}
    with Host(tmp_path_factory.mktemp("host"), settings, tables=f"[quotas]\n{quotas}") as running:
        yield running
    assert running.process.returncode == 130
    noise = [line for line in running.log if " INFO " not in line]
    assert noise == [], "refusals are counted, not logged"


@pytest.fixture
def call(host: Host) -> Iterator[str]:
    path = host.call(CHROMIUM)
    yield path
    host.request("DELETE", path)
