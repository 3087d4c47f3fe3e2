"""The operator's end: what goes wrong is a sentence that names the fix."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from core.errors import UnavailableError
from core.service.admin.client import AdminClient, GoneError
from tests.core.service.admin.kit import answering_once


def test_nobody_there(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with pytest.raises(GoneError, match=rf"^nobody listens at {path}: no relay runs with this configuration"):
        AdminClient("relay", path).status()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(GoneError, match="nobody listens"):
        AdminClient("relay", path).status()


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (b"", GoneError, "nobody listens"),
        (b"no http\r\n", GoneError, "nobody listens"),
        (b"HTTP/1.1 409 Conflict\r\nContent-Length: 8\r\n\r\ntoo late", UnavailableError, "^too late$"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", UnavailableError, "no answer of a relay"),
    ],
    ids=["silence", "no http", "conflict", "no json"],
)
def test_strange_answers(tmp_path: Path, answer: bytes, error: type[Exception], says: str) -> None:
    path = tmp_path / "admin.sock"
    with answering_once(path, answer), pytest.raises(error, match=says):
        AdminClient("relay", path).drain(5.0)
