"""core.service.log, as a process has it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SNIPPET = """
import logging, sys
from core.service import log
log.set_up({level!r}, as_json={as_json})
logger = logging.getLogger("edge.relay")
logger.debug("not wanted")
logger.warning("odd %s", "text\\nwith a line end and ümlaut")
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("failed")
"""


def stderr_of(level: str, as_json: bool) -> list[str]:
    code = SNIPPET.format(level=level, as_json=as_json)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_is_one_object_per_line() -> None:
    warning, error = map(json.loads, stderr_of("info", as_json=True))
    assert warning["level"] == "warning"
    assert warning["logger"] == "edge.relay"
    assert warning["message"] == "odd text\nwith a line end and ümlaut"
    assert isinstance(warning["process"], int)
    assert warning["time"] > 1_700_000_000
    assert "traceback" not in warning
    assert "ZeroDivisionError" in error["traceback"]


def test_text_is_for_people() -> None:
    lines = stderr_of("error", as_json=False)
    assert " ERROR   edge.relay[" in lines[0]
    assert lines[0].endswith("] failed")
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_line_of_text_cannot_be_forged() -> None:
    lines = stderr_of("warning", as_json=False)
    assert lines[0].endswith(r"] odd text\x0awith a line end and ümlaut")
    assert " ERROR " in lines[1]


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("error", 1)])
def test_levels(level: str, lines: int) -> None:
    assert len(stderr_of(level, as_json=True)) == lines
