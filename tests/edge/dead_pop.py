"""The clients of a PoP that died arrive at one host as media at once, many from behind one address."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.addr import Endpoint
from core.store.base import Entry
from core.store.flow_record import encode
from core.store.keys import flow_key
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from ebpf.net import netns
from tests.bench.udp_batch import Sender
from tests.builders import UdpFrame
from tests.edge.kit import KEYRING, MEDIA, mint_ufrag
from tests.edge.xdp_scene import TRANSCEIVERS, VIPS, Call, Pop, Scene
from tests.processes import cpu_ns
from tests.redis_server import Server
from tests.redis_server import running as redis_running

FLOWS = 20_000
BEHIND_ONE_NAT = FLOWS // 10
WORKERS = 2
NAT, PREFIX = "198.19.255.1", "198.18.0.0/15"
FLOWS_PER_TOKEN = 8
CHUNK = 250
ROUND_S = 0.4
"""A packet of each client in this time: 50,000 a second, more than twice what may come up."""
LEASE_S = 600
PACKET_S, PACKETS_PER_LOOK = 0.02, 5
"""Of the established call."""
PATIENCE_S = 120.0
OF_WORKERS = "workers"


@dataclass(frozen=True)
class Outcome:
    """What became of all of them."""

    took_s: float
    """From the first packet until each has a flow."""
    exchanged: int
    """Packets each way of an established call meanwhile, of which none was lost."""
    cores: float
    """How many the workers had, on average of that time."""
    cpu_s: Mapping[str, float]
    """What each took: the workers, the store, and the crowd with all else of this process."""
    samples: Mapping[tuple[str, ...], int]
    """The relay's metrics at the end."""


def clients() -> list[Endpoint]:
    """A tenth behind one address, the others at one of their own."""
    alone = [Endpoint(f"198.18.{n >> 8}.{n & 255}", 5000) for n in range(FLOWS - BEHIND_ONE_NAT)]
    return [Endpoint(NAT, 20_000 + n) for n in range(BEHIND_ONE_NAT)] + alone


async def leave_records(redis: Server, everybody: Sequence[Endpoint], port: int) -> None:
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


def mac_of(namespace: str, interface: str) -> bytes:
    command = ["ip", "-n", namespace, "-j", "link", "show", interface]
    (link,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return bytes.fromhex(link["address"].replace(":", ""))


def media_of(scene: Scene, everybody: Sequence[Endpoint]) -> tuple[socket.socket, Sender]:
    """A packet of each, ready to be sent by a socket that is to be closed."""
    macs = mac_of(scene.pop, "pub") + mac_of(scene.client, "c0")
    frames = [bytes(UdpFrame(client, VIPS[0], MEDIA, macs)) for client in everybody]
    with netns.inside(scene.client):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # receives nothing
        opened.bind(("c0", 0))
    return opened, Sender(opened, frames, None)


class Crowd:
    """All of them, each sending again and again, from a thread."""

    def __init__(self, scene: Scene, everybody: Sequence[Endpoint]) -> None:
        self._socket, self._sender = media_of(scene, everybody)
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


def drill(folder: Path) -> Outcome:
    """Until all have flows. AssertionError when the established call loses a packet, or it takes minutes."""
    everybody = clients()
    with redis_running(Server(folder / "redis")) as redis, Scene(folder) as scene:
        scene.ip(scene.pop, "route", "add", PREFIX, "via", "203.0.113.2")
        store = f"unix://{redis.path}"
        with Pop(scene, store=store, max_flows=FLOWS + 2000, workers=WORKERS, idle_timeout_s=300) as pop:
            pop.succeed("dataplane", "run")
            pop.start()
            established = Call(pop).begin()
            theirs = scene.peer(scene.region, TRANSCEIVERS[0])  # read by nobody; what is too much is dropped
            asyncio.run(leave_records(redis, everybody, theirs.address.port))
            crowd = Crowd(scene, everybody)
            began, before = time.monotonic(), _cpu_s(pop, redis)
            with crowd:
                exchanged = _until_restored(pop, established)
                took_s, after = time.monotonic() - began, _cpu_s(pop, redis)
            samples = pop.samples()
    cpu_s = {who: after[who] - before[who] for who in after}
    return Outcome(took_s, exchanged, cpu_s[OF_WORKERS] / took_s, cpu_s, samples)


def _until_restored(pop: Pop, established: Call) -> int:
    """Wait for all, in a call that goes on as calls do; how many packets it exchanged, each of which arrived.
    To look is seldom: it takes time of the same cores, which the crowd's flows are to have.
    """
    deadline, exchanged = time.monotonic() + PATIENCE_S, 0
    while pop.summary()["flows"] != FLOWS + 1:
        for _ in range(PACKETS_PER_LOOK):
            established.exchange()
            time.sleep(PACKET_S)
        exchanged += PACKETS_PER_LOOK
        assert time.monotonic() < deadline, pop.samples()
    return exchanged


def _cpu_s(pop: Pop, redis: Server) -> dict[str, float]:
    """What each has used so far."""
    assert redis.process is not None
    workers, store = sum(map(cpu_ns, pop.worker_pids())) / 1e9, cpu_ns(redis.process.pid) / 1e9
    return {OF_WORKERS: workers, "store": store, "crowd and test": time.process_time()}
