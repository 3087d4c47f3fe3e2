"""What a worker shows when it is scraped: events that it was told of, and what its parts hold."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from core.service.metrics import OTHER, Recorder, Series, exposition
from core.service.metrics.exposition import Family, by_label, plain
from transceiver.host import catalogue
from transceiver.media.ticker import Ticker
from transceiver.observer import Observer
from transceiver.session.manager import SessionManager
from transceiver.transport.mux import Mux

Collect = Callable[[], Iterable[Family]]


class Metrics(Observer):
    """Keeps count of events; `exposition` has these and what was registered besides."""

    def __init__(self) -> None:
        self._recorder = Recorder(catalogue.RECORDED)
        self._collects: list[Collect] = []

    def count(self, event: Series, *row: str) -> None:
        """See Observer."""
        self._recorder.count(event, *row)

    def observe(self, event: Series, value: float, *row: str) -> None:
        """See Observer."""
        self._recorder.observe(event, value, *row)

    def packet_refused(self, reason: str) -> None:
        """See Observer."""
        self._recorder.count(catalogue.REFUSALS, reason)

    def request_refused(self, reason: str) -> None:
        """See Observer."""
        self._recorder.count(catalogue.HTTP_REFUSALS, reason)

    def register(self, collect: Collect) -> None:
        """Show what this returns at each scrape, too."""
        self._collects.append(collect)

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        collected = itertools.chain.from_iterable(collect() for collect in self._collects)
        own = exposition.recorded(self._recorder)
        return exposition.render(itertools.chain(exposition.of_this_process(), own, collected))


class SessionCollector:
    """Gauges as they are, counters since the start; those of sessions that have ended are not lost."""

    def __init__(self, manager: SessionManager, mux: Mux, ticker: Ticker) -> None:
        self._manager = manager
        self._mux = mux
        self._ticker = ticker

    def collect(self) -> Iterator[Family]:
        """Every family, on each scrape."""
        yield by_label(catalogue.SESSIONS, self._manager.by_state)
        yield plain(catalogue.SESSION_CAPACITY, self._manager.capacity)
        yield plain(catalogue.ROUTES, self._mux.routes)
        yield plain(catalogue.TASKS, len(asyncio.all_tasks()))
        yield from self._counters_of_sessions()
        yield from self._audio_gauges()
        yield from self._socket()
        yield from self._clock()

    def _counters_of_sessions(self) -> Iterator[Family]:
        totals = self._manager.totals
        for counted in catalogue.SESSION_COUNTERS:
            yield by_label(
                counted.series, {value: totals[member] for value, member in counted.members.items()}
            )

    def _audio_gauges(self) -> Iterator[Family]:
        audio = [stats for stats in self._manager.audio if stats.packets_received]
        yield _statistics(catalogue.JITTER_BUFFER, [stats.buffer_ms for stats in audio])
        yield _statistics(catalogue.JITTER, [stats.jitter_ms for stats in audio])
        yield _statistics(catalogue.ROUND_TRIP, [stats.rtt_ms for stats in audio if stats.rtt_ms is not None])

    def _socket(self) -> Iterator[Family]:
        stats = self._mux.stats
        yield by_label(
            catalogue.UDP_PACKETS, {"received": stats.packets_received, "sent": stats.packets_sent}
        )
        yield by_label(catalogue.UDP_BYTES, {"received": stats.bytes_received, "sent": stats.bytes_sent})
        known = {error: stats.send_errors[error] for error in catalogue.SEND_ERRORS}
        known[OTHER] = stats.send_errors.total() - sum(known.values())
        yield by_label(catalogue.SEND_FAILURES, known)
        yield plain(catalogue.KERNEL_DROPS, self._mux.kernel_drops)

    def _clock(self) -> Iterator[Family]:
        ticker = self._ticker
        yield plain(catalogue.LOOP_LAG, ticker.lag_ms / 1e3)
        yield plain(catalogue.CORE_BUSY, ticker.load.busy)
        yield by_label(catalogue.MISSED_TICKS, {"late": ticker.late_ticks, "skipped": ticker.skipped_ticks})


def _statistics(series: Series, values_ms: Sequence[float]) -> Family:
    mean_ms = sum(values_ms) / len(values_ms) if values_ms else 0.0
    return by_label(series, {"mean": mean_ms / 1e3, "max": max(values_ms, default=0.0) / 1e3})
