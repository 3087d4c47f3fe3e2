"""`voxpop lab` as people run it: it is made, shown, used and removed, whatever happens meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ebpf.net import netns
from edge.lab.plan import DIRECTORY, Place, load
from edge.lab.subnets import Subnets
from tests.edge.lab.kit import PATIENCE_S, assert_nothing_left, start, status, until, voxpop
from tests.reach import reaches

pytestmark = pytest.mark.netns


def test_a_lab_is_made_shown_and_removed(name: str) -> None:
    made = voxpop("up", "--name", name)
    assert made.returncode == 0
    assert "voxpop dataplane run --config" in made.stderr, "it says how to go on"
    found = status(name)
    places = {place["place"]: place for place in found["places"]}
    assert list(places) == ["client", "pop", "region"]
    assert [i["name"] for i in places["pop"]["interfaces"]] == ["public", "backbone"]
    assert all(i["is_up"] and not i["xdp"] for place in places.values() for i in place["interfaces"])
    assert set(load(name).backbone_hosts) < set(places["pop"]["interfaces"][1]["addresses"])
    assert [p["command"].split()[0] for p in places["region"]["processes"]] == ["edge.lab.signaling"]
    checked = subprocess.run(
        [sys.executable, "-m", "voxpop", "config", "check", found["config"]], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    removed = voxpop("down", "--name", name)
    assert (removed.returncode, removed.stdout) == (0, f"lab {name} is gone, with 1 processes\n")
    assert_nothing_left(name)
    assert voxpop("down", "--name", name).stdout == f"there is no lab {name}\n"
    assert voxpop("status", "--name", name).returncode == 1


@pytest.fixture
def machine() -> Iterator[str]:
    """A namespace with an address that labs like to have, another on an interface that is off, a route in a
    table of its own, and default routes.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace")
    made = f"voxpop-test-{os.getpid()}"
    netns.create(made)
    for words in (
        *("link add eth0 type veth peer name far", "link set eth0 up", "link set far up"),
        *("link add off type veth peer name beyond", "addr add 203.0.113.1/24 dev off"),
        *("addr add 192.0.2.2/24 dev eth0", "addr add 2001:db8:b::2/64 dev eth0 nodad"),
        *("route add default via 192.0.2.1", "-6 route add default via 2001:db8:b::1"),
        *(
            "route add 198.51.100.0/24 via 192.0.2.1 table 77",
            "-6 route add 2001:db8:f::/48 via 2001:db8:b::1",
        ),
    ):
        subprocess.run(["ip", "-n", made, *words.split()], check=True)
    yield made
    netns.remove(made)


def test_a_lab_has_addresses_that_its_machine_neither_has_nor_routes(name: str, machine: str) -> None:
    with netns.inside(machine):
        made = voxpop("up", "--name", name, "--client", "host")
    assert made.returncode == 0, made.stderr
    plan, usual = load(name), Subnets()
    for of_lab, of_others in (
        *((plan.subnets.backbone, usual.backbone), (plan.subnets.vips, usual.vips)),
        (plan.subnets.links[:1], usual.links[:1]),
    ):
        assert not set(of_lab) & set(of_others)
    assert plan.subnets.links[1] == usual.links[1], "what is free is as ever"
    pop = plan.namespaces[Place.POP]
    for host in ("192.0.2.2", "2001:db8:b::2", *plan.client_hosts):
        assert reaches(pop, machine, host), "the answer to an address of the machine goes there"
    for vip in plan.vips:
        assert reaches(machine, pop, vip.host)
    with netns.inside(machine):
        assert voxpop("down", "--name", name).returncode == 0


def has_open(process: subprocess.Popen[str], path: Path) -> bool:
    for handle in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if handle.readlink() == path:
                return True
    return False


def in_namespace(name: str, place: Place) -> bool:
    return netns.exists(f"voxpop-{name}-{place}")


def logs(name: str, daemon: str) -> bool:
    return (DIRECTORY / name / "log" / f"{daemon}.log").exists()


STAGES: dict[str, Callable[[str], bool]] = {
    "the directory": lambda name: (DIRECTORY / name).exists(),
    "the first namespace": lambda name: in_namespace(name, Place.CLIENT),
    "the last namespace": lambda name: in_namespace(name, Place.REGION),
    "signaling": lambda name: logs(name, "signaling"),
    "transceiver": lambda name: logs(name, "transceiver"),
    "dataplane": lambda name: logs(name, "dataplane"),
    "relay": lambda name: logs(name, "relay"),
}
"""What can be seen of a lab that is being made, in its order."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_up_that_is_interrupted_at_a_stage_leaves_nothing(name: str, stage: str, number: int) -> None:
    with start("up", "--name", name, "--start", "--foreground") as making:
        until(lambda: STAGES[stage](name), making)
        making.send_signal(number)
        out, err = making.communicate(timeout=PATIENCE_S)
    assert (making.returncode, out) == (130, "")
    assert all("is attached" in line or "is ready" in line for line in err.splitlines()), err
    assert_nothing_left(name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_lab_in_the_foreground_goes_with_a_signal(name: str, number: int) -> None:
    with start("up", "--name", name, "--foreground", "--json") as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        running.send_signal(number)
        _, err = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, err) == (0, "")
    assert_nothing_left(name)


@pytest.mark.parametrize("delay_s", [0.05, 0.1, 0.2, 0.3, 0.6, 0.9, 1.5, 3.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(name: str, delay_s: float, number: int) -> None:
    with start("up", "--name", name, "--start", "--foreground") as making:
        time.sleep(delay_s)  # wherever it is by then
        making.send_signal(number)
        making.communicate(timeout=PATIENCE_S)
    assert_nothing_left(name)


def test_an_up_that_waits_for_another_can_be_interrupted(name: str) -> None:
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (DIRECTORY / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with start("up", "--name", name) as waiting:
            until(lambda: has_open(waiting, Path(lock.name)), waiting)
            waiting.send_signal(signal.SIGTERM)
            waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 130
    assert_nothing_left(name)


@pytest.mark.parametrize("delay_s", [0.5, 0.8, 2.0])
def test_what_a_killed_up_leaves_can_be_removed(name: str, delay_s: float) -> None:
    with start("up", "--name", name, "--start") as making:
        time.sleep(delay_s)  # wherever it is by then
        making.kill()
        making.communicate(timeout=PATIENCE_S)
    assert voxpop("down", "--name", name).returncode == 0
    assert_nothing_left(name)


def test_a_lab_in_the_foreground_ends_with_its_daemons(name: str) -> None:
    with start("up", "--name", name, "--foreground", "--json") as running:
        assert running.stdout is not None
        found = json.loads(running.stdout.readline())
        (signaling,) = found["places"][2]["processes"]
        os.kill(signaling["pid"], signal.SIGKILL)
        _, complaint = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1
    assert "signaling ended" in complaint
    assert_nothing_left(name)
