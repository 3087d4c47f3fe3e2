"""What is checked before a call is placed, and what comes of one that nobody takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import voxpop
from tests.ports import free_tcp_port
from tests.sound import silence, write_wav
from tests.transceiver.caller.test_cli import parse
from transceiver.caller import command
from transceiver.caller.limits import KEY_VARIABLE, MAX_SECONDS
from transceiver.media import FRAME_MS


def plan_of(*words: str) -> command.Plan:
    return command._plan(parse("http://127.0.0.1:9", *words))


def test_a_call_lasts_as_long_as_it_is_asked_to_and_never_too_long() -> None:
    once = plan_of()
    length_s = len(once.recording) * FRAME_MS / 1000
    assert (once.turns, once.seconds) == (1, pytest.approx(2 * length_s + command.LONGER_ANSWER_S))
    assert plan_of("--turns", "3").seconds == pytest.approx(3 * once.seconds)
    assert plan_of("--turns", "100").seconds == MAX_SECONDS
    for_a_while = plan_of("--seconds", "7")
    assert (for_a_while.turns, for_a_while.seconds) == (None, 7)


def test_a_key_is_of_the_file_or_else_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert plan_of().api_key is None
    monkeypatch.setenv(KEY_VARIABLE, "vpk_environment")
    assert plan_of().api_key == "vpk_environment"
    (tmp_path / "key").write_text("vpk_file\n")
    assert plan_of("--api-key-file", str(tmp_path / "key")).api_key == "vpk_file"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must hold one API key"),
        (b"\n \n", "must hold one API key"),
        (b"vpk_a\nvpk_b", "must hold one API key"),
        (b"vpk a", "must hold one API key"),
        (b"x" * command.MAX_KEY_FILE_BYTES + b"\n x", None),
        ("vpk_ä".encode(), "is not an API key"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_key_is_said_and_not_shown(
    tmp_path: Path, content: bytes | None, said: str | None
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    if said is None:
        key = plan_of("--api-key-file", str(path)).api_key
        assert key is not None
        assert len(key) == command.MAX_KEY_FILE_BYTES, "no more than that is read"
        return
    with pytest.raises(ValueError, match=said) as caught:
        plan_of("--api-key-file", str(path))
    assert "vpk" not in str(caught.value)


def test_a_recording_that_could_not_be_written_is_said_beforehand(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"there is no directory {tmp_path}/none"):
        plan_of("--out", str(tmp_path / "none" / "out.wav"))


def test_where_nobody_listens_there_is_a_report_of_it() -> None:
    plan = command._plan(parse(f"http://127.0.0.1:{free_tcp_port()}"))
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
