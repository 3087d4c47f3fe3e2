"""One transceiver process: `python -m transceiver.host.worker`, started by the supervisor with open sockets.

One process on one core with one event loop: one UDP port for all its sessions, a share of the HTTP port,
and a Unix socket for its siblings. Its settings come over the control socket, whose end is also how it
learns that its supervisor is gone.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from core.service.handover import DRAIN, DRAIN_NUMBER, DRAINED, EXPEL, STOP, UNDRAIN
from core.service.http_server import Bounds
from core.service.metrics.exposition import family
from core.service.supervisor import ControlChannel, Message
from core.service.worker import run
from transceiver.backends.base import SettingsJudge
from transceiver.host.arguments import TransceiverArguments
from transceiver.host.http_server import OPEN_FILES, HttpServer
from transceiver.host.locations import Copy
from transceiver.host.memory import give_back_when_idle
from transceiver.host.settings import (
    CARRIES,
    COUNT,
    OLDEST_NS,
    POPS,
    REGIONS,
    WorkerSettings,
    decode,
)
from transceiver.host.worker_metrics import Metrics, SessionCollector
from transceiver.media.ticker import Ticker
from transceiver.session.manager import SessionManager
from transceiver.session.session import Shared
from transceiver.signaling.apikeys import OPEN_CALLER
from transceiver.signaling.app import Access, public_app, sibling_app
from transceiver.signaling.calls import Calls, Others
from transceiver.signaling.client_secrets import SecretKeys
from transceiver.signaling.hosts import OtherHosts, Place
from transceiver.signaling.ledger import map_ledger
from transceiver.signaling.page import Page
from transceiver.signaling.pops import decode_reports
from transceiver.signaling.quotas import QUOTA_REFUSALS, Quotas
from transceiver.signaling.referrals import ReferralKeys, Referrer
from transceiver.signaling.refusals import HttpReason
from transceiver.signaling.siblings import Siblings
from transceiver.signaling.steering import NAMED, Steering, SteeringPlan
from transceiver.steering.evidence import Trust
from transceiver.steering.headers import is_from
from transceiver.transport.certificate import Certificate
from transceiver.transport.mux import Mux
from transceiver.transport.warmup import warm_up

if TYPE_CHECKING:
    from transceiver.steering.database import LocationDatabase

logger = logging.getLogger(__name__)

DRAIN_CHECK_S = 0.05
COUNT_CHECK_S = 0.1
"""How often the supervisor is told of how many calls would be lost, should that have changed."""
BACKEND_CLOSE_TIMEOUT_S = 2.0
"""Within what the supervisor gives us to say goodbye."""


class Worker:
    """One process: built from its first settings, changed by later ones, ended by a word."""

    def __init__(self, arguments: TransceiverArguments, control: ControlChannel) -> None:
        self._arguments = arguments
        self._control = control
        self._running: Running | None = None
        self._draining: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._told: tuple[int, int | None] = (0, None)
        """What the supervisor knows: how many calls there are, and when the oldest began."""
        self._stop_wanted = asyncio.Event()

    async def run(self) -> None:
        """Work until told to stop, or until the supervisor is gone."""
        listening = asyncio.create_task(self._control.listen(self._take))
        stop = asyncio.create_task(self._stop_wanted.wait())
        try:
            await asyncio.wait({listening, stop}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                await listening  # raises what ended it
        finally:
            for task in (listening, stop, self._draining, self._counting, self._tidying):
                if task is not None:
                    task.cancel()
            if self._running is not None:
                await self._running.close()

    async def _take(self, message: Message) -> None:
        if message["type"] == STOP:
            self._stop_wanted.set()
        elif self._running is not None:
            self._obey(message, self._running)
        else:
            await warm_up()  # before there is a clock that would take it for lateness
            self._running = Running(self._arguments, decode(message))
            self._running.learn_pops(message)
            await self._running.open()
            gc.collect()
            gc.freeze()  # what is alive here lives to the end; later collections need not look at it
            self._control.ready()
            running = self._running
            self._counting = asyncio.create_task(self._tell_count(running))
            self._tidying = asyncio.create_task(
                give_back_when_idle(lambda: running.count, lambda: running.ended)
            )
            if message[DRAIN_NUMBER]:
                self._start_drain(message[DRAIN_NUMBER], running)

    def _obey(self, message: Message, running: Running) -> None:
        """Whatever it is, calls go on."""
        kind = message["type"]
        if kind == DRAIN:
            self._start_drain(message[DRAIN_NUMBER], running)
        elif kind == UNDRAIN:
            self._end_drain()
            running.undrain()
        elif kind == EXPEL:
            running.expel()
        elif kind == POPS:
            running.learn_pops(message)
        else:
            running.reload(decode(message))
            running.learn_pops(message)

    async def _tell_count(self, running: Running) -> None:
        while True:
            self._tell_carried(running)
            await asyncio.sleep(COUNT_CHECK_S)

    def _tell_carried(self, running: Running) -> None:
        """Unless the supervisor knows."""
        carried = (running.count, running.oldest_ns)
        if carried != self._told:
            self._told = carried
            self._control.send({"type": CARRIES, COUNT: carried[0], OLDEST_NS: carried[1]})

    def _start_drain(self, number: object, running: Running) -> None:
        self._end_drain()
        self._draining = asyncio.create_task(self._drain(number, running))

    def _end_drain(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None

    async def _drain(self, number: object, running: Running) -> None:
        """Serve on after the last session: another process of this host may have some, and the kernel
        goes on giving us connections that are about them.
        """
        await running.drain()
        self._tell_carried(running)
        self._control.send({"type": DRAINED, DRAIN_NUMBER: number})


class Running:
    """Everything that a process has open."""

    def __init__(self, arguments: TransceiverArguments, settings: WorkerSettings) -> None:
        transceiver = settings.transceiver
        self._arguments = arguments
        self.metrics = Metrics()
        self._ticker = Ticker()
        self._mux = Mux([socket.socket(fileno=fd) for fd in arguments.udp_fds], self.metrics)
        self._backends = settings.backend.build()
        shared = Shared(
            transceiver, self._mux, self._ticker, Certificate.generate(), self._backends, self.metrics
        )
        self._manager = SessionManager(shared, settings.cluster, settings.keyring, arguments.index)
        self.metrics.register(SessionCollector(self._manager, self._mux, self._ticker).collect)
        siblings = Siblings(arguments.folder, arguments.index, arguments.count)
        place = Place(settings.cluster, transceiver.host, transceiver.http, transceiver.forward_port)
        self._others = Others(siblings, OtherHosts(place, settings.keyring, self.metrics))
        self._access = Access(settings.api_keys, transceiver.cors_origins)
        ledger = map_ledger(arguments.ledger_fd, arguments.count, arguments.index)
        quotas = self._access.quotas = self._quotas = Quotas(self._manager.counts, ledger)
        self._quotas.adopt(settings.quota_plan(arguments.count), time.monotonic_ns())
        self.metrics.register(lambda: [family(QUOTA_REFUSALS, quotas.refusals())])
        self._access.ice_servers = transceiver.ice_servers
        self._access.client_of = lambda request: self._steering.client_of(request)
        if isinstance(self._backends, SettingsJudge):
            self._access.judge = self._backends.judge
        self._database: tuple[Copy, LocationDatabase] | None = None
        self._steering = Steering(self.metrics, self._plan(settings))
        self.metrics.register(lambda: [family(NAMED, self._steering.answers())])
        self._referrer = Referrer()
        self._share_keys(settings)
        self._calls = Calls(self._manager, self._others, self.metrics, self._steering, self._referrer)
        self._calls.events_of = self._quotas.events_of
        self._page = Page() if transceiver.page else None
        self._let_page_follow(settings)
        public = public_app(
            self._calls, self._access, self._steering.directory, self._refusal, self.metrics, self._page
        )
        internal = sibling_app(self._calls, self.metrics.exposition, self.metrics)
        self._bounds = Bounds()
        self._bound(settings)
        self._servers = {
            arguments.http_fd: HttpServer(public, self.metrics, self._bounds),
            arguments.sibling_fd: HttpServer(internal, self.metrics),
        }

    async def open(self) -> None:
        """Start the backend, then accept requests. Raises what the backend raises."""
        await self._backends.start()
        for fd, server in self._servers.items():
            await server.start(socket.socket(fileno=fd))

    def reload(self, settings: WorkerSettings) -> None:
        """Adopt what may change while calls go on."""
        self._access.api_keys = settings.api_keys
        self._access.cors_origins = settings.transceiver.cors_origins
        self._access.ice_servers = settings.transceiver.ice_servers
        self._steering.adopt(self._plan(settings))
        self._bound(settings)
        self._quotas.adopt(settings.quota_plan(self._arguments.count), time.monotonic_ns())
        self._let_page_follow(settings)
        self._manager.keyring = settings.keyring
        self._share_keys(settings)

    @property
    def count(self) -> int:
        """Live sessions."""
        return self._manager.count

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest of them began; None without any."""
        return self._manager.oldest_ns

    @property
    def ended(self) -> int:
        """Sessions that there were."""
        return self._manager.ended

    def learn_pops(self, message: Message) -> None:
        """Adopt what is known of the PoPs and of the other regions."""
        reports: Any = message[POPS]
        regions: Any = message[REGIONS]
        self._referrer.regions = regions
        self._steering.learn(decode_reports(reports), time.monotonic_ns())

    def _share_keys(self, settings: WorkerSettings) -> None:
        api_keys = settings.api_keys
        keys = None if api_keys is None else ReferralKeys(settings.keyring, api_keys.digests)
        self._access.referral_keys = self._referrer.keys = self._others.hosts.keys = keys
        self._others.hosts.keyring = settings.keyring
        digests = {OPEN_CALLER: ""} if api_keys is None else api_keys.digests
        self._access.secret_keys = SecretKeys(settings.keyring, digests)

    def _bound(self, settings: WorkerSettings) -> None:
        """What one address may take."""
        most, proxies = settings.transceiver.connections_per_address, settings.transceiver.trusted_proxies
        self._bounds.per_address = self._access.crowds.most = most
        self._bounds.is_trusted = partial(is_from, networks=proxies)

    def _let_page_follow(self, settings: WorkerSettings) -> None:
        if self._page is not None:
            self._page.allow(settings.transceiver.other_regions)

    def _plan(self, settings: WorkerSettings) -> SteeringPlan:
        """What steering goes by, with the database open: the one that is, where it is the same."""
        self._open_database(settings.locations)
        transceiver = settings.transceiver
        return SteeringPlan(
            [(pop, settings.vips_of([pop])) for pop in settings.config.pops],
            Trust(transceiver.trusted_proxies, transceiver.trusted_headers),
            None if self._database is None else self._database[1],
        )

    def _open_database(self, copy: Copy | None) -> None:
        if self._database is not None:
            if self._database[0] == copy:
                return
            self._database[1].close()
            self._database = None
        if copy is None:
            return
        from transceiver.steering.database import LocationDatabase  # only where there is one

        try:
            self._database = copy, LocationDatabase(self._arguments.folder / copy.name)
        except ConfigError as error:  # the copy has been replaced since; the word of that is on its way
            logger.warning("clients are led without a database of locations: %s", error)

    def _refusal(self) -> str | None:
        """Why this process takes no calls at the moment."""
        return self._manager.refusal() or (None if self._steering.is_possible else HttpReason.NO_POP)

    async def drain(self) -> None:
        """Take no more calls; return when the last one has ended."""
        self._manager.drain()
        while self._manager.count:  # noqa: ASYNC110 - seldom, and sessions end in many ways
            await asyncio.sleep(DRAIN_CHECK_S)

    def undrain(self) -> None:
        """Take calls again."""
        self._manager.is_draining = False

    def expel(self) -> None:
        """Say goodbye to the sessions that remain, and stay."""
        self._manager.end_all()

    async def close(self) -> None:
        """Say goodbye to the sessions that remain and let go of everything."""
        await self._manager.close_all()
        for server in self._servers.values():
            await server.close()
        await self._others.siblings.close()
        await self._others.hosts.close()
        await self._close_backends()
        self._ticker.close()
        self._mux.close()

    async def _close_backends(self) -> None:
        """Whatever it does, the process ends."""
        try:
            async with asyncio.timeout(BACKEND_CLOSE_TIMEOUT_S):
                await self._backends.close()
        except TimeoutError:
            logger.error("the backend did not close within %g s", BACKEND_CLOSE_TIMEOUT_S)
        except Exception:
            logger.exception("the backend did not close well")


def _raise_file_limit() -> None:
    """To `OPEN_FILES`, or as far as the hard limit lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _work(arguments: TransceiverArguments, control: ControlChannel) -> None:
    _raise_file_limit()
    await Worker(arguments, control).run()


if __name__ == "__main__":
    run(TransceiverArguments, sys.argv[1:], _work)
