"""When the emergency level rises and falls, second by second."""

from __future__ import annotations

import pytest

from edge.relay.emergency import CALM_PPS, OVERRUN_PPS, Emergency, EmergencyCause, EmergencyMode, Shed

SECOND = 1_000_000_000
LOAD, OPERATOR = EmergencyCause.LOAD, EmergencyCause.OPERATOR
FLOOD, NOTHING = 50_000, 0


class Host:
    """Counters that rise, and a clock."""

    def __init__(self, mode: EmergencyMode = EmergencyMode.AUTO, *, was_raised: bool = False) -> None:
        self.now_ns = 5 * SECOND
        self.shed = Shed(1_000_000, 7)  # of days before
        self.emergency = Emergency(mode, self.now_ns, was_raised=was_raised)
        self.emergency.observe(self.shed, self.now_ns)

    def passes(self, seconds: int, overrun: int, held_off: int = 0) -> list[EmergencyCause | None]:
        """The level after each second of as many packets."""
        told = []
        for _ in range(seconds):
            self.now_ns += SECOND
            self.shed = Shed(self.shed.overrun + overrun, self.shed.held_off + held_off)
            self.emergency.observe(self.shed, self.now_ns)
            told.append(self.emergency.cause)
        return told


def test_a_flood_of_ten_seconds_raises_it() -> None:
    host = Host()
    assert host.passes(12, FLOOD) == [None] * 9 + [LOAD] * 3
    assert host.emergency.pps == FLOOD


@pytest.mark.parametrize("pause", [NOTHING, int(OVERRUN_PPS) - 1])
def test_a_wave_of_calls_from_a_pop_that_died_does_not(pause: int) -> None:
    host = Host()
    assert host.passes(9, FLOOD) + host.passes(1, pause) + host.passes(9, FLOOD) == [None] * 19


def test_a_minute_of_calm_lowers_it() -> None:
    host = Host()
    host.passes(10, FLOOD)
    assert host.passes(61, NOTHING) == [LOAD] * 59 + [None] * 2


def test_what_the_level_holds_off_keeps_it_raised() -> None:
    host = Host()
    host.passes(10, FLOOD)
    assert host.passes(300, NOTHING, FLOOD) == [LOAD] * 300
    assert host.passes(59, NOTHING) == [LOAD] * 59
    assert host.passes(1, NOTHING, int(CALM_PPS)) == [LOAD]
    assert host.passes(60, NOTHING) == [LOAD] * 59 + [None]


def test_it_does_not_flap_between_the_thresholds() -> None:
    host = Host()
    between = int(OVERRUN_PPS + CALM_PPS) // 2
    assert host.passes(100, between) == [None] * 100
    host.passes(10, FLOOD)
    assert host.passes(100, between) == [LOAD] * 100


def test_what_was_held_off_does_not_raise_it_again() -> None:
    host = Host(EmergencyMode.ON)
    host.passes(5, NOTHING, FLOOD)
    host.emergency.set_mode(EmergencyMode.OFF, host.now_ns)
    host.emergency.set_mode(EmergencyMode.AUTO, host.now_ns)
    assert host.passes(20, NOTHING, FLOOD) == [None] * 20  # of a program that has not yet heard


def test_an_operator_has_the_word() -> None:
    host = Host()
    host.emergency.set_mode(EmergencyMode.ON, host.now_ns)
    assert host.passes(200, NOTHING) == [OPERATOR] * 200
    host.emergency.set_mode(EmergencyMode.OFF, host.now_ns)
    assert host.passes(200, FLOOD) == [None] * 200


def test_left_to_the_load_it_falls_after_the_calm() -> None:
    host = Host(EmergencyMode.ON)
    host.passes(5, NOTHING)
    host.emergency.set_mode(EmergencyMode.AUTO, host.now_ns)
    assert host.emergency.cause is LOAD
    assert host.passes(60, NOTHING) == [LOAD] * 59 + [None]


@pytest.mark.parametrize(
    ("mode", "cause"),
    [(EmergencyMode.AUTO, LOAD), (EmergencyMode.ON, OPERATOR), (EmergencyMode.OFF, None)],
)
def test_a_relay_that_is_started_anew_finds_it_raised(mode: EmergencyMode, cause: EmergencyCause) -> None:
    assert Host(mode, was_raised=True).emergency.cause is cause


def test_a_reload_does_not_take_back_a_word_unless_it_says_something_new() -> None:
    host = Host()
    emergency = host.emergency
    emergency.set_mode(EmergencyMode.ON, host.now_ns)
    emergency.configure(EmergencyMode.AUTO, host.now_ns)
    assert emergency.cause is OPERATOR
    emergency.configure(EmergencyMode.OFF, host.now_ns)
    assert emergency.cause is None
    assert emergency.mode is EmergencyMode.OFF


def test_counters_that_begin_anew_are_no_flood() -> None:
    host = Host()
    host.shed = Shed(0, 0)
    assert host.passes(15, NOTHING) == [None] * 15
    assert host.emergency.pps == 0
