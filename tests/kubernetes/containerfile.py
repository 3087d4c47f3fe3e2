"""What a Containerfile says, as far as ours goes (https://docs.docker.com/reference/dockerfile/): stages of
instructions. What this does not know is refused, not passed over.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.paths import ROOT

CONTAINERFILE = ROOT / "docs" / "kubernetes" / "Containerfile"


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY: `sources` are of the context, or of the stage `origin`."""

    sources: tuple[str, ...]
    target: str
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """RUN, by a shell, where and with what it was at that line."""

    command: str
    folder: str
    environment: dict[str, str]


@dataclass(slots=True)
class Stage:
    """From one FROM to the next."""

    image: str
    name: str | None
    steps: list[Copy | Run] = field(default_factory=list)
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()


def parse(text: str) -> list[Stage]:
    """The stages of a file, in their order. Raises ValueError."""
    stages: list[Stage] = []
    for instruction, rest in _instructions(text):
        if instruction == "FROM":
            words = rest.split()
            stages.append(Stage(words[0], words[2] if words[1:2] == ["AS"] else None))
        else:
            _apply(stages[-1], instruction, rest)
    return stages


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            yield instruction, rest.strip()


def _apply(stage: Stage, instruction: str, rest: str) -> None:
    match instruction:
        case "RUN":
            stage.steps.append(Run(rest, stage.folder, dict(stage.environment)))
        case "COPY":
            words = rest.split()
            origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
            *sources, target = words
            stage.steps.append(Copy(tuple(sources), str(Path(stage.folder, target)), origin))
        case "WORKDIR":
            stage.folder = str(Path(stage.folder, rest))
        case "ENV":
            stage.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
        case "USER":
            stage.user = rest
        case "ENTRYPOINT":
            stage.entrypoint = tuple(json.loads(rest))
        case _:
            raise ValueError(f"{instruction} is not known here")


def copied(step: Copy, root: Path, target_root: Path) -> Iterator[tuple[Path, Path]]:
    """(from, to) of what a COPY copies: the contents of a folder, or files into a folder."""
    target = Path(f"{target_root}/{step.target.lstrip('/')}")
    for source in step.sources:
        origin = Path(f"{root}/{source.lstrip('/')}")
        into = target / origin.name if len(step.sources) > 1 else target
        yield origin, into
