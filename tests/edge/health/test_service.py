"""The real thing: relay, checker and BIRD on a host, and what its router knows of the VIPs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.service import keysfile
from ebpf.net import netns
from ebpf.net.netns import Wiring
from edge.health.service import HANG_S, RIGHTS
from tests.edge.lab.bird.kit import HOST_CONFIG, UP, VIPS, Scene, scene
from tests.processes import PATIENCE_S, end
from tests.rights import only, rights

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="needs BIRD"),
]

INTERVAL_S, LIMIT_S = 0.1, HANG_S + 0.6
"""By HOST_CONFIG; the limit is that of a check that hangs."""


class Host:
    """A PoP host: its relay, its checker, and its VIPs as the router sees them."""

    def __init__(self, made: Scene, stack: ExitStack) -> None:
        self.scene = made
        self._stack = stack
        self.config = made.folder / "voxpop.toml"
        self.config.write_text(HOST_CONFIG)
        keysfile.new(made.folder / "keys.toml")
        self.lines = made.folder / "announce.json"

    def start(self, verb: str, *words: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "voxpop", verb, "--config", str(self.config), *words]
        with (
            netns.inside(self.scene.namespace("host1")),
            (self.scene.folder / f"{verb}.log").open("ab") as log,
        ):
            child = subprocess.Popen(command, stdout=stdout, stderr=log, start_new_session=True)
        self._stack.callback(finish, child)
        return child

    def announce(self) -> subprocess.Popen[bytes]:
        """Its state by JSON lines in a file."""
        with self.lines.open("ab") as lines:
            return self.start("announce", "--json", stdout=lines.fileno())

    def voxpop(self, *words: str) -> None:
        command = [sys.executable, "-m", "voxpop", *words, "--config", str(self.config)]
        subprocess.run(command, check=True, capture_output=True)

    def states(self) -> list[str]:
        """Every state that the checker has told of."""
        return [json.loads(line)["state"] for line in self.lines.read_text().splitlines()]

    def until_announced(self) -> float:
        return self.scene.until(
            lambda: all(self.scene.next_hops(place, vip) for place in ("pop", "city") for vip in VIPS)
        )

    def until_withdrawn(self) -> float:
        return self.scene.until(lambda: not any(self.scene.next_hops("pop", vip) for vip in VIPS))

    def has_its_addresses(self) -> bool:
        shown = self.scene.ip("host1", "addr", "show", "dev", "lo")
        return "198.51.100.1/32" in shown and "2001:db8:f::1/128" in shown


def finish(child: subprocess.Popen[bytes]) -> None:
    """End one that may be stopped."""
    child.send_signal(signal.SIGCONT)
    end(child)


Well = tuple[Host, subprocess.Popen[bytes], subprocess.Popen[bytes]]
"""A host, its relay, its checker."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with scene(tmp_path, hosts=1) as made, ExitStack() as stack:
        yield Host(made, stack)


@pytest.fixture
def well(host: Host) -> Well:
    """With relay and checker, announced."""
    relay, checker = host.start("relay"), host.announce()
    host.until_announced()
    return host, relay, checker


def test_vips_are_announced_while_the_relay_is_ready_and_not_in_a_drain(
    well: Well, say: Callable[[str], None]
) -> None:
    host, _, checker = well
    host.voxpop("drain", "relay")
    took_s = host.until_withdrawn()
    say(f"withdrawn {took_s:.2f} s after `voxpop drain` had returned, asking every {INTERVAL_S} s")
    assert host.has_its_addresses(), "who is still sent here is answered"
    assert host.scene.next_hops("pop", "10.1.1.128/32"), "transceivers still answer here"
    host.voxpop("undrain", "relay")
    host.until_announced()
    assert end(checker, signal.SIGTERM) == 0
    host.until_withdrawn()
    assert host.states() == ["withdrawn", "announced", "draining", "withdrawn", "announced"]


def test_a_relay_that_dies_has_fallen_and_is_held_down_when_it_is_back(
    well: Well, say: Callable[[str], None]
) -> None:
    host, relay, _ = well
    relay.kill()
    say(f"withdrawn {host.until_withdrawn():.2f} s after SIGKILL of the relay, by 5 checks in a row")
    relay.wait()
    host.start("relay")
    host.until_announced()
    states = host.states()
    assert states[:3] == ["withdrawn", "announced", "held_down"]
    assert states[-1] == "announced"
    assert "the relay fell (refused), and is held down for 1 s" in host.scene.logs()["announce.log"]


