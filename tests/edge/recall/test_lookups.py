"""Which strangers are asked for: in order, once in a while, and never more than there is room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.recall.lookups import Answer, HeldPacket, Limits, Lookups, S
from edge.relay.forwarder import Stranger, VipIndex
from edge.relay.verdict import RelayReason

PACKET = HeldPacket(b"\x16" * 100, RelayReason.UNKNOWN_FLOW_DTLS)
MEDIA = HeldPacket(b"\x80" * 100, RelayReason.UNKNOWN_FLOW_MEDIA)
MS = S // 1000
VIP = VipIndex(0)


def stranger(number: int) -> Stranger:
    return Stranger(VIP, ("198.51.100.7", 1024 + number))


def test_a_client_is_asked_for_once_and_its_packets_wait_for_the_answer() -> None:
    lookups = Lookups(Limits())
    assert not lookups.is_wanted
    assert [lookups.hold(stranger(0), PACKET, 5) for _ in range(3)] == [Answer.HELD] * 3
    assert lookups.hold(stranger(1), PACKET, 6) is Answer.HELD
    assert lookups.is_wanted
    assert lookups.take(10) == [stranger(0), stranger(1)]
    assert not lookups.is_wanted
    assert lookups.hold(stranger(0), PACKET, 7) is Answer.HELD  # while it is asked for
    assert lookups.take(10) == []
    held = lookups.finish(stranger(0))
    assert (held.since_ns, held.packets) == (5, [PACKET] * 4)
    assert len(lookups) == 1


def test_the_first_packets_are_kept_and_the_others_are_not() -> None:
    lookups = Lookups(Limits(dtls_per_client=2))
    answers = [lookups.hold(stranger(0), PACKET, 0) for _ in range(4)]
    assert answers == [Answer.HELD, Answer.HELD, Answer.NOT_HELD, Answer.NOT_HELD]
    answers = [lookups.hold(stranger(1), MEDIA, 0) for _ in range(2)]
    assert answers == [Answer.HELD, Answer.NOT_HELD], "late media is not worth its work"


def test_who_has_enough_is_known_until_the_answer_comes_or_a_check_is_faster() -> None:
    lookups = Lookups(Limits())
    assert not lookups.is_asking
    assert not lookups.is_full(stranger(0))
    for number in range(3):
        lookups.hold(stranger(number), MEDIA, 0)
    assert lookups.is_asking
    assert all(lookups.is_full(stranger(number)) for number in range(3))
    assert not lookups.is_full(stranger(3))
    lookups.take(2)
    assert all(lookups.is_full(stranger(number)) for number in range(3)), "asked for, or still to be"
    lookups.overtake(stranger(0))
    lookups.overtake(stranger(7))  # nobody asks for them
    assert not lookups.is_full(stranger(0)), "it has a flow, which is to carry its media"
    lookups.finish(stranger(1))
    assert not lookups.is_full(stranger(1))
    lookups.finish(stranger(0))
    lookups.take(1)
    lookups.finish(stranger(2))
    assert not lookups.is_asking


def test_what_is_held_has_a_limit_in_bytes_and_clients_are_asked_for_all_the_same() -> None:
    lookups = Lookups(Limits(held_bytes=250))
    answers = [lookups.hold(stranger(number), PACKET, 0) for number in range(3)]
    assert answers == [Answer.HELD, Answer.HELD, Answer.NOT_HELD]
    assert lookups.take(10) == [stranger(number) for number in range(3)]
    lookups.finish(stranger(0))
    assert lookups.hold(stranger(3), PACKET, 0) is Answer.HELD  # its room is free again


def test_clients_that_wait_have_a_limit() -> None:
    lookups = Lookups(Limits(clients=2))
    answers = [lookups.hold(stranger(number), PACKET, 0) for number in range(3)]
    assert answers == [Answer.HELD, Answer.HELD, Answer.CROWDED]
    (first,) = lookups.take(1)
    assert lookups.hold(stranger(2), PACKET, 0) is Answer.CROWDED  # who is asked for takes room too
    lookups.finish(first)
    assert lookups.hold(stranger(2), PACKET, 0) is Answer.HELD


def test_questions_have_a_rate_and_a_burst() -> None:
    lookups = Lookups(Limits(asks_per_s=100, burst=10))
    held = sum(lookups.hold(stranger(n), PACKET, 10 * S) is Answer.HELD for n in range(50))
    assert held == 11  # one, and ten that are owed
    held = sum(lookups.hold(stranger(n), PACKET, 11 * S) is Answer.HELD for n in range(100, 300))
    assert held == 11
    now_ns, held = 20 * S, 0
    for number in range(1000, 2000):
        now_ns += MS
        held += lookups.hold(stranger(number), PACKET, now_ns) is Answer.HELD
    assert 100 <= held <= 111


def test_who_was_not_found_is_not_asked_for_again_for_a_while() -> None:
    lookups = Lookups(Limits(missing_ns=2 * S))
    lookups.hold(stranger(0), PACKET, 100 * S)
    lookups.take(1)
    lookups.finish(stranger(0))
    lookups.miss(stranger(0), 100 * S)
    assert lookups.hold(stranger(0), PACKET, 100 * S) is Answer.NOT_HELD
    assert lookups.hold(stranger(0), PACKET, 102 * S - 1) is Answer.NOT_HELD
    assert not lookups.is_wanted
    assert lookups.hold(stranger(0), PACKET, 104 * S) is Answer.HELD


def test_a_long_silence_forgets_who_was_not_found() -> None:
    lookups = Lookups(Limits(missing_ns=2 * S))
    lookups.miss(stranger(0), 100 * S)
    assert lookups.hold(stranger(0), PACKET, 1000 * S) is Answer.HELD


def test_the_memory_of_who_was_not_found_has_a_limit() -> None:
    lookups = Lookups(Limits(missing=3))
    for number in range(10):
        lookups.miss(stranger(number), 0)
    answers = [lookups.hold(stranger(number), PACKET, 0) for number in range(10)]
    assert answers == [Answer.NOT_HELD] * 3 + [Answer.HELD] * 7


def test_who_waits_is_let_go_when_nobody_can_be_asked() -> None:
    lookups = Lookups(Limits())
    for number in range(3):
        lookups.hold(stranger(number), PACKET, 0)
    lookups.take(1)
    assert [held.packets for held in lookups.forget_waiting()] == [[PACKET]] * 2
    assert len(lookups) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3 * S)), max_size=80))
def test_whatever_happens_every_packet_that_was_held_comes_out_once(
    steps: list[tuple[int, int, int]],
) -> None:
    lookups = Lookups(
        Limits(asks_per_s=100, burst=3, clients=4, dtls_per_client=2, held_bytes=500, missing=2)
    )
    now_ns, held, out, asked = 0, 0, 0, list[Stranger]()
    for number, action, wait_ns in steps:
        now_ns += wait_ns
        if action < 2:
            held += lookups.hold(stranger(number), PACKET, now_ns) is Answer.HELD
        elif action == 2:
            asked += lookups.take(2)
        elif asked:
            one = asked.pop()
            out += len(lookups.finish(one).packets)
            lookups.miss(one, now_ns)
        assert len(lookups) <= 4
        assert lookups._held_bytes == (held - out) * 100 <= 500
    for one in [*asked, *lookups.take(100)]:
        out += len(lookups.finish(one).packets)
    assert (len(lookups), lookups._held_bytes) == (0, 0)
    assert out == held
