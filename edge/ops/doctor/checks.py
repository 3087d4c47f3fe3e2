"""What a check of `voxpop doctor` comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; works nevertheless."""
    FAILED = "failed"
    """Calls will not be carried as configured."""
    SKIPPED = "skipped"
    """Cannot be looked at; another check says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Status
    finding: str
    fix: str = ""
    """What to do, where something is to be done."""

    def to_json(self) -> dict[str, str]:
        """Keys are those of the fields."""
        return asdict(self)


def ok(name: str, finding: str) -> Check:
    """Nothing to do."""
    return Check(name, Status.OK, finding)


def note(name: str, finding: str, fix: str = "") -> Check:
    """Works, but."""
    return Check(name, Status.NOTE, finding, fix)


def failed(name: str, finding: str, fix: str) -> Check:
    """Has to be mended."""
    return Check(name, Status.FAILED, finding, fix)


def skipped(name: str, finding: str) -> Check:
    """Could not be looked at."""
    return Check(name, Status.SKIPPED, finding)
