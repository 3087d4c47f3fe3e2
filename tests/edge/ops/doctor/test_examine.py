"""The report of `voxpop doctor`."""

from __future__ import annotations

from edge.ops.doctor.checks import Check, failed, note, ok
from edge.ops.doctor.examine import render as render_checks


def test_a_report_says_what_to_do() -> None:
    checks: list[Check] = [
        ok("one", "fine"),
        note("two", "so so", "think"),
        failed("three", "broken", "mend it"),
    ]
    assert render_checks(checks).splitlines() == [
        "ok      one: fine",
        "note    two: so so",
        "        → think",
        "FAILED  three: broken",
        "        → mend it",
        "3 checks, 1 failed",
    ]
