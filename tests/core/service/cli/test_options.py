"""What the verbs have in common."""

from __future__ import annotations

import pytest

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
