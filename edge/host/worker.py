"""One relay worker: `python -m edge.host.worker`, started by the supervisor with open sockets.

One process on one core with one event loop. Its sockets and counters are inherited by number; its keys
come over the control socket, whose end is also how it learns that its supervisor is gone.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from core.addr import IpFamily, from_sockaddr
from core.service.handover import (
    DRAIN,
    DRAIN_NUMBER,
    DRAINED,
    EXPEL,
    IS_EXPELLING,
    SETTINGS,
    STOP,
    UNDRAIN,
)
from core.service.privileges import keep_only
from core.service.supervisor import ControlChannel, Message
from core.service.worker import run
from edge.forwarders.userspace import DATAGRAM_BYTES, UserspaceForwarder
from edge.host.arguments import RelayArguments
from edge.host.capabilities import RELAY, WORKER
from edge.host.settings import WorkerSettings, decode
from edge.nexthops.messages import HOSTS, RESOLVE, ROUTES
from edge.relay.counters import Counters
from edge.relay.decide import Relay
from edge.relay.forwarder import VipIndex
from edge.relay.slowpath import SlowPath

if TYPE_CHECKING:
    from edge.fastpath.forwarder import XdpForwarder
    from edge.recall.recall import StoreRecall

PACKETS_PER_WAKEUP = 64
"""What one VIP may take of a wake-up before the others and what comes downstream get their turn."""


class Worker:
    """Reads the VIP sockets, keeps time, follows the supervisor."""

    def __init__(self, arguments: RelayArguments, control: ControlChannel) -> None:
        self._arguments = arguments
        self._control = control
        self._vips = [socket.socket(fileno=fd) for fd in arguments.vip_fds]
        for vip in self._vips:
            vip.setblocking(False)
        self._counters = Counters(arguments.counters_fd)
        self._buffer = bytearray(DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)
        self._slow_path: SlowPath[Any] | None = None
        self._xdp: XdpForwarder | None = None
        self._recall: StoreRecall[Any] | None = None
        self._recalling: asyncio.Task[None] | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        """Since it reads the VIPs."""
        self._drain_number = 0
        """Of the drain that is on; 0 without one."""
        self._drain_done = 0
        """The one that the supervisor was told is over here."""
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Work until told to stop, or until the supervisor is gone."""
        listening = asyncio.create_task(self._control.listen(self._on_message))
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({listening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in filter(None, (listening, self._recalling)):
            if task.done():
                task.result()  # raises what ended it, if that was a fault
            task.cancel()
        if self._recalling is not None:
            await asyncio.wait({self._recalling})
        if self._slow_path is not None:
            self._close(self._slow_path)

    def _close(self, slow_path: SlowPath[Any]) -> None:
        """The event loop still turns after this, and nothing of it may find a forwarder that is closed."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            for vip in self._vips:
                asyncio.get_running_loop().remove_reader(vip.fileno())
        slow_path.forwarder.close()

    def _on_message(self, message: Message) -> None:
        kind, slow_path = message["type"], self._slow_path
        if kind == SETTINGS:
            settings = decode(message)
            if slow_path is None:
                self._start(settings)
                self._drain(message[DRAIN_NUMBER], message[IS_EXPELLING])
            else:
                self._adopt(settings, slow_path)
        elif kind == STOP:
            self._stopped.set()
        elif slow_path is None:
            return
        elif kind in (DRAIN, UNDRAIN):
            self._drain(message.get(DRAIN_NUMBER, 0), is_expelling=False)
        elif kind == EXPEL:
            slow_path.forwarder.is_expelling = True
        elif kind == ROUTES and self._xdp is not None:
            self._xdp.hops.learn_routes(message, time.monotonic_ns())
            self._read_vips(slow_path)
        elif kind == HOSTS and self._xdp is not None:
            self._xdp.hops.learn_hosts(message, time.monotonic_ns())

    def _drain(self, number: Any, is_expelling: Any) -> None:  # noqa: ANN401 - as they are in the message
        """Begin that drain, or with 0 take it back. A worker that is started after its time may find flows
        that the fast path has.
        """
        assert self._slow_path is not None
        self._drain_number = number
        self._slow_path.relay.is_draining = number != 0
        self._slow_path.forwarder.is_expelling = is_expelling

    def _start(self, settings: WorkerSettings) -> None:
        idle_ns = _to_ns(settings.relay.idle_timeout_s)
        forwarder: UserspaceForwarder | XdpForwarder
        if settings.xdp is None:
            max_flows = self._arguments.max_flows
            forwarder = UserspaceForwarder(self._vips, max_flows, idle_ns, self._counters, time.monotonic_ns)
        else:
            forwarder = self._xdp = self._open_fast_path(settings.xdp, idle_ns)
        forwarder.answer_timeout_ns = _to_ns(settings.relay.answer_timeout_s)
        keep_only(() if self._xdp is None else WORKER)
        self._slow_path = SlowPath(_make_relay(settings), forwarder, self._counters, time.monotonic_ns)
        self._recall_flows(settings, self._slow_path)
        forwarder.attach(asyncio.get_running_loop())
        if self._xdp is None:
            self._read_vips(self._slow_path)
        else:
            self._ask([])  # for routes, without which no flow can be installed

    def _open_fast_path(self, told: Mapping[str, Any], idle_ns: int) -> XdpForwarder:
        # Here alone: they bring numpy into the process, for which a userspace forwarder has no use.
        from edge.fastpath.forwarder import XdpForwarder
        from edge.fastpath.open import open_store, read_identities

        vips = [from_sockaddr(vip.getsockname()) for vip in self._vips]
        arguments = self._arguments
        share = arguments.index, arguments.count
        store = open_store(read_identities(told), vips, share, time.monotonic_ns)
        forwarder = XdpForwarder(store, arguments.max_flows, idle_ns, self._counters, self._ask)
        forwarder.set_dscp(told["dscp_upstream"])
        return forwarder

    def _recall_flows(self, settings: WorkerSettings, slow_path: SlowPath[Any]) -> None:
        """Where a store is configured, leave records of our flows there and ask for those of others."""
        table = settings.config.store
        if table is None:
            return
        # Here alone, as above.
        from core.store.open import open_guarded
        from edge.recall.recall import Clocks, StoreRecall

        recall = StoreRecall(
            slow_path,
            open_guarded(table, settings.store_secrets),
            [from_sockaddr(vip.getsockname()) for vip in self._vips],
            table.flow_lease_s,
            self._counters,
            Clocks(time.monotonic_ns, time.time),
        )
        recall.keyring = settings.keyring
        slow_path.recall = self._recall = recall
        self._recalling = asyncio.create_task(recall.run())
        self._recalling.add_done_callback(lambda _: self._stopped.set())  # which it does by a fault alone

    def _ask(self, hosts: list[str]) -> None:
        self._control.send({"type": RESOLVE, "hosts": hosts})

    def _read_vips(self, slow_path: SlowPath[Any]) -> None:
        """Begin; once."""
        if self._sweeping is not None:
            return
        loop = asyncio.get_running_loop()
        for index, vip in enumerate(self._vips):
            family = IpFamily.V6 if vip.family == socket.AF_INET6 else IpFamily.V4
            loop.add_reader(vip.fileno(), partial(self._read, slow_path, VipIndex(index), vip, family))
        self._sweep(loop, slow_path)
        # A full collection stops the worker for tens of milliseconds once there are thousands of flows,
        # and finds nothing: what is made for a packet or a flow has no reference cycles.
        gc.disable()
        self._control.ready()

    def _adopt(self, settings: WorkerSettings, slow_path: SlowPath[Any]) -> None:
        relay = _make_relay(settings)
        relay.is_draining = slow_path.relay.is_draining
        slow_path.relay = relay
        if self._recall is not None:
            self._recall.keyring = settings.keyring
        slow_path.forwarder.idle_timeout_ns = _to_ns(settings.relay.idle_timeout_s)
        slow_path.forwarder.answer_timeout_ns = _to_ns(settings.relay.answer_timeout_s)
        if self._xdp is not None and settings.xdp is not None:
            self._xdp.set_dscp(settings.xdp["dscp_upstream"])

    def _read(self, slow_path: SlowPath[Any], index: VipIndex, vip: socket.socket, family: IpFamily) -> None:
        """Deal with a bounded number of datagrams of one VIP."""
        receive, buffer, view = vip.recvfrom_into, self._buffer, self._view
        now_ns, now_min = time.monotonic_ns(), int(time.time() // 60)
        for _ in range(PACKETS_PER_WAKEUP):
            try:
                size, client = receive(buffer)
            except BlockingIOError:
                return
            slow_path.receive_untrusted(view[:size], client, index, family, now_ns, now_min)

    def _sweep(self, loop: asyncio.AbstractEventLoop, slow_path: SlowPath[Any]) -> None:
        rest_s = slow_path.forwarder.sweep(time.monotonic_ns())
        if self._drain_number != self._drain_done and not len(slow_path.forwarder):
            self._drain_done = self._drain_number
            self._control.send({"type": DRAINED, DRAIN_NUMBER: self._drain_number})
        self._sweeping = loop.call_later(rest_s, self._sweep, loop, slow_path)


def _make_relay(settings: WorkerSettings) -> Relay:
    return Relay(settings.keyring, settings.config.clusters, _to_ns(settings.relay.takeover_silence_s))


def _to_ns(seconds: float) -> int:
    return int(seconds * 1e9)


async def _work(arguments: RelayArguments, control: ControlChannel) -> None:
    await Worker(arguments, control).run()


if __name__ == "__main__":
    run(RelayArguments, sys.argv[1:], _work, RELAY)
