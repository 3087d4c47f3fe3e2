"""`voxpop flows` as operators type it."""

from __future__ import annotations

import argparse

import pytest

from edge.ops.flows import _limit
from voxpop import build_parser


def test_limits() -> None:
    assert (_limit("0"), _limit("7")) == (None, 7)
    with pytest.raises(argparse.ArgumentTypeError):
        _limit("-1")


@pytest.mark.parametrize(
    "argv",
    [
        ["flows", "list", "--client", "x"],
        ["flows", "count", "--idle", "3"],
    ],
)
def test_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(argv)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
