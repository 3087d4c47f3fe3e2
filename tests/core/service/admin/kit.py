"""Something that listens in the place of a daemon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.service.admin import server

PATIENCE_S = 60.0


@contextmanager
def answering_once(path: Path, answer: bytes) -> Iterator[None]:
    """Hear one request with a body, and say this; nobody listens any more by then."""

    def serve() -> None:
        with opened.accept()[0] as connection:
            opened.close()
            asked = b""
            while not asked.endswith(b"}"):  # the body comes apart from the header
                part = connection.recv(4096)
                assert part, "it went away in the middle"
                asked += part
            connection.sendall(answer)

    with server.listen(path) as opened:
        opened.settimeout(PATIENCE_S)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()
