"""The jitter buffer under clean, late, lost, doubled, reordered, paused and restarted streams."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.media import FRAME_NS, RTP_FRAME_TICKS
from transceiver.media.jitter import MAX_DEPTH_TICKS, MAX_PACKETS, Action, Arrival, JitterBuffer

MS = 1_000_000
SILK_20MS = 9 << 3
"""TOC of a wideband SILK packet with one frame of 20 ms; 10, 40 and 60 ms are 8, 10 and 11 (RFC 6716)."""
LBRR = 0b0100_0000
"""Second bit of a mono SILK frame of up to 20 ms: there is in-band FEC."""


def opus(number: int, *, fec: bool = False, config: int = 9) -> bytes:
    """A packet that tells its number."""
    return bytes((config << 3, LBRR if fec else 0)) + number.to_bytes(4)


def number_of(packet: bytes) -> int:
    """The number in a packet of `opus`."""
    return int.from_bytes(packet[2:6])


@dataclass(frozen=True)
class Sent:
    """One packet of a scripted stream; `arrives_ms` counts from the first packet's sending."""

    number: int
    timestamp: int
    arrives_ms: float
    payload: bytes


def stream(count: int, *, fec: bool = False) -> list[Sent]:
    """A clean stream of 20 ms packets."""
    return [Sent(n, n * RTP_FRAME_TICKS, n * 20.0, opus(n, fec=fec)) for n in range(count)]


class Player:
    """Drives a buffer: delivers what has arrived, then pulls 20 ms, every 20 ms."""

    def __init__(self, *, phase_ms: float = 3.0, quiet: bool = True) -> None:
        self.buffer = JitterBuffer()
        self.arrivals: list[Arrival] = []
        self.played: list[str] = []
        """Per step: the packet's number, or what stood in for one: f(ec), c(onceal), s(ilence), + and -."""
        self.numbers: list[int] = []
        self.played_at_ms: dict[int, float] = {}
        self._phase_ns = int(phase_ms * MS)
        self._quiet = quiet
        self._buffered = 0

    def play(self, packets: list[Sent], pulls: int) -> Player:
        waiting = sorted(packets, key=lambda sent: sent.arrives_ms)
        for pull in range(pulls):
            now_ns = pull * FRAME_NS + self._phase_ns
            while waiting and waiting[0].arrives_ms * MS <= now_ns:
                sent = waiting.pop(0)
                at_ns = int(sent.arrives_ms * MS)
                arrival = self.buffer.insert(sent.number, sent.timestamp % 2**32, sent.payload, at_ns)
                self.arrivals.append(arrival)
            self._pull(now_ns)
        return self

    def _pull(self, now_ns: int) -> None:
        if not self.buffer.tick(now_ns, self._buffered):
            return
        adjustment = self.buffer.adjustment(self._quiet)
        if adjustment:
            self.buffer.adjusted(now_ns)
            self.played.append("-" if adjustment > 0 else "+")
        if adjustment < 0:
            return
        for _ in range(1 + max(adjustment, 0)):
            self._fill(now_ns)
            self._buffered -= RTP_FRAME_TICKS

    def _fill(self, now_ns: int) -> None:
        while self._buffered < RTP_FRAME_TICKS:
            step = self.buffer.pop()
            assert 0 < step.ticks <= 5760
            self._buffered += step.ticks
            if step.action is Action.DECODE:
                number = number_of(step.packet)
                self.numbers.append(number)
                self.played_at_ms[number] = now_ns / MS
                self.played.append(str(number))
            else:
                mark = {Action.DECODE_FEC: "f", Action.CONCEAL: "c", Action.SILENCE: "s"}
                self.played.append(mark[step.action])

    def delay_ms(self, sent: Sent) -> float:
        """From a packet's sending to its playing."""
        return self.played_at_ms[sent.number] - sent.timestamp / 48


@pytest.mark.parametrize("phase_ms", [0, 0.1, 5, 10, 19.9])
def test_a_clean_stream_starts_and_stays_between_20_and_40_ms(phase_ms: float) -> None:
    packets = stream(500)
    player = Player(phase_ms=phase_ms).play(packets, 502)
    delays = {round(player.delay_ms(sent), 3) for sent in packets}
    assert len(delays) == 1
    assert 20 <= delays.pop() < 40
    assert player.numbers == list(range(500))


@pytest.mark.parametrize("fec", [True, False])
@pytest.mark.parametrize("lost", [{50}, {50, 51}, {50, 52, 54}, set(range(50, 60)), set(range(50, 130))])
def test_loss_never_adds_delay(lost: set[int], fec: bool) -> None:
    packets = [sent for sent in stream(300, fec=fec) if sent.number not in lost]
    player = Player().play(packets, 302)
    assert {player.delay_ms(sent) for sent in packets} == {23.0}
    stand_ins = [mark for mark in player.played[: player.played.index("299")] if mark in "fc"]
    assert len(stand_ins) == len(lost)


def test_a_lost_packet_comes_from_its_successors_fec() -> None:
    packets = [sent for sent in stream(20, fec=True) if sent.number not in (10, 11)]
    player = Player().play(packets, 20)
    assert player.played[9:14] == ["9", "c", "f", "12", "13"]


