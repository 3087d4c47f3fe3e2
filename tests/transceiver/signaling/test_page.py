"""The page that is served, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.transceiver.host_kit import Host
from transceiver.signaling.page import FOLDER, Page


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


def answers(folder: Path, *paths: str) -> list[tuple[int, str, bytes]]:
    """Status, type and body of each path of a page."""

    async def run() -> list[tuple[int, str, bytes]]:
        app = web.Application()
        Page(folder).register(app.router)
        async with TestClient(TestServer(app)) as client:
            found = []
            for path in paths:
                async with client.get(path) as answer:
                    found.append((answer.status, answer.headers["Content-Type"], await answer.read()))
            return found

    return asyncio.run(run())


def test_files_are_as_they_were_when_they_were_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("index.html", "sub/index.html", "a.js", "a.wasm", "secret.py", "noend"):
        (tmp_path / name).write_bytes(name.encode())
    paths = ("/", "/index.html", "/sub/", "/a.js", "/a.wasm", "/secret.py", "/noend", "/sub")
    found = answers(tmp_path, *paths)
    assert [status for status, _, _ in found] == [200] * 5 + [404] * 3
    assert [body for _, _, body in found[:3]] == [b"index.html", b"index.html", b"sub/index.html"]
    assert [kind for _, kind, _ in found[3:5]] == ["text/javascript; charset=utf-8", "application/wasm"]


def test_all_that_comes_along_is_served() -> None:
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    paths = [f"/{file.relative_to(FOLDER).as_posix()}" for file in files]
    assert [(status, body) for status, _, body in answers(FOLDER, *paths)] == [
        (200, file.read_bytes()) for file in files
    ]
