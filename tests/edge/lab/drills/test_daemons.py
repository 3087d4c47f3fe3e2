"""What a daemon says to another configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import UnavailableError
from core.service import process
from core.service.process import Child
from edge.lab.drills import daemons
from tests.edge.lab.drills.kit import start_script

SCRIPT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
print("reloaded: keys 1, clusters 1: this was before", flush=True)
for line in {lines!r}:
    signal.sigwait([signal.SIGHUP])
    print(line, flush=True)
signal.pause()
"""


@contextmanager
def daemon(folder: Path, *lines: str) -> Iterator[Child]:
    """Says one of these at each SIGHUP."""
    child = start_script("relay", SCRIPT.format(lines=lines), folder)
    try:
        daemons.until_said(child, 0, "reloaded: ")
        yield child
    finally:
        process.end(child, timeout_s=1.0)


def test_the_answer_is_that_to_this_reload_and_not_to_one_before(tmp_path: Path) -> None:
    refused = f"ERROR {daemons.REFUSED}pop[1].vips must have 1–8 entries"
    with daemon(tmp_path, "INFO reloaded: keys 1, 2, clusters 1", refused) as child:
        assert daemons.reload(child) == []
        assert daemons.reload(child) == ["pop[1].vips must have 1–8 entries"]


def test_one_that_says_nothing_is_not_believed_to_have_adopted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons, "PATIENCE_S", 0.2)
    with daemon(tmp_path, "what?") as child, pytest.raises(UnavailableError, match="relay has not said"):
        daemons.reload(child)
