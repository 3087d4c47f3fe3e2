"""What this is: the version of Voxpop and the commit that it was built from."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Final

COMMIT_FILE: Final = Path(__file__).with_name("commit.txt")
"""Put into the wheel by `make bundle`; a checkout has none, since what it runs may be no commit's."""
UNKNOWN: Final = "unknown"
DIGITS: Final = 12
"""Of a commit, as it is shown: enough to be one's alone in any repository that people have made."""

VERSION: Final = version("voxpop")


def commit() -> str:
    """The first digits of the commit, or `unknown`."""
    try:
        return COMMIT_FILE.read_text("ascii").strip()[:DIGITS] or UNKNOWN
    except OSError:
        return UNKNOWN
