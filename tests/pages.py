"""Code in the pages: what a test takes from README or docs/ to run it as it stands there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

PAGES = sorted(
    (
        page
        for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/README.md"))
        if "node_modules" not in page.parts
    ),
    key=str,
)
_BLOCK = re.compile(
    r"(?:^(?P<before>[^\n]*:)\n\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    page: Path
    line: int
    """Of its first line of code, from 1."""
    language: str
    """Empty for what is only to be looked at: drawings, output."""
    name: str | None
    """The last code in the line that introduces it: of "Its `pyproject.toml`:" that file."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Those of a page, in order."""
    whole = page.read_text()
    return [
        Block(
            page,
            whole.count("\n", 0, found.start("text")) + 1,
            found["language"],
            (_CODE.findall(found["before"] or "") or [None])[-1],
            found["text"],
        )
        for found in _BLOCK.finditer(whole)
    ]


def block(page: str, name: str) -> str:
    """The code of that name in a page, a path from the root. There has to be one, and no more."""
    (found,) = [each.text for each in blocks(ROOT / page) if each.name == name]
    return found


def only(page: str, language: str) -> list[str]:
    """The code of a page in one language, in order."""
    return [each.text for each in blocks(ROOT / page) if each.language == language]
