"""`voxpop announce`: asks the relay of this host how it is, and lets its VIPs be announced or not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from core.addr import Endpoint
from core.config import AnnounceSettings
from core.errors import ConfigError
from core.service.build import VERSION
from core.service.files import load_config
from core.service.notify import READY, WATCHDOG, notify
from core.service.privileges import Capability, keep_only
from core.service.status_http import Status, serve
from core.service.watchdog import allowed_s
from edge.health import handover, metrics
from edge.health.answers import MAX_BODY_BYTES, Outcome, read_answer_untrusted
from edge.health.deadman import Deadman
from edge.health.handover import Program
from edge.health.presence import Presence
from edge.health.standing import NS_PER_S, Policy, Standing, State

EXIT_OK = 0
HANG_S = 5.0
"""How much longer than it ever should a check may take before this process is taken for hung."""
RIGHTS = (Capability.NET_ADMIN, Capability.NET_BIND_SERVICE)
"""Kept to the end: for the interface, and for the port that whatever comes after it opens anew."""
WORDS = {
    State.ANNOUNCED: "announced: the relay is ready",
    State.WITHDRAWN: "not announced: the relay has to be ready %d times in a row",
    State.HELD_DOWN: "not announced: the relay fell (%s), and is held down for %g s",
    State.DRAINING: "not announced: the relay drains",
}

logger = logging.getLogger("voxpop.announce")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the configuration says."""

    settings: AnnounceSettings
    relay_status: Endpoint
    """Where this host asks its relay."""


def load(path: Path) -> Loaded:
    """Read and check the configuration. Raises ConfigError."""
    config = load_config(path)
    if config.relay is None:
        raise ConfigError([f"{path}: [relay] is missing: it is asked at relay.metrics"])
    return Loaded(config.announce or AnnounceSettings(), config.relay.metrics.from_here)


def policy(settings: AnnounceSettings) -> Policy:
    """In the units of the state machine."""
    return Policy(
        rise=settings.rise,
        fall=settings.fall,
        hold_down_ns=int(settings.hold_down_s * NS_PER_S),
        hold_down_max_ns=int(settings.hold_down_max_s * NS_PER_S),
    )


def longer_watchdog_s(settings: AnnounceSettings, allowed_s: float | None) -> float | None:
    """Within what time systemd is to be told of a check, where it has to be longer than the unit says: checks
    may be as rare as once in a minute. None: it need not be.
    """
    rarest_s = (settings.interval_ms + settings.timeout_ms) / 1e3
    return rarest_s + HANG_S if allowed_s is not None and 2 * rarest_s > allowed_s else None


class Announcer:
    """One checker, from start to end."""

    def __init__(self, loaded: Loaded, successor: Program, tell: Callable[[str], None] | None = None) -> None:
        """SIGHUP has it go on as `successor`; `tell` takes a JSON line for each change of state."""
        self._settings = loaded.settings
        self._at = loaded.relay_status
        self._successor = successor
        self._succession: asyncio.Task[None] | None = None
        self._tell = tell
        file = handover.taken(loaded.settings.interface)
        self._standing = Standing(policy(loaded.settings), time.monotonic_ns(), is_announced=file is not None)
        self._presence = Presence(loaded.settings.interface, file)
        self._checks: Counter[Outcome] = Counter()
        self._changes: Counter[State] = Counter()
        self._last: Outcome | None = None

    async def run(self) -> int:
        """Until SIGTERM or SIGINT; nothing is announced then. Raises UnavailableError."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._succeed)
        status = Status(self._exposition, self.summary, lambda: self._standing.is_announced)
        server = await serve(status, self._settings.metrics, "announce.metrics")
        try:
            with self._presence:
                keep_only(RIGHTS)
                logger.info("asking the relay at %s; %s", self._at, self._words())
                notify(READY)
                self._show()
                await self._check_until(stop)
        finally:
            await server.close()
        logger.info("not announced any more: told to end")
        return EXIT_OK

    def _succeed(self) -> None:
        if self._succession is None or self._succession.done():
            self._succession = asyncio.get_running_loop().create_task(self._hand_over())

    async def _hand_over(self) -> None:
        """Go on as what is installed and configured now, or as before where that is not sound."""
        successor = self._successor
        if (fault := await successor.fault()) is not None:
            logger.error("goes on as it is, for %s", fault)
            return
        logger.info("goes on as %s, by what is installed and configured now", " ".join(successor.command))
        try:
            successor.become(self._presence.file, self._settings.fall * self._settings.interval_ms / 1e3)
        except OSError as error:
            logger.error("goes on as it is, for %s: %s", successor.command[0], error.strerror)

    async def _check_until(self, stop: asyncio.Event) -> None:
        interval_s, timeout_s = self._settings.interval_ms / 1e3, self._settings.timeout_ms / 1e3
        deadman = Deadman(interval_s + timeout_s + HANG_S)
        if (watchdog_s := longer_watchdog_s(self._settings, allowed_s())) is not None:
            notify(f"{handover.WATCHDOG_VARIABLE}={int(watchdog_s * 1e6)}")
        # A connection for each check: one that is kept says nothing of whether new ones are taken.
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
            while not stop.is_set():
                deadman.hold()
                notify(WATCHDOG)
                next_s = asyncio.get_running_loop().time() + interval_s
                self._hear(await self._ask(client, timeout_s))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_s):
                        await stop.wait()
        deadman.release()

    async def _ask(self, client: aiohttp.ClientSession, timeout_s: float) -> Outcome:
        try:
            async with (
                asyncio.timeout(timeout_s),
                client.get(f"http://{self._at}/readyz", allow_redirects=False) as answer,
            ):
                body = b""
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        return Outcome.STRANGE
                return read_answer_untrusted(answer.status, body)
        except TimeoutError:
            return Outcome.LATE
        except aiohttp.ClientConnectorError:
            return Outcome.REFUSED
        except (aiohttp.ClientError, OSError):
            return Outcome.STRANGE

    def _hear(self, outcome: Outcome) -> None:
        self._checks[outcome] += 1
        self._last = outcome
        was_announced = self._standing.is_announced
        if not self._standing.hear(outcome, time.monotonic_ns()):
            return
        state = self._standing.state
        self._presence.set(is_there=self._standing.is_announced)
        self._changes[state] += 1
        is_fall = was_announced and state is not State.DRAINING
        logger.log(logging.WARNING if is_fall else logging.INFO, "%s", self._words())
        self._show()

    def _show(self) -> None:
        notify(f"STATUS={self._words()}")
        if self._tell is not None:
            self._tell(json.dumps(self.summary()))

    def _words(self) -> str:
        state = self._standing.state
        held_s = self._standing.summary(time.monotonic_ns())["held_for_s"]
        values = {State.WITHDRAWN: (self._settings.rise,), State.HELD_DOWN: (self._last, held_s)}
        return WORDS[state] % values.get(state, ())

    def summary(self) -> dict[str, object]:
        """What /healthz and --json say."""
        standing = self._standing.summary(time.monotonic_ns())
        where = {"relay": str(self._at), "interface": self._settings.interface}
        return {**standing, "last": self._last, **where, "version": VERSION}

    async def _exposition(self) -> bytes:
        return metrics.render(self._standing.state, self._checks, self._changes)
