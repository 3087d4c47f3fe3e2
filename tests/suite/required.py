"""In CI a test that cannot run has failed: what is skipped there is tested nowhere."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

MAY_SKIP = ("this libopus is older", "this machine has no ::1")
"""Reasons that are of the machine and no fault of it: CI installs nothing that would change them."""


def is_ci() -> bool:
    """Whether this is the run that decides."""
    return os.environ.get("CI") == "true"


class Required:
    """Makes failures of skips."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.skipped and not hasattr(report, "wasxfail"):
            _, _, reason = (
                report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
            )
            if not any(allowed in reason for allowed in MAY_SKIP):
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid}: skipped, which CI does not accept. {reason}"
        return report
