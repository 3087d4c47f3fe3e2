"""What is read and checked before a call is placed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transceiver.caller.test_cli import parse
from transceiver.caller.limits import DEFAULT_RATE, KEY_VARIABLE, MAX_RECORDED_SECONDS
from transceiver.caller.plan import LONGER_ANSWER_S, MAX_KEY_FILE_BYTES, Plan, make_plan
from transceiver.media import FRAME_MS


def plan_of(*words: str) -> Plan:
    return make_plan(parse("http://127.0.0.1:9", *words))


def test_a_call_lasts_as_long_as_it_is_asked_to_and_never_too_long() -> None:
    once = plan_of()
    length_s = len(once.recording) * FRAME_MS / 1000
    assert (once.turns, once.seconds) == (1, pytest.approx(2 * length_s + LONGER_ANSWER_S))
    assert plan_of("--turns", "3").seconds == pytest.approx(3 * once.seconds)
    assert plan_of("--turns", "100").seconds == MAX_RECORDED_SECONDS
    for_a_while = plan_of("--seconds", "7")
    assert (for_a_while.turns, for_a_while.seconds) == (None, 7)


def test_a_call_may_last_longer_than_a_recording(tmp_path: Path) -> None:
    assert plan_of("--seconds", "3600").seconds == 3600
    with pytest.raises(ValueError, match="--out records 600 s at most"):
        plan_of("--seconds", "601", "--out", str(tmp_path / "heard.wav"))


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
        (b"x" * MAX_KEY_FILE_BYTES + b"\n x", None),
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
        assert len(key) == MAX_KEY_FILE_BYTES, "no more than that is read"
        return
    with pytest.raises(ValueError, match=said) as caught:
        plan_of("--api-key-file", str(path))
    assert "vpk" not in str(caught.value)


def test_a_recording_that_could_not_be_written_is_said_beforehand(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"there is no directory {tmp_path}/none"):
        plan_of("--out", str(tmp_path / "none" / "out.wav"))


def test_a_crowd_has_a_size_and_begins_at_a_bounded_rate() -> None:
    assert (plan_of().calls, plan_of("--calls", "30").calls) == (None, 30)
    assert plan_of("--calls", "30").rate == DEFAULT_RATE
    assert plan_of("--calls", "30", "--rate", "2.5").rate == 2.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--calls", "2", "--out", "both.wav"], "--out records one call"),
        (["--rate", "5"], "which is not given"),
    ],
)
def test_what_is_of_a_crowd_and_of_one_call_is_not_mixed(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan_of(*words)
