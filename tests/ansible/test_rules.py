"""The rules of Prometheus: what they ask for is there, they do as they say, each alert has a runbook."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.paths import ROOT

ROLE = ROOT / "ansible" / "roles" / "monitoring"
RULES = ROLE / "files" / "rules.yml"
ANCHOR = "https://github.com/voxpop/voxpop/blob/main/"
OTHERS = {"voxpop_provisioned_info"}
"""What is no daemon's: the textfile of node_exporter."""
_SELECTOR = re.compile(r"\b(voxpop_[a-z0-9_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)=(~?)"([^"]*)"')


def rules() -> Iterator[Mapping[str, Any]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def reference() -> dict[str, dict[str, set[str]]]:
    """Metric → label → its values, by docs/metrics.md, which another test holds to the catalogues."""
    found: dict[str, dict[str, set[str]]] = {}
    text = (ROOT / "docs" / "metrics.md").read_text()
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        labels = re.findall(r"^- `(\w+)`: ((?:.+\n?)(?:  .+\n)*)", section, flags=re.MULTILINE)
        found[section.split("`")[1]] = {label: set(re.findall("`([^`]+)`", told)) for label, told in labels}
    return found


def test_what_rules_ask_for_is_in_the_catalogue() -> None:
    known = reference()
    asked = 0
    for rule in rules():
        for name, matchers in _SELECTOR.findall(rule["expr"]):
            if name in OTHERS:
                continue
            labels = known[re.sub(r"_bucket$", "", name)]
            for label, _, values in _MATCHER.findall(matchers):
                if label == "job":
                    continue
                assert set(values.split("|")) <= labels[label], (name, label)
            asked += 1
    assert asked > 25


def test_what_no_daemon_shows_is_in_the_textfile() -> None:
    template = (ROLE / "templates" / "voxpop.prom.j2").read_text()
    assert set(re.findall(r"^(voxpop_\w+)\{", template, flags=re.MULTILINE)) == OTHERS


def test_every_alert_has_a_sentence_a_severity_and_a_runbook_that_is_there() -> None:
    pages: dict[str, set[str]] = {}
    alerts = [rule for rule in rules() if "alert" in rule]
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["annotations"]["summary"].endswith(".")
        page, _, anchor = alert["annotations"]["runbook_url"].removeprefix(ANCHOR).partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), flags=re.MULTILINE)
        pages.setdefault(page, set())
        assert anchor in {_anchor(heading) for heading in headings}, alert["alert"]
        pages[page].add(anchor)
    (sections,) = pages.values()
    assert len(sections) == len(alerts), "each has one of its own"


def _anchor(heading: str) -> str:
    """As the forge makes it of a heading."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def test_alerts_come_when_they_should_and_stay_away_when_they_should_not(tmp_path: Path) -> None:
    test = tmp_path / "alerts.yml"
    test.write_text((ROOT / "ansible" / "tests" / "alerts.yml").read_text().replace("RULES", str(RULES)))
    done = subprocess.run(
        ["promtool", "test", "rules", str(test)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
