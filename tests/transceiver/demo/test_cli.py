"""What `voxpop demo` takes."""

from __future__ import annotations

import argparse

import pytest

from transceiver.demo import cli


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.register(parser.add_subparsers())
    return parser.parse_args(["demo", *words])


@pytest.mark.parametrize(("words", "stage"), [([], None), (["--lab"], "lab"), (["--no-lab"], "loopback")])
def test_where_it_plays(words: list[str], stage: str | None) -> None:
    arguments = parse(*words)
    assert (arguments.stage, arguments.once, arguments.port) == (stage, False, 8080)


def test_it_plays_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--lab", "--no-lab")
    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
