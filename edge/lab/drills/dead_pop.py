"""A PoP is dead, and the network leads its clients to one host of another: 20,000 flows arrive as media at
once, a tenth of them from behind one carrier-grade NAT.
"""

from __future__ import annotations

import asyncio
import time

from core.addr import Endpoint
from core.keyring import Keyring
from core.service import interrupt
from core.service.files import load_masters
from core.store.base import Entry
from core.store.flow_record import encode
from core.store.keys import flow_key
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from core.token import Token, expiry_after, mint
from ebpf.net import netns
from edge.lab.drills.daemons import reload
from edge.lab.drills.drill import BEFORE, CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.flood import Flood, datagram
from edge.lab.drills.stage import Stage
from edge.lab.drills.status import RESTORED, metrics
from edge.lab.drills.store import Store, running
from edge.lab.lab import Running
from edge.lab.plan import Place

FLOWS, SHORT_FLOWS = 20_000, 1_000
CALLERS = 10
ROOM = 2_000
"""For flows of our own, beside those."""
FLOWS_PER_TOKEN = 8
"""Calls of one transceiver that share a ufrag here; each flow has a record of its own."""
NAT_HOST = "100.127.255.1"
ROUND_S = 0.4
"""A packet of each client in this time: more than twice what may come up."""
LEASE_S, BATCH = 600, 1000
TIMEOUT_S, POLL_S = 120.0, 0.1
TAKEN, REFUSED = "all carried again after", "refused by a budget"


def _clients(flows: int) -> list[Endpoint]:
    """A tenth behind one address, the others at one of their own, of those that RFC 6598 keeps for NATs."""
    behind = flows // 10
    alone = [Endpoint(f"100.64.{n >> 8}.{n & 255}", 5000) for n in range(flows - behind)]
    return [Endpoint(NAT_HOST, 20_000 + n) for n in range(behind)] + alone


def _play(stage: Stage) -> Outcome:
    clients = _clients(int(stage.pick(FLOWS, SHORT_FLOWS)))
    relay = {"max_flows": FLOWS + ROOM, "idle_timeout_s": 300}
    with (
        running(stage.directory) as store,
        stage.lab(relay=relay, backbones=2, store={"url": store.url}) as lab,
        stage.lab_callers(lab, stage.calls(CALLERS)) as crowd,
    ):
        crowd.until_connected()
        asyncio.run(_leave_records(lab, store, clients, _nobodys_port(lab)))
        vip = lab.plan.vips[0]
        packets = [datagram(client, vip) for client in clients]
        before = metrics(lab)
        began_ns = time.monotonic_ns()
        with netns.inside(lab.plan.namespaces[Place.CLIENT]):
            flood = Flood(packets, vip, ROUND_S)
        with flood:
            restored = _until_restored(lab, before.get(RESTORED, 0.0), len(clients))
        took_s = (time.monotonic_ns() - began_ns) / 1e9
        after = metrics(lab)
        heard = crowd.end()
    faults = list(heard.losses)
    if restored < len(clients):
        faults.append(f"{restored:.0f} of {len(clients)} flows were carried again within {took_s:.0f} s")
    return Outcome(
        {
            GAP: Figure(heard.gap_ms(began_ns), "ms"),
            PACKETS: Figure(heard.packets_lost),
            CALLS: Figure(len(heard.losses)),
            BEFORE: Figure(heard.gap_before_ms(began_ns), "ms"),
            TAKEN: Figure(round(took_s, 1), "s"),
            "flows": Figure(len(clients)),
            "packets sent": Figure(flood.sent),
            REFUSED: Figure(_refused(after) - _refused(before)),
        },
        tuple(faults),
    )


def _nobodys_port(lab: Running) -> int:
    """A port of the cluster that no transceiver has: what comes there loads nobody."""
    path, last = lab.plan.config_path, 40_000 + lab.plan.processes
    text = path.read_text()
    path.write_text(text.replace(f"ports = [40000, {last - 1}]", f"ports = [40000, {last}]"))
    reload(lab.daemon("relay"))
    return last


async def _leave_records(lab: Running, store: Store, clients: list[Endpoint], port: int) -> None:
    """What the relay of the dead PoP has written, under the keys that all PoPs share."""
    keyring = Keyring(*load_masters(lab.plan.directory / "keys.toml"))
    vip, now_s = lab.plan.vips[0], int(time.time())
    expiry = expiry_after(now_s // 60, LEASE_S // 60)
    ufrags = [
        mint(Token(keyring.mint_with, 1, 0, port, expiry, session), keyring).encode()
        for session in range(-(-len(clients) // FLOWS_PER_TOKEN))
    ]
    entries = [
        Entry(
            flow_key(vip, client),
            encode(vip, client, ufrags[number // FLOWS_PER_TOKEN], now_s + LEASE_S, keyring),
            LEASE_S * 1000,
        )
        for number, client in enumerate(clients)
    ]
    writer = RedisStore(parse_store_url(store.url), RedisAccess(10))
    for begin in range(0, len(entries), BATCH):
        await writer.set_many(entries[begin : begin + BATCH])
    await writer.close()


def _until_restored(lab: Running, before: float, wanted: int) -> float:
    """How many flows were restored from the store, all of them or as many as there was time for."""
    deadline = time.monotonic() + TIMEOUT_S
    while (restored := metrics(lab).get(RESTORED, 0.0) - before) < wanted and time.monotonic() < deadline:
        interrupt.wait((), POLL_S)
    return restored


def _refused(found: dict[str, float]) -> float:
    """Packets that a budget turned away, in the program or in a relay."""
    return sum(value for name, value in found.items() if "budget" in name and "_total{" in name)


DRILL = Drill(
    "dead-pop",
    "20,000 flows of a dead PoP arrive at one host at once, a tenth behind one NAT",
    (Bar(TAKEN, 5, "s"), Bar(PACKETS, 0), Bar(CALLS, 0)),
    _play,
    promise="established calls lose nothing",
    programs=("redis-server",),
)
