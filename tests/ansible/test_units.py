"""The systemd units: sound, tight, and enough for each daemon to work."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import AnnounceSettings
from ebpf.net import netns
from edge.host.capabilities import DATAPLANE, RELAY, WORKER
from tests.ansible.confine import USERS, prefix
from tests.ansible.units import UNITS, read, words
from tests.edge.xdp_scene import Call, Pop, Scene, carried
from tests.paths import ROOT
from tests.processes import PATIENCE_S, end

RELAY_START_MS = 2000
"""From its process to its first good answer, on a host that has other things to do."""
LIMIT = 2.0
"""Of what `systemd-analyze security` counts, from 0 to 10."""
netns_test = pytest.mark.netns
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")


def test_there_is_one_for_each_process_of_a_host() -> None:
    assert set(UNITS) == {f"voxpop-{name}" for name in ("announce", "dataplane", "relay", "transceiver")}


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_fault(name: str, tmp_path: Path) -> None:
    """With a command that is there: the real one is installed later."""
    for other, path in UNITS.items():
        text = path.read_text().replace("/opt/voxpop/current/bin/voxpop", "/bin/true")
        (tmp_path / f"{other}.service").write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{name}.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_each_is_as_tight_as_it_was(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS[name])]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"exposure level for \S+: ([0-9.]+)", told)
    assert found is not None, told
    assert float(found[1]) <= LIMIT, told


@pytest.mark.parametrize("name", UNITS)
def test_what_the_product_says_that_it_needs_is_what_it_gets(name: str) -> None:
    service = read(UNITS[name])["Service"]
    needed = {
        "voxpop-dataplane": {f"CAP_{each.name}" for each in DATAPLANE},
        "voxpop-relay": {f"CAP_{each.name}" for each in RELAY},
        "voxpop-announce": {"CAP_NET_ADMIN"},
        "voxpop-transceiver": set(),
    }
    assert set(words(service, "CapabilityBoundingSet")) == needed[name]
    assert set(words(service, "AmbientCapabilities")) == needed[name]
    assert service["LimitCORE"] == ["0"], "a dump has the keys in it"
    assert service["User"][0] in USERS


def test_a_relay_that_starts_anew_is_back_before_its_checker_withdraws_it() -> None:
    """As after an upgrade, while the fast path carries its flows."""
    [away] = read(UNITS["voxpop-relay"])["Service"]["RestartSec"]
    checked = AnnounceSettings()
    patience_ms = checked.fall * checked.interval_ms
    assert int(away.removesuffix("ms")) + RELAY_START_MS <= patience_ms


def test_a_checker_is_replaced_by_a_reload() -> None:
    [reload] = read(UNITS["voxpop-announce"])["Service"]["ExecReload"]
    assert reload == "/bin/kill -HUP $MAINPID"


class ConfinedPop(Pop):
    """Its daemons run as their units have them; what an operator types runs as root."""

    unit: str | None = None

    def command(self, *arguments: str, config: bool = True) -> list[str]:
        enter, net, *command = super().command(*arguments, config=config)
        if self.unit is None:
            return [enter, net, *command]
        # The checkout may be where that user cannot come.
        moved = 'mount --bind "$1" /mnt && cd /mnt && shift && exec "$@"'
        place = ["unshare", "--mount", "--propagation=slave", "sh", "-c", moved, "sh", str(ROOT)]
        confined = [word.replace(str(ROOT), "/mnt") for word in [*prefix(UNITS[self.unit]), *command]]
        return [enter, net, *place, *confined]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where every user can come."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="voxpop-units-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@netns_test
@needs_root
def test_fast_path_and_relay_work_with_the_rights_of_their_units_and_others_read_nothing(
    folder: Path,
) -> None:
    edge = USERS["voxpop-edge"]
    with Scene(folder) as scene, contextlib.ExitStack() as stack:
        pop = ConfinedPop(scene, dataplane={"cache_dir": str(folder / "cache")})
        stack.callback(pop.stop)
        own = [pop.scene.pin_root / "voxpop", folder / "cache", folder / "run"]
        for path in own:
            path.mkdir(mode=0o700)
        pop.relay["admin_socket"] = "run/relay.sock"
        pop.write_config()
        for path in (*own, folder / "keys.toml"):
            os.chown(path, edge, edge)
        (folder / "keys.toml").chmod(0o400)
        pop.unit = "voxpop-dataplane"
        assert pop.succeed("dataplane", "run") == "pub: native\nbb: native\nREADY\n"
        pop.unit = "voxpop-relay"
        pop.start()
        assert pop.process is not None
        assert rights(pop.process.pid) == (edge, {each.value for each in RELAY})
        for pid in pop.worker_pids():
            assert rights(pid) == (edge, {each.value for each in WORKER})
        call = Call(pop).begin()
        before = carried(pop, "fast")
        call.exchange(20)
        assert carried(pop, "fast") - before == 20
        pop.unit = None
        assert json.loads(pop.succeed("drain", "status", "--json").splitlines()[0])["state"] == "ready"
        pop.succeed("dataplane", "check")

        for path in (
            folder / "keys.toml",
            folder / "run" / "relay.sock",
            scene.pins / "config",
            folder / "cache",
        ):
            assert path.exists()
            assert not stranger_can_open(path), path


def rights(pid: int) -> tuple[int, set[int]]:
    """User and effective capabilities, which must be all that it has."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    sets = {name: int(lines[name], 16) for name in ("CapEff", "CapPrm", "CapAmb")}
    assert len(set(sets.values())) == 1, sets
    assert lines["NoNewPrivs"].strip() == "1"
    assert lines["Seccomp"].strip() == "2"
    return int(lines["Uid"].split()[0]), {bit for bit in range(64) if sets["CapEff"] >> bit & 1}


