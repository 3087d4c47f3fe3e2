"""What was rendered for a host, by the programs that will read it, in their own words."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.ansible.units import ROLES
from tests.certificates import self_signed
from tests.exposition import complaints


def judge(host: Path, folder: Path) -> None:
    """Whatever of it is there."""
    for name, reader in (
        ("bird.conf", _bird),
        ("haproxy.cfg", _haproxy),
        ("voxpop.conf", _redis),
        ("prometheus.yml", _prometheus),
    ):
        if (host / name).exists():
            reader(host, folder)


def _say(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0 or "warning" in (done.stdout + done.stderr).lower():
        sys.exit(f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}")


def _moved(source: Path, there: str, here: Path) -> Path:
    """A file that has the paths of this machine."""
    here.mkdir(exist_ok=True)
    target = here / source.name
    target.write_text(source.read_text().replace(there, f"{here}/"))
    return target


def _bird(host: Path, folder: Path) -> None:
    config = _moved(host / "bird.conf", "/etc/bird/voxpop-passwords/", folder / "passwords")
    names = [line.split()[2] for line in config.read_text().splitlines() if line.startswith("protocol bgp ")]
    for name in names:
        (folder / "passwords" / f"{name.removeprefix('to_')}.conf").write_text('password "of a router";\n')
    _say("bird", "-p", "-c", str(config))


def _haproxy(host: Path, folder: Path) -> None:
    config = _moved(host / "haproxy.cfg", "/etc/haproxy/", folder / "haproxy")
    certificate, key = self_signed(folder)
    (config.parent / "voxpop.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    _say("haproxy", "-c", "-f", str(config))


def _redis(host: Path, folder: Path) -> None:
    """It has no mode to check a file: it reads it, listens on a socket of its own, and is ended."""
    config = _moved(host / "voxpop.conf", "/etc/redis/", folder / "redis")
    shutil.copy(host / "voxpop.acl", config.parent)
    quiet = ["--port", "0", "--dir", str(config.parent), "--unixsocket", str(config.parent / "socket")]
    with subprocess.Popen(
        ["redis-server", str(config), *quiet], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "Ready to accept" in line or "accept connections" in line:
                server.terminate()
                break
        else:
            sys.exit(f"redis-server {config}:\n{''.join(said)}")


def _prometheus(host: Path, folder: Path) -> None:
    there = folder / "prometheus"
    config = _moved(host / "prometheus.yml", "/etc/prometheus/", there)
    (there / "voxpop" / "targets").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROLES / "monitoring" / "files" / "rules.yml", there / "voxpop")
    for path in host.glob("targets-*.yml"):
        shutil.copy(path, there / "voxpop" / "targets" / path.name.removeprefix("targets-"))
    _say("promtool", "check", "config", str(config))
    if told := complaints((host / "voxpop.prom").read_text()):
        sys.exit(f"{host}/voxpop.prom:\n{told}")
