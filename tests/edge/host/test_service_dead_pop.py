"""The clients of a PoP that died arrive at one host as media at once, many from behind one address."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.store.base import Entry
from core.store.flow_record import encode
from core.store.keys import flow_key
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from ebpf.net import netns
from tests.bench.udp_batch import Sender
from tests.builders import UdpFrame
from tests.edge.kit import KEYRING, MEDIA, eventually, mint_ufrag
from tests.edge.xdp_scene import VIPS, Call, Pop, Scene
from tests.redis_server import Server
from tests.redis_server import running as redis_running

pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

FLOWS = 20_000
BEHIND_ONE_NAT = FLOWS // 10
NAT, PREFIX = "198.19.255.1", "198.18.0.0/15"
FLOWS_PER_TOKEN = 8
CHUNK = 250
ROUND_S = 0.4
"""A packet of each client in this time: 50,000 a second, more than twice what may come up."""
LEASE_S = 600


def clients() -> list[Endpoint]:
    """A tenth behind one address, the others at one of their own."""
    alone = [Endpoint(f"198.18.{n >> 8}.{n & 255}", 5000) for n in range(FLOWS - BEHIND_ONE_NAT)]
    return [Endpoint(NAT, 20_000 + n) for n in range(BEHIND_ONE_NAT)] + alone


async def leave_records(redis: Server, everybody: list[Endpoint], port: int) -> None:
    """What the relay of the dead PoP has written."""
    store = RedisStore(parse_store_url(f"unix://{redis.path}"), RedisAccess(10))
    until_s = int(time.time()) + LEASE_S
    for begin in range(0, len(everybody), 1000):
        entries = []
        for at, client in enumerate(everybody[begin : begin + 1000]):
            if at % FLOWS_PER_TOKEN == 0:
                ufrag = mint_ufrag(port, host=1)
            value = encode(VIPS[0], client, ufrag, until_s, KEYRING)
            entries.append(Entry(flow_key(VIPS[0], client), value, LEASE_S * 1000))
        await store.set_many(entries)
    await store.close()


def mac_of(scene: Scene, namespace: str, interface: str) -> bytes:
    command = ["ip", "-n", namespace, "-j", "link", "show", interface]
    (link,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return bytes.fromhex(link["address"].replace(":", ""))


class Crowd:
    """All of them, each sending again and again, from a thread."""

    def __init__(self, scene: Scene, everybody: list[Endpoint]) -> None:
        macs = mac_of(scene, scene.pop, "pub") + mac_of(scene, scene.client, "c0")
        frames = [bytes(UdpFrame(client, VIPS[0], MEDIA, macs)) for client in everybody]
        with netns.inside(scene.client):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._socket.bind(("c0", 0))
        self._sender = Sender(self._socket, frames, None)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        pause_s = ROUND_S * CHUNK / FLOWS
        while True:
            for begin in range(0, FLOWS, CHUNK):
                if self._is_over.wait(pause_s):
                    return
                self._sender.send(begin, CHUNK)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._socket.close()


def test_all_are_carried_again_and_the_budgets_do_not_strangle_those_behind_one_address(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    everybody = clients()
    with redis_running(Server(tmp_path / "redis")) as redis, Scene(tmp_path) as scene:
        scene.ip(scene.pop, "route", "add", PREFIX, "via", "203.0.113.2")
        store = f"unix://{redis.path}"
        with Pop(scene, store=store, max_flows=FLOWS + 2000, workers=2, idle_timeout_s=300) as pop:
            pop.succeed("dataplane", "run")
            pop.start()
            established = Call(pop).begin()
            asyncio.run(leave_records(redis, everybody, established.transceiver.address.port + 1))
            began = time.monotonic()
            with Crowd(scene, everybody):
                exchanged = 0
                while pop.samples()["relay_recalls_total", "restored"] < FLOWS:
                    established.exchange(20)  # of which each arrives
                    exchanged += 20
                    assert time.monotonic() - began < 120, pop.samples()
                took_s = time.monotonic() - began
            samples = pop.samples()
            eventually(lambda: pop.summary()["flows"] == FLOWS + 1, "all have flows")
    refused = {
        name: samples["fastpath_packets_total", "ipv4", name]
        for name in ("punt_media", "drop_source_budget", "drop_total_budget")
    }
    failures = {key[1]: n for key, n in samples.items() if key[0] == "relay_store_failures_total" and n}
    outcomes = {key[1]: n for key, n in samples.items() if key[0] == "relay_recalls_total" and n}
    assert "not_found" not in outcomes
    say(
        f"{FLOWS:,} flows of a dead PoP, {BEHIND_ONE_NAT:,} behind one NAT: carried again within "
        f"{took_s:.1f} s; {refused}, asked {outcomes}, store failures {failures}; an established "
        f"call exchanged {exchanged} packets each way and lost none"
    )
