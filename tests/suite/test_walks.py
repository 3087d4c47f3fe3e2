"""CONTRIBUTING: to add something takes the files that its table names, and no more."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.sources import copy_of_the_sources
from tests.walks import WALKS


def rows() -> dict[str, set[str]]:
    """What there is to add → the files to touch, of the table in CONTRIBUTING."""
    table = (
        (ROOT / "CONTRIBUTING.md")
        .read_text()
        .partition("| to add | touch |\n| --- | --- |\n")[2]
        .partition("\n\n")[0]
    )
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    return {what: set(re.findall(r"`([\w/.]+\.\w+)`", files)) for what, files in found}


def test_each_row_is_walked() -> None:
    assert rows().keys() == WALKS.keys()


@pytest.mark.parametrize("what", WALKS)
def test_a_walk_touches_what_its_row_says_and_that_is_enough(what: str, tmp_path: Path) -> None:
    walk = WALKS[what]
    assert {re.sub(r"\bodd\.py$", "NAME.py", name) for name in walk.edits} == rows()[what]
    copy_of_the_sources(tmp_path, walk.edits)
    for name, (old, new) in walk.use.items():
        text = (tmp_path / name).read_text()
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        (tmp_path / name).write_text(text.replace(old, new))
    script = "import sys\nsys.path.insert(0, '.')\n" + textwrap.dedent(walk.proof)
    done = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
