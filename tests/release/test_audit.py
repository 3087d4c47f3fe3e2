"""The list of known flaws, and what is found by it."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from release import audit

LISTED = json.loads(audit.LIST.read_text())
ADVISORY = {
    "id": "PYSEC-2023-254",
    "aliases": ["CVE-2023-49083"],
    "summary": "a segfault",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Crypto_Graphy"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "3.1"}, {"fixed": "41.0.6"}]}],
        }
    ],
}


def listed(**other: Any) -> dict[str, Any]:
    return {"made": "2026-11-30", "advisories": [ADVISORY], "bundled": [], **other}


def events(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": [{kind: at} for kind, at in pairs]}]}


@pytest.mark.parametrize(
    ("version", "affected", "is_in"),
    [
        ("3.0", events(("introduced", "3.1"), ("fixed", "41.0.6")), False),
        ("3.1", events(("introduced", "3.1"), ("fixed", "41.0.6")), True),
        ("41.0.5", events(("introduced", "3.1"), ("fixed", "41.0.6")), True),
        ("41.0.6", events(("introduced", "3.1"), ("fixed", "41.0.6")), False),
        ("41.0.6rc1", events(("introduced", "3.1"), ("fixed", "41.0.6")), True),
        ("0.1", events(("introduced", "0")), True),
        ("2.0", events(("introduced", "0"), ("last_affected", "2.0")), True),
        ("2.0.1", events(("introduced", "0"), ("last_affected", "2.0")), False),
        ("5.1", events(("fixed", "4.2"), ("introduced", "0"), ("introduced", "5.0"), ("fixed", "5.2")), True),
        (
            "4.5",
            events(("fixed", "4.2"), ("introduced", "0"), ("introduced", "5.0"), ("fixed", "5.2")),
            False,
        ),
        ("1.2", {"versions": ["1.1", "1.2"]}, True),
        ("1.3", {"versions": ["1.1", "1.2"], "ranges": []}, False),
    ],
)
def test_a_version_is_affected_as_osv_has_it(version: str, affected: dict[str, Any], is_in: bool) -> None:
    assert audit.is_affected(version, affected) is is_in


def test_what_is_in_the_lock_is_told_with_its_fix() -> None:
    found = audit.judge({"crypto-graphy": {"41.0.5", "50.0.2"}, "other": {"41.0.5"}}, listed())
    assert list(map(str, found)) == [
        "crypto-graphy 41.0.5: PYSEC-2023-254 CVE-2023-49083, fixed in 41.0.6: a segfault"
    ]


def test_an_old_list_is_a_warning_and_no_fault() -> None:
    for days, is_warned in ((audit.STALE_DAYS, False), (audit.STALE_DAYS + 1, True)):
        today = date.fromordinal(date(2026, 11, 30).toordinal() + days)
        faults, notes = audit.report({}, listed(), today)
        assert (faults, any("warning: the list" in note for note in notes)) == ([], is_warned)


def test_a_wheel_that_changes_is_looked_into_again() -> None:
    """Which library it brings along, nobody tells."""
    bundled = [
        {"package": "lib", "version": "1.0", "library": "OpenSSL", "library_version": "3.5.4", "judged": "x"}
    ]
    assert audit.unjudged({"lib": {"1.0"}}, listed(bundled=bundled)) == []
    (told,) = audit.unjudged({"lib": {"1.1"}}, listed(bundled=bundled))
    assert told == "lib 1.1: look which OpenSSL it brings along: 1.0 had 3.5.4"
    assert "is gone" in audit.unjudged({}, listed(bundled=bundled))[0]


def test_our_lock_has_no_flaw_that_is_in_our_list() -> None:
    faults, _ = audit.report(audit.locked(audit.LOCK), LISTED, date(2026, 11, 30))
    assert faults == []
    assert len(LISTED["advisories"]) > 50
    assert len(LISTED["commit"]) == 40


def test_an_older_lock_would_have_been_told_of() -> None:
    """So the list is one that finds something."""
    found = audit.judge({"aiohttp": {"3.9.0"}, "cryptography": {"41.0.5"}}, LISTED)
    assert {each.package for each in found} == {"aiohttp", "cryptography"}
    assert {"PYSEC-2023-254"} < {each.advisory.split()[0] for each in found}


def test_a_list_is_made_of_a_checkout(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True
        )

    full = {**ADVISORY, "details": "long  words\n" * 99, "references": [{"type": "WEB", "url": "https://a"}]}
    del full["summary"]
    for name, document in {
        "crypto-graphy/PYSEC-1.yaml": full,
        "crypto-graphy/PYSEC-2.yaml": full | {"withdrawn": "2024-01-01"},
        "stranger/PYSEC-3.yaml": full,
    }.items():
        path = tmp_path / "vulns" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document))
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "all", "--date", "2026-01-02T03:04:05Z")
    made = audit.collect(tmp_path, {"crypto-graphy": {"1"}}, listed(bundled=[1]))
    (advisory,) = made["advisories"]
    assert advisory == ADVISORY | {"summary": ("long words " * 99)[: audit.SUMMARY_CHARS]}
    assert (made["source"], made["bundled"], len(made["commit"])) == (audit.SOURCE, [1], 40)
