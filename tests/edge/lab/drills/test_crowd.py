"""Crowds of callers as processes: what is waited for, and what can go wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import UnavailableError
from core.service import process
from edge.lab.drills.crowd import Crowd, log_of
from tests.edge.lab.drills.kit import start_script
from tests.ports import free_tcp_port

SCRIPT = """
import json, signal, sys

def tell(**event):
    print(json.dumps(event), flush=True)

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGUSR1])
print("a line of the log", flush=True)
tell(event="connected", call=0, setup_ms=1.0)
tell(event="all_connected", calls=1, connected=1)
number = 0
while signal.sigwait([signal.SIGINT, signal.SIGUSR1]) == signal.SIGUSR1:
    number += 1
    tell(event="rebound", at_ns=number)
tell(event="summary")
"""
"""A caller's lines without its calls, so that it does at once what it is told."""


@contextmanager
def crowd(folder: Path, script: str = SCRIPT, calls: int = 1) -> Iterator[Crowd]:
    it = Crowd(start_script("callers", script, folder), calls)
    try:
        yield it
    finally:
        it.close()
    it.close()


def test_events_are_waited_for_and_the_end_is_what_was_heard(tmp_path: Path) -> None:
    with crowd(tmp_path) as it:
        it.until_connected()
        assert (it.rebind(), it.rebind()) == (1, 2), "each is its own"
        heard = it.end()
    assert heard.asked_for == 1
    assert [event["event"] for event in heard.events] == [
        "connected", "all_connected", "rebound", "rebound", "summary"
    ]  # fmt: skip


def test_a_drill_does_not_begin_while_a_call_is_missing(tmp_path: Path) -> None:
    with crowd(tmp_path, calls=2) as it, pytest.raises(UnavailableError, match="1 of 2 calls were set up"):
        it.until_connected()


def test_what_does_not_come_in_time_is_said(tmp_path: Path) -> None:
    with crowd(tmp_path) as it, pytest.raises(UnavailableError, match=r"1 × lost: not within 0\.2 s"):
        it.until_told("lost", timeout_s=0.2)


def test_one_that_ends_or_crashes_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with crowd(tmp_path, "raise SystemExit('no such option')") as it:
        with pytest.raises(UnavailableError, match=r"ended before 1 × lost:\n.*no such option"):
            it.until_told("lost")
        with pytest.raises(UnavailableError, match=r"crashed:\n.*no such option"):
            it.finish(5.0)


def test_one_that_does_not_end_is_not_waited_for_forever(tmp_path: Path) -> None:
    with crowd(tmp_path) as it, pytest.raises(UnavailableError, match=r"did not end within 0\.1 s"):
        it.finish(0.1)


def test_real_callers_tell_why_nobody_was_reached(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1)
    url = f"http://127.0.0.1:{free_tcp_port()}"
    command = ["voxpop", "call", url, "--calls", "2", "--json"]
    it = Crowd(process.spawn("callers", command, log, ends_with_us=True), 2)
    try:
        with pytest.raises(UnavailableError, match=r"0 of 2 calls were set up .*: signaling: "):
            it.until_connected()
        heard = it.finish(20.0)
    finally:
        it.close()
    assert len(heard.failures) == 2
    assert heard.losses == []
