"""What `voxpop call` takes."""

from __future__ import annotations

import argparse

import pytest

from transceiver.caller import cli
from transceiver.caller.ice import Nomination
from transceiver.caller.limits import MAX_CALLS, MAX_RATE, MAX_SECONDS


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.register(parser.add_subparsers())
    return parser.parse_args(["call", *words])


def test_without_options_it_is_one_turn_of_the_recording_that_comes_along() -> None:
    arguments = parse("http://x")
    assert (arguments.turns, arguments.seconds, arguments.wav, arguments.session) == (None, None, None, {})
    assert arguments.nomination is Nomination.ALWAYS


def test_settings_are_an_object_and_numbers_within_their_bounds() -> None:
    arguments = parse(
        "http://x", "--session", '{"voice": "parrot"}', "--turns", "7", "--seconds", str(MAX_SECONDS)
    )
    assert (arguments.session, arguments.turns) == ({"voice": "parrot"}, 7)
    assert arguments.seconds == MAX_SECONDS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--turns", "0"], "must be 1–"),
        (["--turns", "1000000"], "must be 1–"),
        (["--seconds", "0"], "must be 0.1–"),
        (["--seconds", str(MAX_SECONDS + 1)], "must be 0.1–"),
        (["--seconds", "nan"], "must be 0.1–"),
        (["--calls", "0"], "must be 1–"),
        (["--calls", str(MAX_CALLS + 1)], "must be 1–"),
        (["--calls", "2", "--rate", "0"], "must be 0.1–"),
        (["--calls", "2", "--rate", str(MAX_RATE + 1)], "must be 0.1–"),
        (["--session", "[]"], "must be a JSON object"),
        (["--session", "{"], "is not JSON"),
        (["--nomination", "never"], "invalid"),
    ],
)
def test_what_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("http://x", *words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
