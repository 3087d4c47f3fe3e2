"""What a run took: the figures that tests tell, the ten slowest, and every folder against its budget.

The budgets are the table in CONTRIBUTING.md. Time is noisy, so who is over is told, and nothing fails.
"""

from __future__ import annotations

import re
import resource
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from tests.paths import ROOT, TESTS

SLOWEST = 10
CPU = "cpu_s"
SAID = "said"
ALL = "all"
_ROW = re.compile(r"^\| `?tests/(?P<folder>[a-z0-9/]+)`? +\| +(?P<seconds>\d+) s ", re.MULTILINE)
_WHOLE = re.compile(r"^\| all, side by side +\| +(?P<seconds>\d+) s ", re.MULTILINE)


@dataclass(slots=True)
class Spent:
    """Of one test or folder; CPU is what it and the processes took that it waited for."""

    tests: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0

    def add(self, other: Spent) -> None:
        """Both together."""
        self.tests += other.tests
        self.seconds += other.seconds
        self.cpu_s += other.cpu_s


def budgets(text: str) -> dict[str, int]:
    """Seconds by folder below tests/, of the table in CONTRIBUTING.md; ALL is the whole run."""
    found = {row["folder"]: int(row["seconds"]) for row in _ROW.finditer(text)}
    if (whole := _WHOLE.search(text)) is not None:
        found[ALL] = int(whole["seconds"])
    return found


def folder_of(nodeid: str, known: Mapping[str, int]) -> str:
    """The longest folder with a budget that a test is in, or its topmost one."""
    place = PurePosixPath(nodeid.partition("::")[0]).parent.relative_to(TESTS.name)
    parents = [str(parent) for parent in (place, *place.parents) if str(parent) != "."]
    return next((parent for parent in parents if parent in known), parents[-1] if parents else ".")


class Budget:
    """Adds up reports, those of all workers, and tells of them at the end."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._cpu_began = 0.0
        self._spent: dict[str, Spent] = defaultdict(Spent)
        self._said: list[tuple[str, str]] = []

    def pytest_runtest_logstart(self) -> None:
        """Where the test runs, before its set-up."""
        self._cpu_began = cpu_s()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Where the test runs: what its last report is to carry to where they are added up."""
        if call.when == "teardown":
            item.user_properties.append((CPU, round(cpu_s() - self._cpu_began, 3)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Each phase of each test."""
        spent = self._spent[report.nodeid]
        spent.seconds += report.duration
        if report.when != "teardown":
            return
        spent.tests = 1
        for name, value in report.user_properties:
            if name == CPU:
                spent.cpu_s += float(str(value))
            elif name == SAID:
                self._said.append((report.nodeid, str(value)))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The tables, before pytest's own last line."""
        if not self._spent:
            return
        show = terminalreporter.write_line
        if self._said:
            terminalreporter.section("figures")
            for nodeid, text in self._said:
                show(f"{nodeid.rpartition('::')[2]}: {text}")
        terminalreporter.section(f"the {SLOWEST} slowest tests")
        by_time = sorted(self._spent.items(), key=lambda item: -item[1].seconds)
        for nodeid, spent in by_time[:SLOWEST]:
            show(f"{spent.seconds:7.1f} s  {nodeid}")
        self._show_folders(terminalreporter)

    def _show_folders(self, terminal: pytest.TerminalReporter) -> None:
        known = budgets((ROOT / "CONTRIBUTING.md").read_text())
        folders = by_folder(self._spent, known)
        terminal.section("time by folder, and its budget")
        terminal.write_line(f"{'tests/':<28} {'tests':>6} {'time':>8} {'CPU':>8} {'budget':>8}")
        for folder, spent in sorted(folders.items()):
            is_over = spent.seconds > known.get(folder, float("inf"))
            row = f"{folder:<28} {spent.tests:>6} {spent.seconds:>6.1f} s {spent.cpu_s:>6.1f} s "
            terminal.write_line(row + _budget(known.get(folder), is_over), red=is_over, bold=is_over)
        whole_s = time.monotonic() - self._began
        is_over = whole_s > known.get(ALL, float("inf"))
        total = Spent()
        for spent in folders.values():
            total.add(spent)
        row = f"{ALL:<28} {total.tests:>6} {whole_s:>6.1f} s {total.cpu_s:>6.1f} s "
        terminal.write_line(row + _budget(known.get(ALL), is_over), red=is_over, bold=is_over)


def by_folder(spent: Mapping[str, Spent], known: Mapping[str, int]) -> dict[str, Spent]:
    """What the tests of each folder took."""
    folders: dict[str, Spent] = defaultdict(Spent)
    for nodeid, one in spent.items():
        folders[folder_of(nodeid, known)].add(one)
    return dict(folders)


def cpu_s() -> float:
    """CPU time of this process and of the children that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _budget(seconds: int | None, is_over: bool) -> str:
    if seconds is None:
        return f"{'none':>8}"
    return f"{seconds:>6} s" + ("  OVER ITS BUDGET" if is_over else "")
