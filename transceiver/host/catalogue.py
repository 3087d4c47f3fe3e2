"""Every series of a transceiver: what each worker shows, and what the supervisor adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.service.http_server import Cut
from core.service.metrics import OTHER, WORKER, Bound, Kind, Series, counter, gauge
from core.service.metrics.daemon import DAEMON
from core.service.metrics.exposition import PROCESS
from core.service.metrics.reference import Section
from core.store.base import StoreReason
from core.store.heartbeat import HeartbeatReason
from transceiver.observer import EVENTS
from transceiver.realtime import client_events
from transceiver.sdp import SdpReason
from transceiver.session.state import PACKET_REASONS, SessionState
from transceiver.signaling import steering
from transceiver.signaling.hosts import FORWARDED
from transceiver.signaling.quotas import QUOTA_REFUSALS
from transceiver.signaling.referrals import REFERRALS
from transceiver.signaling.refusals import HttpReason
from transceiver.signaling.websockets import SIDEBANDS

# What is refused

REFUSALS = counter(
    "voxpop_transceiver_refusals_total",
    "Datagrams, or messages in them, that were refused, by reason.",
    reason=(*PACKET_REASONS, OTHER),
)
HTTP_REFUSALS = counter(
    "voxpop_transceiver_http_refusals_total",
    "HTTP requests that were refused, by reason: http_* and full, overloaded, draining, no_pop, "
    "owner_silent; sdp_* where the description in the request is to blame.",
    reason=(*HttpReason, *SdpReason, OTHER),
)
CONNECTIONS_CLOSED = counter(
    "voxpop_transceiver_http_connections_closed_total",
    "HTTP connections that were closed by us, by reason: gave_way to others, as there was no room; to others "
    "of a crowd at one address; full, as they came, since nobody could give way; body_late, answer_late, "
    "header_too_long; wasteful bodies in chunks of a few bytes.",
    reason=Cut,
)
RECORDED: tuple[Series, ...] = (
    *EVENTS,
    *steering.EVENTS,
    REFERRALS,
    FORWARDED,
    SIDEBANDS,
    REFUSALS,
    HTTP_REFUSALS,
    CONNECTIONS_CLOSED,
)

# What sessions count


@dataclass(frozen=True, slots=True)
class SessionCounter:
    """A series that is summed over sessions, those that have ended included."""

    series: Series
    members: Mapping[str, str]
    """The value of its label → the member of `SessionManager.totals`."""


def _session_counter(name: str, help_text: str, /, label: str, members: Mapping[str, str]) -> SessionCounter:
    return SessionCounter(Series(name, Kind.COUNTER, help_text, {label: tuple(members)}), members)


SESSION_COUNTERS = (
    _session_counter(
        "voxpop_transceiver_audio_packets_total",
        "Authentic RTP packets, by direction.",
        "direction",
        {"received": "packets_received", "sent": "packets_sent"},
    ),
    _session_counter(
        "voxpop_transceiver_audio_bytes_total",
        "Bytes of authentic SRTP and SRTCP datagrams, by direction.",
        "direction",
        {"received": "bytes_received", "sent": "bytes_sent"},
    ),
    _session_counter(
        "voxpop_transceiver_audio_dropped_packets_total",
        "Media packets of known sessions that were of no use, by reason. late: their time had been played "
        "already. discarded: too much was waiting.",
        "reason",
        {name: name for name in ("unauthentic", "replayed", "malformed", "ignored", "late", "discarded")},
    ),
    _session_counter(
        "voxpop_transceiver_audio_frames_total",
        "Frames of 20 ms by treatment: concealed and recovered ones stand for lost packets, shortened and "
        "lengthened ones adapt the jitter buffer, encoded ones were not silence.",
        "treatment",
        {
            "concealed": "concealed_frames",
            "recovered": "fec_frames",
            "shortened": "shortened_frames",
            "lengthened": "lengthened_frames",
            "encoded": "encoded_frames",
        },
    ),
    _session_counter(
        "voxpop_transceiver_audio_misstamped_packets_total",
        "Packets of callers whose RTP timestamps are not Opus's, by clock: odd ones are a part of a packet "
        "off, foreign ones count another clock than 48 kHz, and the packets are played by sequence number.",
        "clock",
        {"odd": "odd_timestamps", "foreign": "foreign_timestamps"},
    ),
    _session_counter(
        "voxpop_transceiver_events_total",
        "Events, by outcome: received from clients and sidebands, invalid ones among what they sent, refused "
        "as their sender may not send them, limited as the call had sent too many, sent over data channels, "
        "dropped as one was full or not open.",
        "outcome",
        {outcome: f"events_{outcome}" for outcome in client_events.COUNTERS},
    ),
)

# What is read at the time of the scrape

SESSIONS = gauge(
    "voxpop_transceiver_sessions",
    "Live sessions by state: new until the first check, connecting until there are keys, then connected.",
    state=[state.value for state in SessionState if state is not SessionState.CLOSED],
)
SESSION_CAPACITY = gauge(
    "voxpop_transceiver_session_capacity",
    "Sessions that the process takes at most, `transceiver.max_sessions`.",
)
ROUTES = gauge(
    "voxpop_transceiver_routes", "Ufrags, addresses and SSRCs that lead to sessions; 0 without sessions."
)
TASKS = gauge("voxpop_transceiver_tasks", "Tasks of the event loop, in whatever state.")

STATISTICS = ("mean", "max")
JITTER_BUFFER = gauge(
    "voxpop_transceiver_jitter_buffer_seconds",
    "Depth of the jitter buffer, over live sessions whose client sends audio.",
    statistic=STATISTICS,
)
JITTER = gauge(
    "voxpop_transceiver_jitter_seconds",
    "Interarrival jitter (RFC 3550), over live sessions whose client sends audio.",
    statistic=STATISTICS,
)
ROUND_TRIP = gauge(
    "voxpop_transceiver_round_trip_seconds",
    "Round trip by RTCP, over live sessions whose client sends audio and reports.",
    statistic=STATISTICS,
)

UDP_DIRECTIONS = ("received", "sent")
UDP_PACKETS = counter(
    "voxpop_transceiver_udp_packets_total",
    "Datagrams of the UDP port, by direction.",
    direction=UDP_DIRECTIONS,
)
UDP_BYTES = counter(
    "voxpop_transceiver_udp_bytes_total",
    "Bytes of UDP payload in voxpop_transceiver_udp_packets_total.",
    direction=UDP_DIRECTIONS,
)
SEND_ERRORS = ("EAGAIN", "ENOBUFS", "ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EPERM")
SEND_FAILURES = counter(
    "voxpop_transceiver_send_failures_total",
    "Datagrams that the kernel did not take for sending, by error.",
    error=(*SEND_ERRORS, OTHER),
)
KERNEL_DROPS = counter(
    "voxpop_transceiver_kernel_drops_total",
    "Datagrams that the kernel dropped because the UDP socket's buffer was full.",
)

LOOP_LAG = gauge("voxpop_transceiver_loop_lag_seconds", "Recent peak of the event loop's lateness.")
CORE_BUSY = gauge("voxpop_transceiver_core_busy_ratio", "Share of its core that the worker uses, 0 to 1.")
MISSED_TICKS = counter(
    "voxpop_transceiver_missed_ticks_total",
    "Phases of the 20 ms clock, 10 per turn, that missed their deadline: late ones ran more than 4 ms after "
    "it, skipped ones did not run at all.",
    outcome=("late", "skipped"),
)

SHOWN_BY_WORKERS: tuple[Series, ...] = (
    *RECORDED,
    *(counted.series for counted in SESSION_COUNTERS),
    SESSIONS, SESSION_CAPACITY, ROUTES, TASKS,
    JITTER_BUFFER, JITTER, ROUND_TRIP,
    UDP_PACKETS, UDP_BYTES, SEND_FAILURES, KERNEL_DROPS,
    LOOP_LAG, CORE_BUSY, MISSED_TICKS,
    steering.NAMED, QUOTA_REFUSALS,
)  # fmt: skip
"""Without the label `worker`, which the supervisor puts before the others."""

WORKER_UP = gauge(
    "voxpop_transceiver_worker_up", "1 where the worker answered the scrape, else 0.", worker=WORKER
)
CALLS_LOST = counter(
    "voxpop_transceiver_calls_lost_total",
    "Calls that died with their worker, which was killed or crashed.",
    worker=WORKER,
)
POP_UP = gauge(
    "voxpop_transceiver_pop_up",
    "1 where the PoP takes calls, as far as is known, else 0: answers do not name it.",
    pop=steering.POP,
)
POP_LOAD = gauge(
    "voxpop_transceiver_pop_load_ratio",
    "Share of the PoP's flows that are taken, 0 to 1. NaN where it has not said.",
    pop=steering.POP,
)
POP_CLOCK = gauge(
    "voxpop_transceiver_pop_clock_ahead_seconds",
    "By how much the clock of the PoP is ahead of this host's, negative when it is behind; 0 within "
    "1.5 s. NaN until the PoP has answered.",
    pop=steering.POP,
)
POP_HOSTS = gauge(
    "voxpop_transceiver_pop_hosts",
    "Hosts of the PoP whose heartbeats are heard by way of the store. With 0, what its `status` answers is "
    "all that is known of it.",
    pop=steering.POP,
)
HEARTBEATS_IGNORED = counter(
    "voxpop_transceiver_heartbeats_ignored_total",
    "Heartbeats of PoP hosts in the store that were not believed, by reason, once in each round of 2 s.",
    reason=HeartbeatReason,
)
STORE_FAILURES = counter(
    "voxpop_transceiver_store_failures_total",
    "Rounds in which the store could not be asked for heartbeats, by reason.",
    reason=StoreReason,
)

REGION_UP = gauge(
    "voxpop_transceiver_region_up",
    "1 where the region says that it takes calls, else 0: callers are not referred to it.",
    region=Bound("each of `transceiver.other_regions`"),
)
LOCATIONS_AGE = gauge(
    "voxpop_transceiver_location_database_age_seconds",
    "Time since `transceiver.location_database` was built by its maker. NaN without one.",
)

TRANSCEIVER: tuple[Series, ...] = (
    WORKER_UP,
    CALLS_LOST,
    POP_UP,
    POP_LOAD,
    POP_CLOCK,
    POP_HOSTS,
    HEARTBEATS_IGNORED,
    STORE_FAILURES,
    REGION_UP,
    LOCATIONS_AGE,
    *(series.of_each_worker() for series in SHOWN_BY_WORKERS),
)
WORKERS: tuple[Series, ...] = tuple(series.of_each_worker() for series in PROCESS)

SECTIONS = (
    Section(
        "Transceiver",
        "What each worker has counted since it was started, and what it holds. One that does not answer is "
        "missing from a scrape, but for `voxpop_transceiver_worker_up`.",
        TRANSCEIVER,
    ),
    Section(
        "Processes of a transceiver's workers",
        "Under the names that every client library of Prometheus gives them.",
        WORKERS,
    ),
)
ALL: tuple[Series, ...] = (*DAEMON, *TRANSCEIVER, *WORKERS)
"""What a transceiver shows."""
