"""The load policy: complexity falls above 80 % and comes back well below."""

from __future__ import annotations

from transceiver.media.load import BUSY_COMPLEXITY, NORMAL_COMPLEXITY, Load

S = 1_000_000_000


def run(shares: list[float]) -> list[int]:
    """Complexity after each second in which the thread was busy for this share."""
    load, cpu_ns, now_ns, seen = Load(), 0, 0, []
    load.sample(cpu_ns, now_ns)
    for share in shares:
        cpu_ns, now_ns = cpu_ns + int(share * S), now_ns + S
        load.sample(cpu_ns, now_ns)
        seen.append(load.complexity)
    return seen


def test_normal_until_busy() -> None:
    assert run([0.1, 0.5, 0.79, 0.81]) == [NORMAL_COMPLEXITY] * 3 + [BUSY_COMPLEXITY]


def test_the_relief_of_complexity_0_does_not_undo_it() -> None:
    assert run([0.95, 0.6, 0.6, 0.95]) == [BUSY_COMPLEXITY] * 4


def test_calm_brings_quality_back() -> None:
    assert run([0.95, 0.5]) == [BUSY_COMPLEXITY, NORMAL_COMPLEXITY]


def test_busy_is_a_share_and_needs_two_samples() -> None:
    load = Load()
    load.sample(5 * S, S)
    assert (load.busy, load.complexity) == (0.0, NORMAL_COMPLEXITY)
    load.sample(5 * S, S)
    assert load.busy == 0.0
    load.sample(9 * S, 2 * S)
    assert load.busy == 1.0
