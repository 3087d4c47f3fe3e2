"""One text of relay_xdp.c and what it includes of ours, and of which file a line of it is.

BCC translates map access in its main file alone, so a part that uses maps cannot be a header for it: each
takes the place of its `#include`, once.

The lines are numbered as those of one file, which is there for the compiler to read: LLVM 14 takes what the
verifier's log shows of the source from the file of the outermost function, whichever it has inlined. Where a
line is from is told afterwards, for compiler and verifier alike, by `Source.named`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_INCLUDE = re.compile(r'#include "(\w+\.h)"')


@dataclass(frozen=True, slots=True)
class Source:
    """The text, as it has to be at `path` when it is compiled."""

    path: Path
    text: str
    origins: tuple[tuple[str, int], ...]
    """File and line, for each line."""

    def named(self, output: str) -> str:
        """What compiler or verifier printed, with files and lines as who writes them knows them."""

        def origin(match: re.Match[str]) -> str:
            number = int(match[1])
            if not 0 < number <= len(self.origins):
                return match[0]  # of what BCC includes by itself
            name, line = self.origins[number - 1]
            return f"{name}:{line}"

        return re.sub(rf"(?:[\w./-]*/)?{re.escape(self.path.name)}:(\d+)", origin, output)


def join(main: Path, path: Path, extra: str = "") -> Source:
    """`main` with what lies beside it and is included, and `extra` behind it. Nothing is written.

    BCC puts a line before each function, so within each the compiler is told the number anew.
    """
    text = [f'#line 2 "{path}"']
    origins = [(main.name, 1)]
    for name, number, line in [*_lines(main, set()), *_numbered("extra", extra)]:
        text.append(line)
        origins.append((name, number))
        if line == "{":
            text.append(f'#line {len(text) + 2} "{path}"')
            origins.append((name, number))
    return Source(path, "\n".join([*text, ""]), tuple(origins))


def _lines(file: Path, seen: set[str]) -> Iterator[tuple[str, int, str]]:
    """(file, number, line) of each line."""
    for name, number, line in _numbered(file.name, file.read_text()):
        included = _INCLUDE.fullmatch(line)
        if included is None:
            yield name, number, line
        elif included[1] not in seen:
            seen.add(included[1])
            yield from _lines(file.with_name(included[1]), seen)


def _numbered(name: str, text: str) -> Iterator[tuple[str, int, str]]:
    return ((name, number, line) for number, line in enumerate(text.splitlines(), 1))
