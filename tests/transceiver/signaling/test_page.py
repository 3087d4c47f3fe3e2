"""The page that is served, and nothing else."""

from __future__ import annotations

import pytest

from tests.transceiver.host_kit import Host


def test_the_page(host: Host) -> None:
    index = host.request("GET", "/", key=None)
    assert index.status == 200
    assert index.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in index.headers["Content-Security-Policy"]
    assert index.headers["X-Content-Type-Options"] == "nosniff"
    script = host.request("GET", "/app.js", key=None)
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/../worker.py",
        "/%2e%2e/worker.py",
        "/..%2fworker.py",
        "//etc/passwd",
        "/app.js/",
        "/app.js%00",
        "/worker.py",
        "/web",
    ],
)
def test_nothing_but_the_page_is_served(host: Host, path: str) -> None:
    assert host.request("GET", path, key=None).status == 404
