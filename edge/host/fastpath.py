"""The fast path as the supervisor of a relay keeps it: who we are, keys, clock, budgets, next hops.

The workers own the flows; what all flows share has its one writer here. It never goes back on what the
program was told: an id of a VIP, a backbone address or a next hop means the same thing as long as a flow
may refer to it, over any number of restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from ctypes import c_uint32
from typing import Any

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint
from core.config import DataplaneSettings
from core.errors import VoxpopError
from core.keyring import Keyring
from core.service.supervisor import Message
from ebpf import layout, pins
from ebpf.errors import DataplaneError, PinError
from core.addr import pack_address
from ebpf.net.attach import Netdev
from ebpf.net.snapshot import Link, Netlink, Network
from ebpf.tables import REST_S, Adjacency, LocalAddress, Rates, Tables
from edge.host.capabilities import RELAY, missing
from edge.host.dataplane import Plan, interfaces
from edge.nexthops.fib import NOWHERE
from edge.nexthops.messages import hosts_messages, routes_message
from edge.nexthops.table import Changes, NextHops
from edge.nexthops.throttle import ResyncThrottle

logger = logging.getLogger(__name__)

CLOCK_S = 5.0
LOOK_S = 15.0
"""How often neighbours in use are confirmed: the kernel, which sees no packet, would not do it by itself."""
RETRY_S = 1.0
"""The same while one does not answer."""

Tell = Callable[[Message], None]


class XdpHost:
    """Opens what `voxpop dataplane` pinned. Raises DataplaneError, which says what is wrong with it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._check_rights()
        self._check_sizes()
        self.modes = self._check_interfaces()
        self.tables = Tables(plan.directory)
        try:
            self.vip_ids = self._number_vips()
            self.backbones = {4: self._number_backbones(4), 6: self._number_backbones(6)}
        except BaseException:
            self.tables.close()
            raise
        self._dscp_upstream = plan.settings.dscp_upstream
        self._egresses: dict[int, int] = {}
        self._numbers: dict[str, int] = {}
        self.nexthops = NextHops(self._written_adjacencies(), self._egress_of, self._nexthops_in_use)
        self._told: dict[int, list[tuple[int, int]]] = {}
        self._changed = asyncio.Event()
        self._confirmed_at = 0.0
        self._unresolved = False
        self._throttle = ResyncThrottle()
        self._written_at: dict[int, float] = {}
        """When a next hop was last written, if that was less than REST_S ago."""

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Those that are to run the program."""
        return self.plan.settings.interfaces

    def _check_rights(self) -> None:
        lacking = missing(RELAY)
        if lacking:
            raise DataplaneError(f"no right to use the fast path: {', '.join(lacking)} needed")

    def _check_sizes(self) -> None:
        directory = self.plan.directory
        for spec, count in pins.entries(self.plan.sizes).values():
            if wrong := pins.misfit(directory, spec, count):
                raise PinError(
                    f"{directory}: {wrong}: `voxpop dataplane detach --unpin`, then `voxpop dataplane run`, "
                    "makes it anew"
                )

    def _check_interfaces(self) -> dict[str, str]:
        modes = {}
        for state in interfaces(self.plan):
            if not state.is_present:
                logger.warning("%s is absent: it gets the fast path when it comes", state.name)
            elif not state.is_ours or state.mode is None:
                raise DataplaneError(f"{state.name} does not run the fast path: `voxpop dataplane run` first")
            else:
                modes[state.name] = state.mode.value
        if not modes:
            raise DataplaneError("none of dataplane.interfaces is there")
        return modes

    # --- identities -----------------------------------------------------------------------------------

    def _flows(self, version: int, direction: int, field: str) -> npt.NDArray[np.integer[Any]]:
        """A field of all flows' records of a direction."""
        return self.tables.records[version][direction]["common"][field][self.tables.live(version)]

    def _number_vips(self) -> list[int]:
        """An id for each VIP: the one that it has, or one that stands for nothing that a flow needs."""
        known = self.tables.config["vip"]
        in_use = {int(n) for v in (4, 6) for n in np.unique(self._flows(v, layout.UPSTREAM, "vip"))}
        wanted = [_identity(vip) for vip in self.plan.relay.vips]
        there = [row["addr"].tobytes() + row["port"].tobytes() for row in known]
        ids = _assign(wanted, there, in_use, "VIPs")
        for number, vip in zip(ids, self.plan.relay.vips, strict=True):
            if there[number] != _identity(vip):
                self.tables.set_vip(number, vip)
        return ids

    def _number_backbones(self, version: int) -> dict[int, str]:
        """Index → address."""
        hosts = [host for host in self.plan.settings.backbone if (":" in host) == (version == 6)]
        in_use = {int(n) for n in np.unique(self.tables.live(version) // layout.PORTS)}
        known = self.tables.config[f"backbone{version}"]["addr"]
        there = [row.tobytes() for row in known[: max(1, len(hosts))]]
        wanted = [pack_address(host).ljust(16, b"\0") for host in hosts]
        indexes = _assign(wanted, there, in_use, "dataplane.backbone: addresses")
        for index, host in zip(indexes, hosts, strict=True):
            self.tables.set_backbone(index, host)
        return dict(zip(indexes, hosts, strict=True))

    def _locals(self) -> list[LocalAddress]:
        vips: dict[str, dict[int, int]] = {}
        for number, vip in zip(self.vip_ids, self.plan.relay.vips, strict=True):
            vips.setdefault(vip.host, {})[vip.port] = number
        backbones = {host: index for hosts in self.backbones.values() for index, host in hosts.items()}
        return [
            LocalAddress(host, vips.get(host, {}), backbones.get(host), self.plan.settings.nat_ports)
            for host in dict.fromkeys([*vips, *backbones])
        ]

    @property
    def message(self) -> dict[str, object]:
        """What a worker must know to use the tables."""
        return {
            "pin_dir": str(self.plan.directory),
            "vip_ids": self.vip_ids,
            "backbones": {str(version): list(rows.items()) for version, rows in self.backbones.items()},
            "nat_ports": self.plan.settings.nat_ports,
            "dscp_upstream": self._dscp_upstream,
        }

    # --- what the operator says -----------------------------------------------------------------------

    def configure(self, keyring: Keyring, settings: DataplaneSettings) -> None:
        """Keys, DSCP and budgets; at the start and at each reload."""
        tables = self.tables
        self._dscp_upstream = settings.dscp_upstream
        tables.set_keys(keyring)
        tables.set_dscp(layout.UPSTREAM, settings.dscp_upstream)
        tables.set_dscp(layout.DOWNSTREAM, settings.dscp_downstream)
        for punt_class, source, total in (
            (layout.PUNT_CLASS_STUN, settings.punt_source_pps, settings.punt_total_pps),
            (layout.PUNT_CLASS_MEDIA, settings.punt_media_source_pps, settings.punt_media_total_pps),
        ):
            tables.set_rates(punt_class, Rates(source, source, total, total))

    # --- the network ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Tell the program all that it needs, last of all which addresses are ours."""
        self._set_clock()
        async with Netlink() as netlink:
            await self._look(netlink, lambda _: None)
        self.tables.set_locals(self._locals())

    async def run(self, tell: Tell) -> None:
        """Keep clock and next hops true until cancelled; `tell` tells all workers."""
        clock = asyncio.create_task(self._keep_clock())
        try:
            while True:
                try:
                    await self._follow(tell)
                except (OSError, VoxpopError) as error:
                    logger.error("cannot follow the network, next hops may go stale: %s", error)
                    await asyncio.sleep(RETRY_S)
        finally:
            clock.cancel()

    async def _keep_clock(self) -> None:
        while True:
            self._set_clock()
            self._throttle.refill()
            await asyncio.sleep(CLOCK_S)

    def _set_clock(self) -> None:
        self.tables.set_clock(int(time.time() // 60))

    async def _follow(self, tell: Tell) -> None:
        async with Netlink() as netlink:
            listening = asyncio.create_task(self._listen(netlink))
            try:
                while True:
                    await self._look(netlink, tell)
                    await self._throttle.pause(is_awaited=self._unresolved)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), RETRY_S if self._unresolved else LOOK_S)
                    self._changed.clear()
                    if listening.done():
                        listening.result()
            finally:
                listening.cancel()

    async def _listen(self, netlink: Netlink) -> None:
        async for _ in netlink.changes():
            self._changed.set()

    async def _look(self, netlink: Netlink, tell: Tell) -> None:
        network = await netlink.network()
        await self._place_interfaces(network)
        changes = self.nexthops.look(network)
        if self._recently_written(changes):
            await asyncio.sleep(REST_S)
        self._apply(changes)
        tables = self.nexthops.tables
        if tables != self._told:
            self._told = tables
            tell(routes_message(tables))
        self._give_up_hosts(tell)
        await self._resolve(netlink, changes)

    def _tell_default_nexthops(self) -> None:
        """Name the next hops that most flows have, which the program is soonest done with."""
        defaults = self.tables.config["default_nexthop"]
        for row, version in enumerate((4, 6)):
            both = self.tables.nexthops(version, self.tables.live(version))
            found = [int(np.bincount(hops).argmax()) if len(hops) else 0 for hops in both]
            if defaults[row].tolist() != found:  # each packet reads what lies around this
                defaults[row] = found

    def _recently_written(self, changes: Changes) -> bool:
        """Whether a change is to a next hop that rests: see `Tables.set_nexthop`."""
        now = time.monotonic()
        self._written_at = {n: at for n, at in self._written_at.items() if now - at < REST_S}
        return not self._written_at.keys().isdisjoint(changes.adjacencies)

    def _apply(self, changes: Changes) -> None:
        for text in changes.complaints:
            logger.error("%s", text)
        for number, adjacency in changes.adjacencies.items():
            self.tables.set_nexthop(number, adjacency)
            if adjacency is not None:  # a next hop that leads nowhere yet has no packet under way
                self._written_at[number] = time.monotonic()

    def _give_up_hosts(self, tell: Tell) -> None:
        given_up = self.nexthops.forget_hosts()
        for message in hosts_messages(dict.fromkeys(given_up)):
            tell(message)

    async def _resolve(self, netlink: Netlink, changes: Changes) -> None:
        """Have the kernel ask for neighbours that it does not know; and now and then for all in use, when it
        is time as well to see which of them most flows use.
        """
        self._unresolved = bool(changes.resolve)
        wanted = changes.resolve
        if time.monotonic() - self._confirmed_at >= LOOK_S:
            self._confirmed_at = time.monotonic()
            wanted = self.nexthops.addresses()
            self._tell_default_nexthops()
        for link, host in wanted:
            await netlink.resolve(link, host)

    def answer(self, message: Message, tell: Tell) -> None:
        """What a worker asks: the next hops of hosts on a link, and all routes if it has just started."""
        hosts = message["hosts"]
        assert isinstance(hosts, list)
        if not hosts:
            tell(routes_message(self.nexthops.tables))
            for known in hosts_messages(self.nexthops.hosts):
                tell(known)
            return
        changes = self.nexthops.add_hosts(hosts)
        self._apply(changes)
        if changes.resolve:
            self._unresolved = True
            self._changed.set()
            self._throttle.expedite()
        found = self.nexthops.hosts
        for answer in hosts_messages({host: found.get(host, NOWHERE) for host in hosts}):
            tell(answer)

    # --- interfaces -----------------------------------------------------------------------------------

    async def _place_interfaces(self, network: Network) -> None:
        """Give each interface an egress, and the program to one that came back."""
        for name in self.plan.settings.interfaces:
            link = network.link_named(name)
            if link is None:
                if self._numbers.pop(name, None) is not None:
                    self.modes.pop(name, None)
                    logger.error("%s is gone: packets that leave by it are dropped", name)
                continue
            if self._numbers.get(name) != link.number:
                if link.xdp_program is None and not await self._attach(name):
                    continue
                self._numbers[name] = link.number
                self._place(link)

    async def _attach(self, name: str) -> bool:
        try:
            self.modes[name] = await asyncio.to_thread(_attach_pinned, self.plan, name)
        except VoxpopError as error:
            logger.error("%s came without the fast path, and cannot have it: %s", name, error)
            return False
        logger.warning("%s came back and has the fast path again, in %s mode", name, self.modes[name])
        return True

    def _place(self, link: Link) -> None:
        """Find or make an egress for an interface; never one that an adjacency of another's refers to."""
        places = {n: self.tables.egresses.lookup(c_uint32(n)) for n in range(layout.EGRESSES)}
        found = next((n for n, ifindex in places.items() if ifindex and ifindex.value == link.number), None)
        if found is None:
            referred = {each.egress for each in self._written_adjacencies().values()}
            found = next((n for n, there in places.items() if not there and n not in referred), None)
            if found is None:
                logger.error("no room for %s among the %d egresses", link.name, layout.EGRESSES)
                return
            self.tables.set_egress(found, link.number)
        self._egresses[link.number] = found

    def _egress_of(self, link: Link) -> int | None:
        return self._egresses.get(link.number)

    def _written_adjacencies(self) -> dict[int, Adjacency]:
        """The usable next hops, as the program has them."""
        records = self.tables.config["nexthop"]
        live = records["adjacency"][np.arange(len(records)), records["live"] & 1]
        return {int(n): _adjacency(live[n]) for n in np.flatnonzero(live["usable"])}

    def _nexthops_in_use(self) -> set[int]:
        """Transceivers' without flows as well: their next flow will have it."""
        up = [rows["common"]["nexthop"] for rows in self.tables.transceivers.values()]
        down = [self._flows(version, layout.DOWNSTREAM, "nexthop") for version in (4, 6)]
        return {int(n) for each in (*up, *down) for n in np.flatnonzero(np.bincount(each))}  # np.unique sorts

    def close(self) -> None:
        """Close the maps; the fast path goes on."""
        self.tables.close()


def _identity(vip: Endpoint) -> bytes:
    return pack_address(vip.host).ljust(16, b"\0") + vip.port.to_bytes(2, "big")


def _assign(wanted: Sequence[bytes], there: Sequence[bytes], in_use: Iterable[int], what: str) -> list[int]:
    """A number for each wanted identity: the one that has it already, else one that no flow refers to."""
    numbers: dict[bytes, int] = {identity: n for n, identity in enumerate(there) if identity in wanted}
    free = [n for n in range(len(there)) if n not in numbers.values() and n not in set(in_use)]
    free.sort(key=lambda n: any(there[n]))
    for identity in wanted:
        if identity not in numbers:
            if not free:
                raise DataplaneError(
                    f"{what} have changed while flows still use the old ones: set those again, or end the "
                    "calls with `voxpop dataplane detach --unpin` and `voxpop dataplane run`"
                )
            numbers[identity] = free.pop(0)
    return [numbers[identity] for identity in wanted]


def _attach_pinned(plan: Plan, name: str) -> str:
    fd = pins.open_pinned_program(plan.directory, plan.program_for(name))
    try:
        with Netdev() as netdev:
            return netdev.attach(name, fd).value
    finally:
        os.close(fd)


def _adjacency(record: np.void) -> Adjacency:
    macs = record["macs"].tobytes()
    words = [int.from_bytes(word.tobytes(), "big") for word in record["tags"]]
    tags = tuple((words[2 * n], words[2 * n + 1]) for n in range(int(record["tag_count"])))
    return Adjacency(macs[:6], macs[6:], int(record["mtu"]), int(record["egress"]), tags)
