"""docs/token.md: what it claims is what the code does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from core.token import TokenReason
from tests.pages import only
from tests.paths import ROOT

PAGE = "docs/token.md"
VECTORS = ROOT / "tests/vectors/token-v1.json"


def test_every_reason_is_in_the_page() -> None:
    assert set(re.findall(r"`(token_\w+)`", (ROOT / PAGE).read_text())) == set(TokenReason)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_the_go_example_agrees_with_the_vectors(tmp_path: Path) -> None:
    source = tmp_path / "token.go"
    (code,) = only(PAGE, "go")
    source.write_text(code)
    ((command, expected),) = map(str.splitlines, only(PAGE, "console"))
    assert command == "$ go run token.go tests/vectors/token-v1.json"
    done = subprocess.run(
        ["go", "run", source, VECTORS], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n", "")
    assert subprocess.run(["gofmt", "-l", source], capture_output=True, check=True).stdout == b""
