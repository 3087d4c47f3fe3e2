"""What processes have of the machine: memory, descriptors, threads, sockets; and whether it grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

KIB_PER_MIB = 1024


def pss_kib(pid: int) -> int:
    """Proportional set size of one process: its own memory, and its share of what others have too."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(f"process {pid} has no Pss")


@dataclass(frozen=True, slots=True)
class Held:
    """By some processes together."""

    descriptors: int
    sockets: int
    threads: int

    def excess(self, baseline: Held) -> dict[str, int]:
        """What there is more of than then."""
        pairs = ((name, getattr(self, name) - getattr(baseline, name)) for name in self.__slots__)
        return {name: more for name, more in pairs if more > 0}


def held(pids: Iterable[int]) -> Held:
    """By these, now."""
    descriptors = sockets = threads = 0
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            descriptors += 1
            sockets += _target(link).startswith("socket:")
        threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
    return Held(descriptors, sockets, threads)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""  # closed meanwhile


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at one time."""

    at_s: float
    kib: Mapping[str, int]
    """By the name of what was started."""

    @property
    def total(self) -> int:
        """Of all."""
        return sum(self.kib.values())


@dataclass(frozen=True, slots=True)
class Growth:
    """Of memory after the warm-up."""

    before_mib: float
    """Median of the first third that counts."""
    after_mib: float
    """Median of the last third."""
    per_hour_mib: float
    """Theil and Sen's slope: the median of those of all pairs, which single peaks do not move."""

    @property
    def share(self) -> float:
        """By how much the last third is above the first."""
        return self.after_mib / self.before_mib - 1


def growth(samples: Sequence[Sample], from_s: float) -> Growth:
    """Of what was sampled from then on. Raises ValueError for fewer than three."""
    late = [sample for sample in samples if sample.at_s >= from_s]
    if len(late) < 3:
        raise ValueError("too few samples to tell growth from noise")
    third = len(late) // 3
    slopes = [(b.total - a.total) / (b.at_s - a.at_s) for i, a in enumerate(late) for b in late[i + 1 :]]
    before, after = (median(sample.total for sample in part) for part in (late[:third], late[-third:]))
    return Growth(before / KIB_PER_MIB, after / KIB_PER_MIB, median(slopes) * 3600 / KIB_PER_MIB)
