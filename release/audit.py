"""Known flaws of what uv.lock has, by a list that is kept with the sources: `python -m release.audit`.

It needs no network, so `make check` does it each time. The list, security/advisories.json, is made of a
checkout of the Python Packaging Advisory Database (`--collect CHECKOUT`), in the shape of OSV
(https://ossf.github.io/osv-schema), with what is of packages in the lock. It also says which libraries wheels
bring along in binary form, which no database tells, and what was found of them. `make audit` asks a service,
for which there is no network everywhere.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "uv.lock"
LIST = ROOT / "security" / "advisories.json"
SOURCE = "https://github.com/pypa/advisory-database"
STALE_DAYS = 90
SUMMARY_CHARS = 160
EXIT_FOUND = 1


@dataclass(frozen=True, slots=True)
class Found:
    """A flaw of a package in the lock."""

    package: str
    version: str
    advisory: str
    summary: str
    fixed: str
    """The first version without it, as far as is known."""

    def __str__(self) -> str:
        way = f"fixed in {self.fixed}" if self.fixed else "not fixed yet"
        return f"{self.package} {self.version}: {self.advisory}, {way}: {self.summary}"


def locked(lock: Path) -> dict[str, set[str]]:
    """Versions by name of package; one may be there in several, for several versions of Python."""
    found: dict[str, set[str]] = {}
    for package in tomllib.loads(lock.read_text())["package"]:
        if "registry" in package["source"]:
            found.setdefault(_normal(package["name"]), set()).add(package["version"])
    return found


def judge(packages: Mapping[str, set[str]], listed: Mapping[str, Any]) -> list[Found]:
    """What of the lock is in the list."""
    return [
        Found(
            name,
            version,
            " ".join([advisory["id"], *advisory["aliases"]]),
            advisory["summary"],
            _fix(affected),
        )
        for advisory in listed["advisories"]
        for affected in advisory["affected"]
        for name in [_normal(affected["package"]["name"])]
        for version in sorted(packages.get(name, ()))
        if is_affected(version, affected)
    ]


def unjudged(packages: Mapping[str, set[str]], listed: Mapping[str, Any]) -> list[str]:
    """Libraries in wheels that are other than when somebody looked."""
    return [
        f"{each['package']} {', '.join(sorted(packages.get(each['package'], {'is gone'})))}: look which "
        f"{each['library']} it brings along: {each['version']} had {each['library_version']}"
        for each in listed["bundled"]
        if packages.get(each["package"]) != {each["version"]}
    ]


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """OSV's evaluation: by enumeration, or by the last event at or before the version."""
    if version in affected.get("versions", ()):
        return True
    return any(_is_in(Version(version), each["events"]) for each in affected.get("ranges", ()))


def _is_in(version: Version, events: Sequence[Mapping[str, str]]) -> bool:
    inside = False
    for event in sorted(events, key=_place):
        ((kind, at),) = event.items()
        if kind == "introduced":
            inside |= at == "0" or version >= Version(at)
        elif version > Version(at) or (kind == "fixed" and version == Version(at)):
            inside = False  # it is fixed, or later than the last that is affected
    return inside


def _place(event: Mapping[str, str]) -> Version:
    return Version(next(iter(event.values())))


def _fix(affected: Mapping[str, Any]) -> str:
    events = [event for each in affected.get("ranges", ()) for event in each["events"]]
    fixed = sorted((event["fixed"] for event in events if "fixed" in event), key=Version)
    return fixed[-1] if fixed else ""


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def collect(checkout: Path, packages: Mapping[str, set[str]], before: Mapping[str, Any]) -> dict[str, Any]:
    """A new list, of a checkout of the database, or its bare repository. What was judged of libraries in
    wheels stays.
    """
    commit, made = _git(checkout, "log", "-1", "--format=%H %cs").split()
    names = _git(checkout, "ls-tree", "-r", "--name-only", "HEAD", "vulns").splitlines()
    wanted = [name for name in names if _normal(name.split("/")[1]) in packages]
    advisories = [_shortened(yaml.safe_load(_git(checkout, "show", f"HEAD:{name}"))) for name in wanted]
    kept = [each for each in advisories if each is not None]
    return {
        "source": SOURCE,
        "commit": commit,
        "made": made,
        "advisories": kept,
        "bundled": before["bundled"],
    }


def _shortened(advisory: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is needed to judge and to tell; None for one that was withdrawn."""
    if "withdrawn" in advisory:
        return None
    text = advisory.get("summary") or advisory["details"]
    return {
        "id": advisory["id"],
        "aliases": advisory.get("aliases", []),
        "summary": " ".join(text.split())[:SUMMARY_CHARS],
        "affected": [
            {
                "package": {"ecosystem": each["package"]["ecosystem"], "name": each["package"]["name"]},
                "ranges": [r for r in each.get("ranges", []) if r["type"] == "ECOSYSTEM"],
            }
            | ({} if _has_range(each) else {"versions": [str(v) for v in each.get("versions", [])]})
            for each in advisory["affected"]
        ],
    }


def _has_range(affected: Mapping[str, Any]) -> bool:
    return any(each["type"] == "ECOSYSTEM" for each in affected.get("ranges", []))


def _git(checkout: Path, *words: str) -> str:
    command = ["/usr/bin/env", "git", "-C", str(checkout), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def report(
    packages: Mapping[str, set[str]], listed: Mapping[str, Any], today: date
) -> tuple[list[str], Iterator[str]]:
    """(what has to be seen to, what is to be known)."""
    faults = [*map(str, judge(packages, listed)), *unjudged(packages, listed)]

    def notes() -> Iterator[str]:
        days = (today - date.fromisoformat(listed["made"])).days
        if days > STALE_DAYS:
            yield (
                f"warning: the list of advisories is of {listed['made']}, {days} days old; `make audit` asks "
                "a service, `python -m release.audit --collect CHECKOUT` makes a new list"
            )
        for each in listed["bundled"]:
            library = f"{each['library']} {each['library_version']}"
            yield f"{each['package']} brings along {library}: {each['judged']}"

    return faults, notes()


def main(argv: Sequence[str]) -> int:
    """0 where nothing is known, 1 where something is."""
    parser = argparse.ArgumentParser(prog="python -m release.audit", description=__doc__)
    parser.add_argument("--collect", type=Path, metavar="CHECKOUT", help=f"make a new list, of {SOURCE}")
    arguments = parser.parse_args(argv)
    packages, listed = locked(LOCK), json.loads(LIST.read_text())
    if arguments.collect is not None:
        listed = collect(arguments.collect, packages, listed)
        LIST.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
    faults, notes = report(packages, listed, datetime.now(UTC).date())
    for note in notes:
        print(note)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(packages)} packages of uv.lock: no flaw among {len(listed['advisories'])} advisories")
    return EXIT_FOUND if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
