"""For which Pythons a bundle is, and which of the locked packages each of them wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.version import Version

GLIBC_MINORS = range(36, 4, -1)
"""Of the manylinux platforms that are taken, the best first: Debian 12 has glibc 2.36."""
HASH = "--hash="


@dataclass(frozen=True, slots=True)
class Target:
    """The distribution's Python on a kind of machine."""

    python: str
    """As "3.11": Debian 12 has it, Debian 13 has "3.13"."""
    machine: str
    """As `uname -m` says."""

    @property
    def platforms(self) -> list[str]:
        """The platform tags of its wheels (PEP 600), the best first."""
        old = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        tags = []
        for minor in GLIBC_MINORS:
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in old:
                tags.append(f"{old[minor]}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]

    @property
    def pip_options(self) -> list[str]:
        """By which `pip download` takes the wheels of this Python, whichever it runs by itself."""
        return [
            "--no-deps",
            "--only-binary=:all:",
            f"--python-version={self.python}",
            "--implementation=cp",
            *(f"--platform={tag}" for tag in self.platforms),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """What markers ask for (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.{self.patch}",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": "",
        }

    @property
    def patch(self) -> int:
        """The first that a Debian was released with; later ones follow."""
        return {"3.11": 2, "3.13": 5}.get(self.python, 0)

    @property
    def requirements_file(self) -> str:
        """Its name in the bundle."""
        return f"requirements-{self.python}.txt"


@dataclass(frozen=True, slots=True)
class Pinned:
    """One package at one version, by the lock file."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """`sha256:…` of everything that the index has of it."""

    def line(self) -> str:
        """As pip's --require-hashes reads it."""
        return " ".join([f"{self.name}=={self.version}", *(f"{HASH}{each}" for each in self.hashes)])


def pinned(exported: str, target: Target) -> Iterator[Pinned]:
    """Those of an export of the lock file (`uv export --format requirements.txt`) that the target wants.

    ValueError for a line that pins nothing.
    """
    for line in _logical_lines(exported):
        text, *hashes = line.split(f" {HASH}")
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate(target.environment):
            continue
        (exactly,) = requirement.specifier
        if exactly.operator != "==" or not hashes:
            raise ValueError(f"{requirement.name} is not pinned")
        yield Pinned(requirement.name, str(Version(exactly.version)), tuple(each.strip() for each in hashes))


def _logical_lines(text: str) -> Iterable[str]:
    """Without comments, and with what a backslash continues in one line."""
    joined = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in joined.replace("\\\n", " ").splitlines():
        if stripped := " ".join(line.split()):
            yield stripped
