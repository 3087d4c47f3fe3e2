"""What one process reads off its sessions, its socket and its clock when it is scraped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from transceiver.media.ticker import Ticker
from transceiver.session.manager import SessionManager
from transceiver.transport.mux import Mux

DROPPED_PACKETS = ("unauthentic", "replayed", "malformed", "ignored", "late", "discarded")
TREATED_FRAMES = {
    "concealed_frames": "concealed",
    "fec_frames": "recovered",
    "shortened_frames": "shortened",
    "lengthened_frames": "lengthened",
    "encoded_frames": "encoded",
}
SEND_ERRORS = ("EAGAIN", "ENOBUFS", "ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EPERM")
OTHER_ERROR = "other"


class SessionCollector(Collector):
    """Gauges as they are, counters since the start; those of sessions that have ended are not lost."""

    def __init__(self, manager: SessionManager, mux: Mux, ticker: Ticker) -> None:
        self._manager = manager
        self._mux = mux
        self._ticker = ticker

    def collect(self) -> Iterable[Metric]:
        """Every family, on each scrape."""
        yield _gauges("voxpop_sessions", "Live sessions", "state", self._manager.by_state)
        yield GaugeMetricFamily(
            "voxpop_routes", "ufrags, addresses and SSRCs that lead to sessions", self._mux.routes
        )
        yield GaugeMetricFamily("voxpop_tasks", "Tasks of the event loop", len(asyncio.all_tasks()))
        yield from self._counters_of_sessions()
        yield from self._audio_gauges()
        yield from self._socket()
        yield from self._clock()

    def _counters_of_sessions(self) -> Iterator[Metric]:
        totals = self._manager.totals
        yield _counters(
            "voxpop_audio_packets",
            "Authentic RTP packets",
            "direction",
            {"received": totals["packets_received"], "sent": totals["packets_sent"]},
        )
        yield _counters(
            "voxpop_audio_bytes",
            "Bytes of authentic SRTP and SRTCP datagrams",
            "direction",
            {"received": totals["bytes_received"], "sent": totals["bytes_sent"]},
        )
        yield _counters(
            "voxpop_audio_dropped_packets",
            "Media packets of known sessions that were of no use; late: their time had been played already",
            "reason",
            {reason: totals[reason] for reason in DROPPED_PACKETS},
        )
        yield _counters(
            "voxpop_audio_frames",
            "20 ms frames by treatment: concealed and recovered ones stand for lost packets, shortened and "
            "lengthened ones adapt the jitter buffer, encoded ones were not silence",
            "treatment",
            {label: totals[name] for name, label in TREATED_FRAMES.items()},
        )
        yield _counters(
            "voxpop_events",
            "Events of the data channel: received from clients, invalid ones among what they sent, sent to "
            "them, dropped because the channel was full or not open",
            "outcome",
            {outcome: totals[f"events_{outcome}"] for outcome in ("received", "invalid", "sent", "dropped")},
        )

    def _audio_gauges(self) -> Iterator[Metric]:
        audio = [stats for stats in self._manager.audio if stats.packets_received]
        for name, text, values in (
            ("voxpop_jitter_buffer_seconds", "Depth of the jitter buffer", [s.buffer_ms for s in audio]),
            ("voxpop_jitter_seconds", "Interarrival jitter (RFC 3550)", [s.jitter_ms for s in audio]),
            (
                "voxpop_round_trip_seconds",
                "Round trip by RTCP",
                [s.rtt_ms for s in audio if s.rtt_ms is not None],
            ),
        ):
            mean = sum(values) / len(values) if values else 0.0
            yield _gauges(
                name,
                f"{text}, over live sessions whose client sends audio",
                "statistic",
                {"mean": mean / 1e3, "max": max(values, default=0.0) / 1e3},
            )

    def _socket(self) -> Iterator[Metric]:
        stats = self._mux.stats
        yield _counters(
            "voxpop_udp_packets",
            "Datagrams of the UDP port",
            "direction",
            {"received": stats.packets_received, "sent": stats.packets_sent},
        )
        yield _counters(
            "voxpop_udp_bytes",
            "Bytes in voxpop_udp_packets_total",
            "direction",
            {"received": stats.bytes_received, "sent": stats.bytes_sent},
        )
        known = {error: stats.send_errors[error] for error in SEND_ERRORS}
        known[OTHER_ERROR] = stats.send_errors.total() - sum(known.values())
        yield _counters("voxpop_udp_send_errors", "Datagrams that the kernel did not take", "error", known)
        yield CounterMetricFamily(
            "voxpop_udp_kernel_drops", "Datagrams that found the receive buffer full", self._mux.kernel_drops
        )

    def _clock(self) -> Iterator[Metric]:
        ticker = self._ticker
        yield GaugeMetricFamily(
            "voxpop_loop_lag_seconds", "Recent peak of the event loop's lateness", ticker.lag_ms / 1e3
        )
        yield GaugeMetricFamily("voxpop_core_busy_ratio", "Share of its core in use, 0–1", ticker.load.busy)
        yield _counters(
            "voxpop_ticks",
            "Phases of the 20 ms clock, 5 per turn, that ran later than the next was due, or not at all",
            "outcome",
            {"late": ticker.late_ticks, "skipped": ticker.skipped_ticks},
        )


def _gauges(name: str, text: str, label: str, values: dict[str, float] | dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
