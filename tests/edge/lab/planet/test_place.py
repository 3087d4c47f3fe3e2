"""What can be done in any place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UnavailableError
from ebpf.net import netns
from edge.lab.planet import spec
from edge.lab.planet.place import Place, handles, until_ended
from tests.edge.kit import eventually
from tests.edge.lab.planet.kit import small


@pytest.fixture
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace")
    site = small(f"o{os.getpid()}").cities[0]
    netns.create(site.namespace)
    made = Place(site)
    yield made
    made.kill_all()
    netns.remove(site.namespace)


@pytest.mark.netns
def test_a_command_runs_there_and_says_how_it_ended(place: Place) -> None:
    inode = netns.identity(place.namespace)
    assert inode is not None
    assert place.run(["readlink", "/proc/self/ns/net"]).stdout.strip() == f"net:[{inode[1]}]"
    ended = place.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "out\n", "err\n")
    assert place.run(["voxpop", "lab", "planet"]).stdout == spec.default_text()
    with pytest.raises(UnavailableError, match="cannot run no-such-program: No such file"):
        place.run(["no-such-program"])
    with pytest.raises(UnavailableError, match=r"sleep 60 did not end within 0\.1 s"):
        place.run(["sleep", "60"], timeout_s=0.1)
    with pytest.raises(UnavailableError, match="cannot run no-such-program"):
        place.start_program(["no-such-program"], Path(os.devnull))


@pytest.mark.netns
def test_all_that_runs_there_is_seen_and_killed(place: Place, tmp_path: Path) -> None:
    place.start_program(["sh", "-c", "trap '' INT TERM; echo ready; sleep 300 & wait"], tmp_path / "log")
    with place.popen(["sleep", "301"]) as other:
        eventually(lambda: len(place.processes()) == 3, "all are there")
        assert [child.name for child in place.children()] == ["sh"]
        assert (tmp_path / "log").read_text() == "ready\n"
        place.kill_all()
        assert other.wait() == -signal.SIGKILL
    assert place.processes() == []
    assert place.children() == []


def test_processes_of_other_parents_can_be_waited_for() -> None:
    script = "import subprocess,sys; p=subprocess.Popen(['sleep','300']); print(p.pid,flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        with handles([parent.pid, child]) as opened:
            with pytest.raises(UnavailableError, match="does not end within 0 s"):
                until_ended(opened, 0)
            for handle in opened:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            until_ended(opened)
    with handles([parent.pid]) as opened:
        assert opened == []
