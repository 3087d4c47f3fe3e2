"""What the verbs have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from core.service.cli.options import number, whole_number
from tests.core.service.cli.kit import voxpop
from tests.paths import ROOT


@pytest.mark.parametrize(
    "words", [("keys",), ("keys", "rotate"), ("token", "explain"), ("config", "check"), ("metrics",)]
)
def test_help_teaches(words: tuple[str, ...]) -> None:
    done = voxpop(*words, "--help", cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: voxpop {' '.join(words)}")
    assert voxpop(*words, cwd=ROOT).returncode == 2


@pytest.mark.parametrize("given", [number(1, 3), whole_number(1, 3)], ids=["number", "whole number"])
def test_both_ends_of_a_range_are_in_it(given: Callable[[str], float]) -> None:
    assert [given(text) for text in ("1", "2", "3")] == [1, 2, 3]
    for text in ("0", "4", "-1"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be 1–3"):
            given(text)


def test_half_a_number_is_a_number_and_not_a_whole_one() -> None:
    assert number(1, 3)("1.5") == 1.5
    with pytest.raises(ValueError, match="invalid literal"):
        whole_number(1, 3)("1.5")
    for text in ("nan", "inf"):
        with pytest.raises(argparse.ArgumentTypeError):
            number(1, 3)(text)
