"""Whether an upgrade would keep the flows: told by the next version, before it touches anything."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.service.cli.options import EXIT_CHECK_FAILED
from ebpf import layout
from tests.edge.kit import REPOSITORY
from tests.edge.xdp_scene import Call, Pop, running
from tests.sources import copy_of_the_sources

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    with running(tmp_path, idle_timeout_s=600) as started:
        yield started


def check(pop: Pop) -> tuple[int, dict[str, object]]:
    """Exit status and what is told."""
    done = pop.run("dataplane", "check", "--json")
    told: dict[str, object] = json.loads(done.stdout)
    return done.returncode, told


def test_flows_are_kept_by_the_same_layout_and_end_with_another(pop: Pop, tmp_path: Path) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    status, told = check(pop)
    assert (status, told["flows_kept"], told["flows"]) == (0, True, 2)
    assert pop.succeed("dataplane", "check") == f"{told['words']}\n"

    version = layout.SCHEMA_VERSION
    edit = (f"SCHEMA_VERSION = {version}", f"SCHEMA_VERSION = {version + 1}")
    pop.tree = copy_of_the_sources(tmp_path / "next", {"ebpf/layout.py": edit})
    status, told = check(pop)
    assert (status, told["flows_kept"], told["flows"], told["schema"]) == (
        EXIT_CHECK_FAILED, False, 2, version + 1,
    )  # fmt: skip
    assert f"{pop.scene.pins} is in use" in str(told["words"])
    pop.tree = REPOSITORY

    pop.relay["max_flows"] = 5000
    pop.write_config()
    status, told = check(pop)
    assert (status, told["flows_kept"], told["flows"]) == (EXIT_CHECK_FAILED, False, 2)
    assert "has room for" in str(told["words"])
    for call in calls:
        call.exchange(3)

    pop.stop()
    pop.succeed("dataplane", "detach", "--unpin")
    status, told = check(pop)
    assert (status, told["flows_kept"], told["flows"]) == (0, True, 0)
    assert "nothing is pinned" in str(told["words"])