def test_without_fec_it_is_concealed() -> None:
    packets = [sent for sent in stream(20) if sent.number != 10]
    assert Player().play(packets, 20).played[9:12] == ["9", "c", "11"]


def test_reordering_within_the_headroom_is_not_heard() -> None:
    packets = stream(100)
    packets[50] = Sent(50, 50 * RTP_FRAME_TICKS, 50 * 20.0 + 21, opus(50))
    player = Player().play(packets, 100)
    assert player.numbers == list(range(99))
    assert not set("fcs+-") & set(player.played)


def test_duplicates_are_played_once() -> None:
    packets = [copy for sent in stream(100) for copy in (sent, sent)]
    player = Player().play(packets, 100)
    assert player.numbers == list(range(99))
    assert player.arrivals.count(Arrival.DUPLICATE) == 100


def test_late_packets_grow_the_delay_and_two_calm_seconds_take_it_back() -> None:
    """Everything between 2.0 and 2.2 s is held up until 2.2 s."""
    packets = [
        Sent(s.number, s.timestamp, 2200 if 2000 <= s.arrives_ms < 2200 else s.arrives_ms, s.payload)
        for s in stream(400)
    ]
    player = Player(quiet=False).play(packets, 401)
    assert player.delay_ms(packets[110]) > 180
    assert player.delay_ms(packets[110 + 100]) == 23.0
    assert player.played.count("-") == player.played.count("c") == 9


def test_a_path_that_is_late_again_after_a_shrink_is_given_more_time_the_next_time() -> None:
    packets = [
        Sent(s.number, s.timestamp, s.arrives_ms + (70 if s.number % 100 == 50 else 0), s.payload)
        for s in stream(1500)
    ]
    player = Player().play(packets, 1500)
    assert player.arrivals[:500].count(Arrival.LATE) > player.arrivals[1000:].count(Arrival.LATE)


def test_shrinking_waits_for_a_quiet_moment_but_not_for_ever() -> None:
    late = [Sent(s.number, s.timestamp, max(s.arrives_ms, 500), s.payload) for s in stream(200)]
    impatient, patient = Player(quiet=True).play(late, 200), Player(quiet=False).play(late, 200)
    assert impatient.played.index("-") < patient.played.index("-")
    assert impatient.played_at_ms[190] == patient.played_at_ms[190]


def test_a_gap_in_time_without_a_gap_in_sequence_is_a_pause_not_a_loss() -> None:
    before = stream(20)
    pause = [Sent(20, 20 * RTP_FRAME_TICKS, 400.0, bytes((SILK_20MS,)))]
    after = [Sent(21 + n, (60 + n) * RTP_FRAME_TICKS, (60 + n) * 20.0, opus(21 + n)) for n in range(20)]
    player = Player().play(before + pause + after, 82)
    assert "c" not in player.played[: player.played.index("40")]
    assert player.played_at_ms[21] == 60 * 20 + 23


@pytest.mark.parametrize(("config", "ticks"), [(8, 480), (9, 960), (10, 1920), (11, 2880)])
def test_packets_of_10_to_60_ms(config: int, ticks: int) -> None:
    count = 96_000 // ticks
    packets = [Sent(n, n * ticks, n * ticks / 48, opus(n, config=config)) for n in range(count)]
    player = Player().play(packets, 100)
    assert not set("fcs+-") & set(player.played)
    assert max(player.delay_ms(sent) for sent in packets[: count - 6]) < 40


def stamped(stamps: list[int], *, lost: frozenset[int] = frozenset()) -> list[Sent]:
    """20 ms packets with FEC and these timestamps, on time."""
    return [Sent(n, stamp, n * 20.0, opus(n, fec=True)) for n, stamp in enumerate(stamps) if n not in lost]


@pytest.mark.parametrize(
    "lost", [frozenset(), frozenset({50}), frozenset({50, 51}), frozenset(range(60, 70))]
)
@pytest.mark.parametrize("step", [953, 959, 961, 967, 160, 320, 480, 882, 1800])
def test_whatever_the_clock_losses_are_filled_by_whole_packets(step: int, lost: frozenset[int]) -> None:
    player = Player().play(stamped([n * step for n in range(100)], lost=lost), 101)
    assert player.numbers == [n for n in range(100) if n not in lost]
    assert [player.played.count(mark) for mark in "fcs"] == [len(lost) > 0, max(0, len(lost) - 1), 0]
    assert {player.played_at_ms[n] - n * 20 for n in player.numbers[-20:]} == {23.0}


@given(st.lists(st.integers(0, 19), min_size=30, max_size=100), st.sets(st.integers(0, 99), max_size=20))
def test_stamps_off_by_less_than_a_packet_are_not_heard(errors_ms: list[int], lost: set[int]) -> None:
    stamps = [n * RTP_FRAME_TICKS + error * 24 for n, error in enumerate(errors_ms)]
    packets = stamped(stamps, lost=frozenset(lost - {0}))
    player = Player().play(packets, len(stamps) + 5)
    assert player.numbers == [sent.number for sent in packets]
    assert "s" not in player.played


