"""A planet is made whole or not at all, and removed whatever state it is in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import ConfigError, UnavailableError
from ebpf.net import netns
from edge.lab import lab
from edge.lab.plan import DIRECTORY
from edge.lab.planet import lifecycle, programs
from tests.edge.lab.kit import PATIENCE_S, start, until, voxpop
from tests.edge.lab.planet.kit import SMALL, assert_nothing_left, processes_of

pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"l{os.getpid()}"
    yield chosen
    lab.down(chosen)
    assert_nothing_left(chosen)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "planet.toml"
    path.write_text(SMALL)
    return str(path)


STAGES: dict[str, Callable[[str], bool]] = {
    "the directory": lambda name: (DIRECTORY / name).exists(),
    "the first namespace": lambda name: netns.exists(f"voxpop-{name}-city-tokyo"),
    "the last namespace": lambda name: netns.exists(f"voxpop-{name}-wan"),
    "the WAN": lambda name: (DIRECTORY / name / "wan" / "wan.log").exists(),
    "Redis": lambda name: (DIRECTORY / name / "redis-europe" / "redis.log").exists(),
    "the first BIRD": lambda name: (DIRECTORY / name / "city-tokyo" / "bird.log").exists(),
    "a transceiver": lambda name: (DIRECTORY / name / "region-europe-1" / "transceiver.log").exists(),
    "a relay": lambda name: (DIRECTORY / name / "pop-frankfurt-1" / "relay.log").exists(),
}
"""What can be seen of a planet that is being made, in its order."""


@pytest.mark.parametrize("stage", STAGES)
def test_an_up_that_is_interrupted_at_a_stage_leaves_nothing(name: str, file: str, stage: str) -> None:
    with start("up", "--planet", file, "--name", name, "--start") as making:
        until(lambda: STAGES[stage](name), making)
        making.send_signal(signal.SIGTERM)
        out, _ = making.communicate(timeout=PATIENCE_S)
    assert (making.returncode, out) == (130, "")
    assert_nothing_left(name)


@pytest.mark.parametrize("stage", ["the directory", "the last namespace", "the first BIRD", "a relay"])
def test_what_a_killed_up_leaves_can_be_removed(name: str, file: str, stage: str) -> None:
    with start("up", "--planet", file, "--name", name, "--start") as making:
        until(lambda: STAGES[stage](name), making)
        making.kill()
        making.communicate(timeout=PATIENCE_S)
    assert voxpop("down", "--name", name).returncode == 0
    assert_nothing_left(name)


def test_a_planet_can_be_removed_whatever_its_file_says(name: str) -> None:
    with lifecycle.running(SMALL, name, start=False):
        (DIRECTORY / name / "planet.toml").write_text("of a later version")
        assert lab.down(name) == 10, "the WAN, eight BIRDs, a Redis"
        assert_nothing_left(name)
        (DIRECTORY / name).mkdir()  # for the block's end, which is to find a lab


def test_a_planet_in_the_foreground_goes_with_a_signal_and_with_its_processes(name: str, file: str) -> None:
    with start("up", "--planet", file, "--name", name, "--foreground", "--json") as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, "Traceback" in err) == (0, False)
    assert_nothing_left(name)
    with start("up", "--planet", file, "--name", name, "--foreground", "--json") as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        (pid,) = [
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if netns.identity_of_process(int(entry.name)) == netns.identity(f"voxpop-{name}-pop-tokyo")
        ]
        os.kill(pid, signal.SIGKILL)
        _, complaint = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, "bird ended" in complaint) == (1, True)
    assert_nothing_left(name)


def test_a_block_that_fails_leaves_nothing(name: str) -> None:
    def fail() -> None:
        with lifecycle.running(SMALL, name, start=False):
            assert lifecycle.is_planet(name)
            assert name in lab.names()
            assert processes_of(name)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert_nothing_left(name)
    assert not lifecycle.is_planet(name)


def test_a_name_is_taken_once_whatever_kind_of_lab_has_it(name: str) -> None:
    with lifecycle.running(SMALL, name, start=False):
        for again in (["up", "--name", name], ["up", "--planet", "--name", name]):
            refused = voxpop(*again)
            assert refused.returncode == 1
            assert f"lab {name} is there already" in refused.stderr


def test_what_is_wrong_is_said_before_anything_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        lifecycle.up(name, "", start=False, tell=print)
    wrong = SMALL.replace("max_loop_lag_ms = 10000", "max_loop_lag_ms = 0")
    with pytest.raises(ConfigError, match=r"region-europe-1/voxpop\.toml: transceiver\.max_loop_lag_ms must"):
        lifecycle.up(name, wrong, start=False, tell=print)
    assert_nothing_left(name)
    monkeypatch.setitem(programs.PACKAGES, "no-such-program", "no-such-package")
    with pytest.raises(UnavailableError, match="apt install no-such-package"):
        lifecycle.up(name, SMALL, start=False, tell=print)
    assert_nothing_left(name)
