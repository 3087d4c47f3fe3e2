"""The verbs of `voxpop lab`: what they run, and what they refuse."""

from __future__ import annotations

import os
import subprocess

import pytest

from ebpf.net import netns
from tests.edge.lab.kit import NOBODY, assert_nothing_left, command, status, voxpop

pytestmark = pytest.mark.netns


def test_a_command_runs_in_its_place(name: str) -> None:
    assert voxpop("up", "--name", name).returncode == 0
    inode = netns.identity(f"voxpop-{name}-pop")
    assert inode is not None
    inside = voxpop("exec", "--name", name, "pop", "--", "readlink", "/proc/self/ns/net")
    assert inside.stdout.strip() == f"net:[{inode[1]}]"
    assert voxpop("exec", "--name", name, "client", "--", "sh", "-c", "exit 7").returncode == 7
    missing = voxpop("exec", "--name", name, "region", "--", "/no/such/command")
    assert (missing.returncode, missing.stderr) == (
        1,
        "voxpop: cannot run /no/such/command: No such file or directory\n",
    )
    nowhere = voxpop("exec", "--name", "nowhere", "pop", "--", "true")
    assert nowhere.returncode == 1
    assert "there is no lab nowhere" in nowhere.stderr


def test_two_labs_do_not_meet(name: str) -> None:
    other = f"v{os.getpid()}"
    assert voxpop("up", "--name", name, "--client", "host").returncode == 0
    try:
        assert voxpop("up", "--name", other, "--client", "host").returncode == 0
        again = voxpop("up", "--name", name)
        assert again.returncode == 1
        assert f"lab {name} is there already" in again.stderr
        assert status(name)["vips"] != status(other)["vips"]
        assert status(name)["url"] != status(other)["url"]
    finally:
        voxpop("down", "--name", other)
    assert_nothing_left(other)
    assert status(name)["places"][0]["interfaces"][0]["name"] == f"vp-{name}"


def test_without_rights_it_says_what_is_missing(name: str) -> None:
    for words in (["up", "--name", name], ["down", "--name", name], ["status"]):
        refused = subprocess.run(command(*words), capture_output=True, text=True, user=NOBODY, group=NOBODY)
        assert refused.returncode == 1
        assert "CAP_NET_ADMIN, CAP_SYS_ADMIN missing" in refused.stderr


@pytest.mark.parametrize("bad", ["", "Lab", "a_b", "../x", "a" * 13, "-x"])
def test_a_name_that_interfaces_cannot_have_is_refused(bad: str) -> None:
    refused = voxpop("up", f"--name={bad}")
    assert refused.returncode == 2
    assert "small letters" in refused.stderr
