"""`voxpop doctor`: the exit status is what the checks say."""

from __future__ import annotations

import json
import os

import pytest

from core.service.cli.options import EXIT_CHECK_FAILED
from tests.edge.xdp_scene import Pop

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_lines_and_json_say_the_same(stopped: Pop) -> None:
    lines, told = stopped.run("doctor"), stopped.run("doctor", "--json")
    assert lines.returncode == told.returncode == EXIT_CHECK_FAILED
    document = json.loads(told.stdout)
    assert document["ok"] is False
    failed = [check for check in document["checks"] if check["status"] == "failed"]
    assert lines.stdout.splitlines()[-1] == f"{len(document['checks'])} checks, {len(failed)} failed"
    assert all(check["fix"] for check in failed), "each says what to do"
    assert lines.stdout.count("FAILED  ") == len(failed)