def test_a_relay_that_hangs_is_one_that_does_not_answer(well: Well) -> None:
    host, relay, _ = well
    relay.send_signal(signal.SIGSTOP)
    host.until_withdrawn()
    host.scene.until(lambda: host.states()[-1] == "held_down")
    assert "the relay fell (late)" in host.scene.logs()["announce.log"]
    relay.send_signal(signal.SIGCONT)
    host.until_announced()


def test_a_checker_that_is_killed_withdraws(well: Well, say: Callable[[str], None]) -> None:
    host, relay, checker = well
    checker.kill()
    say(f"withdrawn {host.until_withdrawn():.2f} s after SIGKILL of the checker")
    assert checker.wait(PATIENCE_S) == -signal.SIGKILL
    assert relay.poll() is None
    assert host.has_its_addresses()
    host.announce()
    host.until_announced()


@pytest.mark.slow
def test_a_checker_that_stands_still_is_ended_when_it_goes_on(well: Well) -> None:
    """It checked for more than the limit before, so it is not its age that ends it."""
    host, _, checker = well
    host.scene.until(lambda: checks(host) * INTERVAL_S > LIMIT_S + 1)
    checker.send_signal(signal.SIGSTOP)
    time.sleep(LIMIT_S + 0.5)
    checker.send_signal(signal.SIGCONT)
    assert checker.wait(PATIENCE_S) == -signal.SIGALRM
    host.until_withdrawn()


def test_a_host_that_dies_is_withdrawn_by_bfd(well: Well, say: Callable[[str], None]) -> None:
    """All at once, and without a goodbye: the router's own port keeps its carrier."""
    host, relay, checker = well
    with Wiring(host.scene.namespace("pop")) as pop:
        pop.down("port1")
    for process in (relay, checker, host.scene.birds["host1"]):
        process.kill()
    say(f"withdrawn {host.until_withdrawn():.2f} s after the host was gone (BFD, 300 ms × 3)")


def test_a_routing_daemon_that_dies_is_withdrawn_and_announces_again_when_it_is_back(well: Well) -> None:
    host, _, checker = well
    end(host.scene.birds["host1"], signal.SIGKILL)
    host.until_withdrawn()
    host.scene.start("host1")
    host.until_announced()
    assert checker.poll() is None


def test_a_reload_has_it_go_on_as_what_is_installed_and_withdraws_nothing(well: Well) -> None:
    """The same process with the same interface, which lasts no longer than the process."""
    host, _, checker = well
    assert rights(checker.pid) == only(RIGHTS)
    before = host.scene.ip("host1", "-oneline", "link", "show", UP)
    text = host.config.read_text()
    host.config.write_text(text.replace("[announce]", "[announce]\nfall = 5.5"))
    checker.send_signal(signal.SIGHUP)
    host.scene.until(lambda: "goes on as it is, for" in host.scene.logs()["announce.log"])
    host.config.write_text(text.replace("fall = 5", "fall = 50"))
    checker.send_signal(signal.SIGHUP)
    host.scene.until(lambda: host.states() == ["withdrawn", "announced", "announced"])
    assert host.scene.ip("host1", "-oneline", "link", "show", UP) == before
    assert checker.poll() is None
    host.scene.until(lambda: checks(host) > 0)
    assert rights(checker.pid) == only(RIGHTS)
    checker.kill()
    host.until_withdrawn()


def test_a_service_manager_hears_that_it_is_ready_and_lives(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE_S)
        manager.bind(str(host.scene.folder / "notify.sock"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(host.scene.folder / "notify.sock"))
        host.announce()
        heard = [manager.recv(1000).decode() for _ in range(4)]
    not_announced = "STATUS=not announced: the relay has to be ready 2 times in a row"
    assert heard == ["READY=1", not_announced, "WATCHDOG=1", "WATCHDOG=1"]


def test_a_second_checker_is_told_that_there_is_one(well: Well) -> None:
    host, _, checker = well
    text = host.config.read_text().replace("[announce]", '[announce]\nmetrics = "127.0.0.1:9467"')
    host.config.write_text(text)
    second = host.announce()
    assert second.wait(PATIENCE_S) == 1
    assert "no other interface has" in host.scene.logs()["announce.log"]
    assert checker.poll() is None
    assert host.scene.next_hops("pop", VIPS[0])


def checks(host: Host) -> int:
    """How often the checker has asked."""
    ask = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())"
    with netns.inside(host.scene.namespace("host1")):
        command = [sys.executable, "-c", ask, "http://127.0.0.1:9466/metrics"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(float(text.partition('checks_total{outcome="ready"} ')[2].split()[0]))
