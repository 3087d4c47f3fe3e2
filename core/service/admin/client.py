"""The operator's end of an admin socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from core.errors import UnavailableError
from core.service.admin.path import DRAIN_PATH, FOR_S, MODE, address

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 65_536


class GoneError(UnavailableError):
    """Nobody listens there."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        with address(self._path) as name:
            self.sock.connect(name)


class AdminClient:
    """Asks one daemon. Every method raises UnavailableError; those of drains return its `drain_status`."""

    def __init__(self, daemon: str, path: Path) -> None:
        self._daemon = daemon
        self._path = path

    def drain(self, for_s: float | None) -> dict[str, Any]:
        """Begin a drain, or give the one that is on that much time from now."""
        return self._ask("PUT", json.dumps({FOR_S: for_s}))

    def undrain(self) -> dict[str, Any]:
        """Take a drain back."""
        return self._ask("DELETE")

    def status(self) -> dict[str, Any]:
        """How it is."""
        return self._ask("GET")

    def switch(self, path: str, mode: str | None) -> dict[str, Any]:
        """How what is switched at a path is; None: leave it so."""
        return (
            self._ask("GET", None, path) if mode is None else self._ask("PUT", json.dumps({MODE: mode}), path)
        )

    def _ask(self, method: str, body: str | None = None, path: str = DRAIN_PATH) -> dict[str, Any]:
        with contextlib.closing(_Connection(self._path)) as connection:
            try:
                connection.request(method, path, body)
                answer = connection.getresponse()
                text = answer.read(MAX_ANSWER_BYTES).decode(errors="replace")
            except (FileNotFoundError, ConnectionError, http.client.HTTPException):
                raise GoneError(
                    f"nobody listens at {self._path}: no {self._daemon} runs with this configuration, or it "
                    f"has no admin socket; its log says why ({self._daemon}.admin_socket)"
                ) from None
            except OSError as error:
                reason = error.strerror or str(error)
                raise UnavailableError(
                    f"{self._path}: {reason}: be root, or the user that the {self._daemon} runs as"
                ) from None
        if answer.status != 200:
            raise UnavailableError(text)
        try:
            told: dict[str, Any] = json.loads(text)
        except ValueError:
            raise UnavailableError(f"{self._path}: no answer of a {self._daemon}") from None
        return told
