"""Two regions of one fleet on this machine."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.transceiver.host_kit import Host

PAGE = "https://app.example"


@contextmanager
def two_regions(
    folder: Path, *, is_reachable: bool = False, status: str | None = None, **settings: str
) -> Iterator[tuple[Host, Host]]:
    """The one that callers come to, and the one that they may be sent to. With a `status`, that is of the
    only PoP of the first.
    """
    for name in ("east", "west"):
        (folder / name).mkdir()
    west = Host(folder / "west", {"max_sessions": "2"}, processes=1, is_reachable=is_reachable)
    own = {"max_sessions": "1", "cors_origins": f'["{PAGE}"]'} | settings
    east = Host(folder / "east", own, processes=1, status=status, has_far=status is None)
    with west, east:
        for secret in ("keys.toml", "api-keys.toml"):
            shutil.copy(west.folder / secret, east.folder / secret)
        east.keys = west.keys
        east.write_config(other_regions=f'["http://127.0.0.1:{west.http}"]')
        east.process.send_signal(signal.SIGHUP)
        east.wait_for_log("reloaded: ")
        east.wait_for_log(f"region http://127.0.0.1:{west.http} /readyz says 200")
        yield east, west
