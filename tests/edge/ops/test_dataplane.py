"""`voxpop dataplane` as operators read it."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.edge.xdp_scene import Pop

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_from_nothing_to_a_fast_path_and_back(stopped: Pop) -> None:
    directory = stopped.scene.pins
    nothing = stopped.run("dataplane", "status")
    assert nothing.returncode == 1
    assert nothing.stdout.splitlines()[:2] == ["pub: nothing attached", "bb: nothing attached"]
    assert str(directory) in nothing.stdout.splitlines()[2]
    assert stopped.succeed("dataplane", "run") == "pub: native\nbb: native\nREADY\n"
    pub, bb, tables = stopped.succeed("dataplane", "status").splitlines()
    for name, line in (("pub", pub), ("bb", bb)):
        assert re.fullmatch(rf"{name}: the fast path, native mode, program \d+", line)
    told = json.loads(stopped.succeed("dataplane", "status", "--json"))
    assert told["problem"] is None
    assert tables == f"{directory}: " + ", ".join(f"{name} {size}" for name, size in told["tables"].items())
    assert {each["name"] for each in told["interfaces"]} == {"pub", "bb"}
    assert stopped.succeed("dataplane", "detach", "--unpin").splitlines() == [
        "pub: detached", "bb: detached", f"{directory}: unpinned",
    ]  # fmt: skip
    assert not directory.exists()
    assert stopped.succeed("dataplane", "detach") == "no interface runs the fast path\n"


def test_an_interface_that_is_not_there_is_said_so(stopped: Pop) -> None:
    stopped.dataplane["interfaces"] = ["pub", "eth9"]
    stopped.write_config()
    told = stopped.run("dataplane", "status")
    assert told.returncode == 1
    assert "eth9: no such interface" in told.stdout
