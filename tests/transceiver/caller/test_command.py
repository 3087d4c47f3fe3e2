"""What is said of wrong usage, and what comes of calls that nobody takes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import voxpop
from tests.ports import free_tcp_port
from tests.sound import silence, write_wav
from tests.transceiver.caller.test_cli import parse
from transceiver.caller import command
from transceiver.caller.plan import make_plan


def test_where_nobody_listens_there_is_a_report_of_it() -> None:
    plan = make_plan(parse(f"http://127.0.0.1:{free_tcp_port()}"))
    outcome = asyncio.run(command.place(plan))
    assert not outcome.was_interrupted
    assert not outcome.report.answered
    assert outcome.report.error is not None
    assert outcome.report.error.startswith("signaling: ")
    assert list(outcome.heard) == []


def silent_wav(folder: Path) -> Path:
    """A recording with nothing in it."""
    write_wav(folder / "silent.wav", silence(500))
    return folder / "silent.wav"


USAGE: dict[str, Callable[[Path], Sequence[str | Path]]] = {
    "no scheme": lambda folder: ("127.0.0.1:8080",),
    "no url": lambda folder: (),
    "absent recording": lambda folder: ("http://127.0.0.1:9", "--wav", folder / "absent.wav"),
    "a text as recording": lambda folder: ("http://127.0.0.1:9", "--wav", __file__),
    "silence": lambda folder: ("http://127.0.0.1:9", "--wav", silent_wav(folder)),
    "absent folder": lambda folder: ("http://127.0.0.1:9", "--out", folder / "absent" / "out.wav"),
    "absent key": lambda folder: ("http://127.0.0.1:9", "--api-key-file", folder / "absent"),
    "no turns": lambda folder: ("http://127.0.0.1:9", "--turns", "0"),
    "no number": lambda folder: ("http://127.0.0.1:9", "--seconds", "long"),
    "record a crowd": lambda folder: ("http://127.0.0.1:9", "--out", folder / "out.wav", "--calls", "2"),
    "a rate of one": lambda folder: ("http://127.0.0.1:9", "--rate", "2"),
    "no calls": lambda folder: ("http://127.0.0.1:9", "--calls", "0"),
    "session no object": lambda folder: ("http://127.0.0.1:9", "--session", "[1]"),
}


@pytest.fixture
def _own_log() -> Iterator[None]:
    """A command sends the log to its own standard error, which is a test's only as long as that runs."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("_own_log")
@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage_is_said_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    try:
        status: object = voxpop.main(["call", *map(str, USAGE[name](tmp_path))])
    except SystemExit as ended:
        status = ended.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert "voxpop call: " in err


@pytest.mark.usefixtures("_own_log")
def test_a_crowd_that_nobody_takes_is_told_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_tcp_port()}"
    assert voxpop.main(["call", url, "--calls", "2", "--rate", "100", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines].count("failed") == 2
    assert all(line["error"].startswith("signaling: ") for line in lines if line["event"] == "failed")
    assert lines[-1]["event"] == "summary"
    assert (lines[-1]["calls"], lines[-1]["connected"]) == (2, 0)

    assert voxpop.main(["call", url, "--calls", "1"]) == 1
    out = capsys.readouterr().out
    assert "call 0 was not set up: signaling: " in out
    assert "0 of 1 calls are up" in out
    assert "1: 0 set up, 0 of them lost" in out
