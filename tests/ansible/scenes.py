"""What the roles render, in the hands of the daemons that it is for: a part of `make check-ansible`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.service import keysfile
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from ebpf.net import netns
from tests.ansible.plugins import module
from tests.certificates import self_signed
from tests.core.store.kit import keeps_the_contract
from tests.edge.lab.bird.kit import HOST_CONFIG, POP_ASN, VIPS, scene
from tests.paths import ROOT
from tests.ports import free_tcp_port
from tests.processes import PATIENCE_S, end


@dataclass
class Ports:
    """Where the hosts of a scene are, before they are there."""

    store: int = field(default_factory=free_tcp_port)
    secure: int = field(default_factory=free_tcp_port)
    https: int = field(default_factory=free_tcp_port)
    management: int = field(default_factory=free_tcp_port)
    east: int = field(default_factory=free_tcp_port)
    west: int = field(default_factory=free_tcp_port)
    relay: int = field(default_factory=free_tcp_port)


def inventory(folder: Path, ports: Ports) -> dict[str, object]:
    """A PoP host and a store on this machine, which the templates are rendered for."""
    region = [
        {"name": name, "hosts": [{"name": f"{name}1", "address": f"127.0.0.1:{port}"}]}
        for name, port in (("east", ports.east), ("west", ports.west))
    ]
    pop = {
        "edge_pop": "near",
        "edge_vips": ["198.51.100.1:3478", "[2001:db8:f::1]:3478"],
        "edge_backbone": ["10.1.1.128"],
        "edge_interfaces": ["eth0"],
        "edge_keys_file": str(folder / "keys.toml"),
        "edge_clusters": [{"id": 1, "ipv4": "10.2.0.0/24", "ports": [40000, 40007]}],
        "signaling_ingress_addresses": ["127.0.0.1", "::1"],
        "signaling_ingress_port": ports.https,
        "signaling_ingress_management": "127.0.0.1",
        "signaling_ingress_management_port": ports.management,
        "signaling_ingress_certificate_file": str(folder / "voice.pem"),
        "signaling_ingress_relay": f"127.0.0.1:{ports.relay}",
        "signaling_ingress_max_connections": 500,
        "signaling_ingress_regions": region,
        "bgp_asn": POP_ASN,
        "bgp_router_id": "10.1.1.2",
        "bgp_announced": [{"prefixes": list(VIPS)}],
        "bgp_always": ["10.1.1.128/32", "fd00:1:1:b::1/128"],
        "bgp_neighbours": [
            {"name": "v4", "address": "10.1.1.1", "asn": POP_ASN, "ttl_security": True},
            {"name": "v6", "address": "fd00:1:1::1", "asn": POP_ASN, "ttl_security": True},
        ],
    }
    store = {"redis_address": "127.0.0.1", "redis_port": ports.store, "redis_maxmemory": "64mb"}
    secure = {**store, "redis_port": ports.secure, "redis_tls": True}
    return {"pops": {"hosts": {"pop": pop}}, "stores": {"hosts": {"store": store, "secure": secure}}}


@contextlib.contextmanager
def run(*command: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in that folder, its log beside it."""
    with (cwd / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd)
    try:
        yield process
    finally:
        end(process, signal.SIGTERM)


def until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def play_store(rendered: Path, folder: Path, port: int, password: str, *, is_secure: bool) -> None:
    """The user of relays can do all that a store does, and nothing else; nobody else can do anything."""
    folder.mkdir()
    for name in ("voxpop.conf", "voxpop.acl"):
        text = (rendered / name).read_text()
        text = text.replace("/etc/redis/", f"{folder}/").replace("/var/lib/redis", str(folder))
        (folder / name).write_text(text)
        assert password not in text
    certificate, key = self_signed(folder)
    key.rename(folder / "voxpop-key.pem")
    trusted = certificate.read_text() if is_secure else None
    certificate.rename(folder / "voxpop-certificate.pem")
    with run("redis-server", "voxpop.conf", cwd=folder) as process:
        until_open(port, process, folder / "log")
        url = f"{'rediss' if is_secure else 'redis'}://127.0.0.1:{port}"
        asyncio.run(_use(url, RedisAccess(2.0, "voxpop", password, trusted)))
        _refused(["redis-cli", "-p", str(port), *(["--tls", "--insecure"] if is_secure else [])], password)
    assert not list(folder.glob("*.rdb")), "nothing is kept"


async def _use(url: str, access: RedisAccess) -> None:
    opened = RedisStore(parse_store_url(url), access)
    try:
        await keeps_the_contract(opened)
    finally:
        await opened.close()


FORBIDDEN = ("FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "GET voxpop:1:x", "SET another:1 x")
"""To the user of relays: the last one for its key."""


def _refused(cli: list[str], password: str) -> None:
    def say(*words: str, **told: str) -> str:
        told = {**os.environ, **told}
        done = subprocess.run([*cli, *words], capture_output=True, text=True, env=told, check=False)
        return done.stdout + done.stderr

    assert "NOAUTH" in say("PING")
    for words in FORBIDDEN:
        assert "NOPERM" in say("--user", "voxpop", *words.split(), REDISCLI_AUTH=password), words


def play_bird(rendered: Path, folder: Path) -> None:
    """Who speaks BFD is told from who does not; VIPs are announced while the checker lives."""
    folder.mkdir()
    (folder / "voxpop.toml").write_text(HOST_CONFIG)
    keysfile.new(folder / "keys.toml")
    probe = module("modules", "bfd_neighbours")
    with scene(folder, hosts=1) as made, contextlib.ExitStack() as stack:
        end(made.birds["host1"], signal.SIGKILL)
        with netns.inside(made.namespace("host1")):
            neighbours = ["10.1.1.1", "fd00:1:1::1", "10.1.1.9"]
            assert probe.silent(neighbours, 5.0) == ["10.1.1.9"], "no host has that address"
        shutil.copy(rendered / "bird.conf", folder / "host1.conf")
        made.start("host1")
        made.until(lambda: bool(made.next_hops("city", "10.1.1.0/24")))

        def start(verb: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "voxpop", verb, "--config", str(folder / "voxpop.toml")]
            with netns.inside(made.namespace("host1")), (folder / f"{verb}.log").open("ab") as log:
                child = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
            stack.callback(end, child)
            return child

        start("relay")
        checker = start("announce")
        made.until(lambda: all(made.next_hops("pop", vip) for vip in VIPS))
        assert made.next_hops("pop", "10.1.1.128/32"), "what is announced always"
        checker.kill()
        made.until(lambda: not any(made.next_hops("pop", vip) for vip in VIPS))
        assert made.next_hops("pop", "10.1.1.128/32")
        sessions = made.control("host1").bfd_sessions()
        assert len(sessions) == 2
        assert all(session.is_up for session in sessions)
