"""Two audio paths on a network with a clock of its own: nothing here takes real time or depends on it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tests.sound import Samples, find, frames, speech
from transceiver.media import FRAME_NS, SAMPLE_RATE
from transceiver.media.codec import AudioCodec
from transceiver.media.keys import SrtpKeys
from transceiver.media.load import NORMAL_COMPLEXITY
from transceiver.media.path import AudioPath

MS = 1_000_000
NETWORK_MS = 30.0
ENCODER_LOOKAHEAD_MS = 6.5
"""Opus's own delay at 24 kHz, VOIP (OPUS_GET_LOOKAHEAD is 156): it is the sender's, not the receiver's."""
_ONE_WAY, _OTHER_WAY = bytes(range(30)), bytes(range(100, 130))

Network = Callable[[int], float | None]
"""Packet number → milliseconds on the way, None when it never arrives."""


def clean(_: int) -> float | None:
    """Every packet takes the same time."""
    return NETWORK_MS


def losing(*lost: int) -> Network:
    """These packets, by number, are lost."""
    return lambda number: None if number in lost else NETWORK_MS


@dataclass
class Party:
    """One end: what it says, over which network, and what it hears."""

    path: AudioPath
    says: Sequence[bytes | None]
    network: Network
    heard: list[bytes] = field(default_factory=list)
    first_heard_ns: int = 0

    def hear(self, now_ns: int) -> None:
        pcm = self.path.pull(now_ns)
        if pcm is not None:
            self.first_heard_ns = self.first_heard_ns or now_ns
            self.heard.append(pcm)

    @property
    def audio(self) -> Samples:
        return np.frombuffer(b"".join(self.heard), "<i2")


def pushed(path: AudioPath, pcm: bytes | None, now_ns: int) -> bytes:
    """The datagram of a tick that has one."""
    datagram = path.push(pcm, now_ns)
    assert datagram is not None
    return datagram


def pair(codec: AudioCodec, *, complexity: int = NORMAL_COMPLEXITY) -> tuple[AudioPath, AudioPath]:
    """Two paths with each other's keys."""
    profile = "SRTP_AES128_CM_SHA1_80"
    ways = (_ONE_WAY, _OTHER_WAY), (_OTHER_WAY, _ONE_WAY)
    keys = [SrtpKeys(profile, *map(bytearray, way)) for way in ways]
    return (
        AudioPath(keys[0], codec, 1, "alice", 0, complexity=lambda: complexity),
        AudioPath(keys[1], codec, 2, "bob", 0, complexity=lambda: complexity),
    )


def converse(
    says: tuple[Sequence[bytes | None], Sequence[bytes | None]],
    networks: tuple[Network, Network] = (clean, clean),
    *,
    codec: AudioCodec = AudioCodec(111),  # noqa: B008  frozen
    pull_phase_ms: float = 3.0,
) -> tuple[Party, Party]:
    """Both talk for as long as they have frames. Frame k is sent at 20·k ms; pulls come `pull_phase_ms`
    after each packet of a clean network arrives. RTCP takes the same way and is never lost.
    """
    parties = tuple(
        Party(path, said, network) for path, said, network in zip(pair(codec), says, networks, strict=True)
    )
    events: list[tuple[int, int, Callable[[int], object]]] = []
    order = itertools.count()

    def at(time_ns: int, action: Callable[[int], object]) -> None:
        heapq.heappush(events, (time_ns, next(order), action))

    def deliver(datagram: bytes | None, listener: Party, delay_ms: float | None, now_ns: int) -> None:
        if datagram is not None and delay_ms is not None:
            at(now_ns + int(delay_ms * MS), lambda now: listener.path.receive_untrusted(datagram, now))

    def send_second(speaker: Party, listener: Party, number: int, now_ns: int) -> None:
        deliver(speaker.path.push_second(), listener, speaker.network(number), now_ns)

    def send(speaker: Party, listener: Party, number: int, now_ns: int) -> None:
        deliver(speaker.path.push(speaker.says[number], now_ns), listener, speaker.network(number), now_ns)
        at(now_ns + FRAME_NS // 2, partial(send_second, speaker, listener, number))
        deliver(speaker.path.poll_rtcp(now_ns), listener, NETWORK_MS, now_ns)

    start_ns = 1_000_000 * MS
    for speaker, listener in (parties, parties[::-1]):
        for number in range(len(speaker.says)):
            tick_ns = start_ns + number * FRAME_NS
            at(tick_ns, partial(send, speaker, listener, number))
            at(tick_ns + int((NETWORK_MS + pull_phase_ms) * MS), listener.hear)
    while events:
        time_ns, _, action = heapq.heappop(events)
        action(time_ns)
    for party in parties:
        party.first_heard_ns -= start_ns
    return parties[0], parties[1]


def receive_delay_ms(party: Party, source: Samples, at_ms: float, window_ms: float = 400.0) -> float:
    """How much later than its packets' arrival the audio around `at_ms` of the source is played.

    By cross-correlation, searched for within the 600 ms that a jitter buffer could add.
    """
    window = _slice(source, at_ms, at_ms + window_ms)
    first_ms = party.first_heard_ns / MS
    earliest_ms = at_ms + NETWORK_MS - first_ms - 20
    begin = max(0, int(earliest_ms * SAMPLE_RATE / 1000))
    haystack = party.audio[begin : begin + len(window) + int(0.6 * SAMPLE_RATE)]
    match = find(window, haystack)
    assert match.likeness > 0.5, f"the audio at {at_ms} ms is not to be found: {match.likeness:.2f}"
    played_ms = first_ms + begin * 1000 / SAMPLE_RATE + match.at_ms
    return played_ms - at_ms - NETWORK_MS - ENCODER_LOOKAHEAD_MS


def _slice(samples: Samples, from_ms: float, to_ms: float) -> Samples:
    return samples[int(from_ms * SAMPLE_RATE / 1000) : int(to_ms * SAMPLE_RATE / 1000)]


def long_speech(seconds: float) -> Samples:
    """The test sentence over and over."""
    sentence = speech()
    return np.resize(sentence, int(seconds * SAMPLE_RATE))


def long_frames(seconds: float) -> list[bytes]:
    """`long_speech` as frames."""
    return frames(long_speech(seconds))
