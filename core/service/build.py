"""What this is: the version of Voxpop and the commit that it was built from."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Final

UNKNOWN: Final = "unknown"
DIGITS: Final = 12
"""Of a commit, as it is shown: enough to be one's alone in any repository that people have made."""


def commit_in(file: Path) -> str:
    """The first digits of the commit that a file names, or `unknown`."""
    try:
        return file.read_text("ascii").strip()[:DIGITS] or UNKNOWN
    except OSError:
        return UNKNOWN


VERSION: Final = version("voxpop")
COMMIT: Final = commit_in(Path(__file__).with_name("commit.txt"))
"""`make bundle` puts the file into the wheel; a checkout has none, since what it runs may be no commit's."""