def test_a_pause_under_an_odd_clock_is_still_a_pause() -> None:
    stamps = [n * 961 for n in range(20)] + [(n + 40) * 961 for n in range(20, 60)]
    packets = [Sent(n, stamp, n * 20.0 + (800 if n >= 20 else 0), opus(n)) for n, stamp in enumerate(stamps)]
    player = Player().play(packets, 101)
    assert player.numbers == list(range(60))
    assert player.buffer.timeline.foreign_packets == 0
    assert player.delay_ms(packets[-1]) == pytest.approx(23, abs=2.5)


def test_timestamps_wrap() -> None:
    start = 2**32 - 50 * RTP_FRAME_TICKS
    packets = [Sent(s.number, start + s.timestamp, s.arrives_ms, s.payload) for s in stream(100)]
    player = Player().play(packets, 100)
    assert player.numbers == list(range(99))


@pytest.mark.parametrize("jump", [48_000, 2**31, -48_000 * 3, -48_000 * 3600])
def test_a_sender_on_another_timeline_starts_again(jump: int) -> None:
    packets = [
        Sent(s.number, s.timestamp + (jump if s.number >= 50 else 0), s.arrives_ms, s.payload)
        for s in stream(100)
    ]
    player = Player().play(packets, 104)
    assert player.arrivals.count(Arrival.RESTART) == 2
    assert player.numbers[-48:] == list(range(52, 100))
    assert player.played_at_ms[99] == 99 * 20 + 23


def test_after_forget_any_timestamp_is_a_start() -> None:
    player = Player().play(stream(50), 50)
    player.buffer.forget()
    assert not player.buffer.tick(50 * FRAME_NS, 0)
    assert player.buffer.insert(7, 123, opus(1), 50 * FRAME_NS) is Arrival.RESTART


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    """A second of audio arrives at once, 400 ms of it are kept."""
    held = [Sent(s.number, s.timestamp, max(s.arrives_ms, 1200), s.payload) for s in stream(60)[10:]]
    player = Player().play(stream(10) + held, 90)
    assert player.numbers == [*range(10), *range(40, 60)]
    assert player.buffer.discarded == 30


@pytest.mark.parametrize("payload", [b"", b"\x03", b"\x03\x00", b"\x03\x3f", bytes((SILK_20MS | 3, 7))])
def test_what_is_not_opus_is_refused(payload: bytes) -> None:
    assert JitterBuffer().insert(0, 0, payload, 0) is Arrival.MALFORMED


DISTURBANCE = st.fixed_dictionaries(
    {
        "late_ms": st.one_of(st.just(0.0), st.floats(0, 80), st.floats(0, 700)),
        "copies": st.sampled_from([0, 1, 1, 1, 1, 2]),
    }
)


@given(st.lists(DISTURBANCE, min_size=10, max_size=120), st.booleans(), st.booleans(), st.floats(0, 19.9))
def test_any_disturbance_is_bounded_plays_nothing_twice_and_passes(
    disturbances: list[dict[str, float]], fec: bool, quiet: bool, phase_ms: float
) -> None:
    disturbed, calm = len(disturbances), 400
    packets = []
    for sent in stream(disturbed + calm, fec=fec):
        what = disturbances[sent.number] if sent.number < disturbed else {"late_ms": 0.0, "copies": 1}
        late = Sent(sent.number, sent.timestamp, sent.arrives_ms + what["late_ms"], sent.payload)
        packets += [late] * int(what["copies"])
    player = Bounded(phase_ms=phase_ms, quiet=quiet).play(packets, disturbed + calm + 30)
    assert player.numbers == sorted(set(player.numbers))
    settled = stream(disturbed + calm)[-50:]
    assert max(player.delay_ms(sent) for sent in settled) <= 45


class Bounded(Player):
    """Checks at every pull that what waits is within its bounds."""

    def _pull(self, now_ns: int) -> None:
        packets = self.buffer._packets
        assert len(packets) <= MAX_PACKETS
        if packets:
            assert packets[-1].end - packets[0].timestamp <= MAX_DEPTH_TICKS
        super()._pull(now_ns)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 65535),
            st.integers(0, 2**32 - 1) | st.integers(0, 20_000),
            st.binary(min_size=0, max_size=4),
            st.integers(0, 100),
        ),
        max_size=150,
    )
)
def test_hostile_packets_cannot_break_bounds_or_stop_time(packets: list[tuple[int, int, bytes, int]]) -> None:
    buffer, now_ns = JitterBuffer(), 0
    for sequence, timestamp, payload, wait_ms in packets:
        now_ns += wait_ms * MS
        buffer.insert(sequence, timestamp, payload, now_ns)
        assert len(buffer._packets) <= MAX_PACKETS
        if buffer.tick(now_ns, 0):
            pops, ticks = 0, 0
            while ticks < RTP_FRAME_TICKS:
                step = buffer.pop()
                assert step.ticks > 0
                ticks += step.ticks
                pops += 1
            assert pops <= 2 * MAX_PACKETS