def stranger_can_open(path: Path) -> bool:
    """Whether another user of the host can read a file, list a folder, or connect to a socket."""
    attempt = (
        "import os, socket, sys\n"
        "path = sys.argv[1]\n"
        "try:\n"
        "    if path.endswith('.sock'): socket.socket(socket.AF_UNIX).connect(path)\n"
        "    else: os.listdir(path) if os.path.isdir(path) else os.open(path, os.O_RDONLY)\n"
        "except OSError: sys.exit(7)\n"
    )
    stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
    command = [*stranger, "/usr/bin/python3", "-c", attempt, str(path)]
    status = subprocess.run(command, cwd="/", check=False).returncode
    assert status in (0, 7)
    return status == 0


@netns_test
@needs_root
def test_the_checker_works_with_the_rights_of_its_unit(folder: Path) -> None:
    config = folder / "voxpop.toml"
    config.write_text(
        '[token]\nkeys_file = "keys.toml"\n'
        '[[cluster]]\nid = 1\nipv4 = "10.2.0.0/24"\nports = [40000, 40007]\n'
        '[relay]\npop = "here"\nvips = ["198.51.100.1:3478"]\n[announce]\ninterval_ms = 100\n'
    )
    os.chown(config, 0, USERS["voxpop-edge"])
    config.chmod(0o640)
    name = f"vpx-{os.getpid()}-checker"
    netns.create(name)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, netns.inside(name):
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            manager.settimeout(PATIENCE_S)
            manager.bind(str(folder / "manager.sock"))
            (folder / "manager.sock").chmod(0o666)
            # As udev leaves it on any host, which not every machine of a test has.
            tun = "mount -t tmpfs none /mnt && mknod -m 666 /mnt/tun c 10 200"
            there = f'{tun} && mount --bind /mnt/tun /dev/net/tun && exec "$@"'
            place = ["unshare", "--mount", "sh", "-c", there, "sh"]
            confined = [*place, *prefix(UNITS["voxpop-announce"]), sys.executable, "-m", "voxpop", "announce"]
            told = {**os.environ, "NOTIFY_SOCKET": str(folder / "manager.sock")}
            with subprocess.Popen([*confined, "--config", str(config)], cwd=ROOT, env=told) as checker:
                try:
                    assert manager.recv(100) == b"READY=1", "it has made its interface"
                    assert manager.recv(1000).startswith(b"STATUS=not announced")
                    assert manager.recv(100) == b"WATCHDOG=1"
                finally:
                    end(checker)
    finally:
        netns.remove(name)


@needs_root
@pytest.mark.slow
def test_calls_work_with_the_rights_of_a_transceiver(folder: Path) -> None:
    """Relay, transceiver and caller of a demo: none needs more, all libraries of calls are in it."""
    confined = prefix(UNITS["voxpop-transceiver"], "capset")  # by which a demo has its children end with it
    command = [*confined, sys.executable, "-m", "voxpop", "demo", "--once"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 lost" in done.stdout
