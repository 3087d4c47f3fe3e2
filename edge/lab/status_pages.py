"""What a daemon of a lab says of itself at its status port, asked from where it runs."""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import Any

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service.process import Inside

ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class StatusPages:
    """Those of one daemon."""

    who: str
    """As a sentence begins with it."""
    at: Endpoint
    inside: Inside

    def health(self) -> dict[str, Any]:
        """/healthz. Raises UnavailableError."""
        found: dict[str, Any] = json.loads(self._page("/healthz"))
        return found

    def metrics(self) -> dict[str, float]:
        """/metrics, by name and labels as Prometheus writes them: `voxpop_relay_flows{family="ipv4"}`. Raises
        UnavailableError.
        """
        lines = self._page("/metrics").splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def is_ready(self) -> bool:
        """Whether /readyz says 200; not where nobody answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._get("/readyz")[0] == 200
        return False

    def _page(self, path: str) -> str:
        try:
            return self._get(path)[1]
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{self.who} does not answer: {error}") from None

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.at.host, self.at.port, timeout=ANSWER_TIMEOUT_S)
        with contextlib.closing(connection), self.inside():
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
