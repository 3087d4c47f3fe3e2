"""What follows from heartbeats for each PoP, and what does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from core.addr import Endpoint, parse_endpoint
from core.config import PopSettings
from core.keyring import Keyring
from core.store.base import READ_BYTES
from core.store.heartbeat import Heartbeat, HeartbeatReason, HostState, PopHeartbeat, encode
from core.store.keys import HostKind
from transceiver.steering.pop_hosts import (
    APART_KM,
    FORGOTTEN_NS,
    GRACE_NS,
    LATE_NS,
    MAX_HOSTS,
    NAMED_AT_ONCE,
    SILENT_NS,
    PopHealth,
    PopHosts,
    Refusal,
    Verdict,
)

KEYRING = Keyring({1: bytes(range(32))}, 1)
STRANGER = Keyring({1: b"x" * 32}, 1)
NOW_MS = 1_796_000_000_000
S = 1_000_000_000
VIP, OTHER_VIP = parse_endpoint("192.0.2.1:3478"), parse_endpoint("192.0.2.2:3478")
FRA = PopSettings("fra", (VIP,), None, 50.11, 8.68)
NRT = PopSettings("nrt", (OTHER_VIP,))
FRANKFURT, TOKYO = (50.11, 8.68), (35.68, 139.69)


class Sky:
    """Hosts, and who hears them. The clock starts at 1000 s."""

    def __init__(self, pops: Sequence[PopSettings] = (FRA, NRT)) -> None:
        self.hosts = PopHosts(pops, KEYRING)
        self.now_ns = 1000 * S
        self.values: dict[bytes, bytes] = {}
        self.hear()

    @property
    def now_ms(self) -> int:
        return NOW_MS + self.now_ns // 1_000_000

    def say(
        self, name: bytes, *, keyring: Keyring = KEYRING, at_ms: int | None = None, **said: object
    ) -> None:
        said = {
            "state": HostState.READY, "taken": 0, "room": 1000, "version": "1", "forwarder": "xdp",
            "place": FRANKFURT, "vips": (VIP,), **said,
        }  # fmt: skip
        if name.startswith(b"nrt"):
            said |= {"vips": (OTHER_VIP,), "place": TOKYO}
        heartbeat = PopHeartbeat(at_ms=self.now_ms if at_ms is None else at_ms, **said)  # type: ignore[arg-type]
        self.values[name] = encode(heartbeat, HostKind.POP.heartbeat_key(name), keyring)

    def hear(self, after_ns: int = 0) -> list[Refusal]:
        self.now_ns += after_ns
        return self.hosts.hear(self.values.items(), self.now_ms, self.now_ns)

    def health(self, pop: str = "fra") -> PopHealth:
        health = self.hosts.health(pop, self.now_ns)
        assert health is not None
        return health

    def refuses(self) -> dict[str, str]:
        return dict[str, str](self.hear())


def test_nothing_is_known_of_a_pop_that_was_never_heard() -> None:
    sky = Sky()
    sky.say(b"fra:a")
    assert sky.hear() == []
    assert sky.hosts.health("nrt", sky.now_ns) is None
    assert sky.hosts.health("gone", sky.now_ns) is None
    assert sky.health() == PopHealth(Verdict.TAKING, "ready", "xdp", 0.0, 1)


def test_a_pop_takes_calls_as_long_as_one_of_its_hosts_does_and_is_as_full_as_the_fullest() -> None:
    sky = Sky()
    sky.say(b"fra:a", taken=100)
    sky.say(b"fra:b", taken=900, forwarder="userspace")
    sky.hear()
    assert sky.health() == PopHealth(Verdict.TAKING, "ready", "mixed", 0.9, 2)
    sky.say(b"fra:b", taken=900, state=HostState.DRAINING, at_ms=sky.now_ms + 1)
    sky.hear(S)
    assert sky.health() == PopHealth(Verdict.TAKING, "ready", "xdp", 0.1, 2), "who drains gets no new ones"
    sky.say(b"fra:a", state=HostState.DRAINING, at_ms=sky.now_ms + 1)
    sky.hear(S)
    assert (sky.health().verdict, sky.health().state) == (Verdict.REFUSING, "draining")
    sky.say(b"fra:a", state=HostState.STARTING, at_ms=sky.now_ms + 1)
    sky.hear(S)
    assert sky.health().verdict is Verdict.STARTING
    sky.say(b"fra:a", state=HostState.UNFIT, at_ms=sky.now_ms + 1)
    sky.hear(S)
    assert sky.health().verdict is Verdict.REFUSING


def test_one_host_of_two_that_dies_is_missed_and_the_pop_goes_on() -> None:
    sky = Sky()
    sky.say(b"fra:a")
    sky.say(b"fra:b")
    sky.hear()
    for _ in range(4):
        sky.say(b"fra:a", at_ms=sky.now_ms + 1)
        sky.hear(2 * S)
    assert (sky.health().verdict, sky.health().hosts) == (Verdict.TAKING, 1)
    assert sky.hosts.heard("fra", sky.now_ns) == 1


def silence(sky: Sky, for_ns: int) -> None:
    """The keys expire, and rounds go on."""
    sky.values.clear()
    end_ns = sky.now_ns + for_ns
    while sky.now_ns < end_ns:
        sky.hear(min(2 * S, end_ns - sky.now_ns))


def test_a_pop_whose_hosts_are_gone_without_a_word_is_late_and_then_silent() -> None:
    sky = Sky()
    sky.hear(GRACE_NS)
    sky.say(b"fra:a")
    sky.hear()
    silence(sky, LATE_NS - 1)
    assert not sky.health().is_late
    silence(sky, 1)
    assert sky.health().is_late
    silence(sky, SILENT_NS - LATE_NS - 1)
    assert sky.health().verdict is Verdict.TAKING
    silence(sky, 1)
    assert sky.health() == PopHealth(Verdict.SILENT, "silent", "unknown", None, 0)


def test_the_last_word_counts_for_as_long_as_there_is_no_other() -> None:
    sky = Sky()
    sky.hear(GRACE_NS)
    sky.say(b"fra:a")
    sky.hear()
    sky.say(b"fra:a", state=HostState.DRAINING, at_ms=sky.now_ms + 1)
    sky.hear(S)
    silence(sky, 2 * FORGOTTEN_NS)
    assert (sky.health().verdict, sky.health().state, sky.health().hosts) == (
        Verdict.REFUSING,
        "draining",
        0,
    )
    sky.say(b"fra:c")
    sky.hear()
    assert sky.health().verdict is Verdict.TAKING
    assert sky.hosts.known == [b"fra:c"], "who was silent for ten minutes is not asked for any more"


def test_the_silence_of_the_store_is_not_that_of_the_hosts() -> None:
    sky = Sky()
    sky.say(b"fra:a")
    sky.say(b"nrt:a", state=HostState.DRAINING)
    sky.hear()
    sky.hosts.miss()
    sky.now_ns += 3600 * S
    assert sky.hosts.health("fra", sky.now_ns) is None, "what is known otherwise counts"
    assert sky.health("nrt").verdict is Verdict.REFUSING, "it has said so, and nothing else since"
    assert sky.hosts.heard("fra", sky.now_ns) == 0
    sky.values.clear()
    sky.hear()  # it is back, and empty
    assert sky.hosts.health("fra", sky.now_ns) is None, "hosts need a while to come back to it"
    silence(sky, GRACE_NS)
    assert sky.health().verdict is Verdict.SILENT


def test_an_old_heartbeat_keeps_no_dead_host_alive() -> None:
    """Who can write to the store puts the last one back, or the one before, for ever."""
    sky = Sky()
    sky.hear(GRACE_NS)
    sky.say(b"fra:a")
    sky.hear()
    sky.say(b"fra:a", at_ms=sky.now_ms + 1)
    kept = dict(sky.values)
    for _ in range(5):
        sky.values = dict(kept)
        assert sky.hear(2 * S) == []
    assert sky.health().verdict is Verdict.SILENT


def test_what_a_host_said_before_does_not_undo_what_it_says_now() -> None:
    sky = Sky()
    sky.say(b"fra:a")
    ready = dict(sky.values)
    sky.hear()
    sky.say(b"fra:a", state=HostState.DRAINING, at_ms=sky.now_ms + 1)
    sky.hear(S)
    sky.values = ready
    assert sky.refuses() == {"fra:a": HeartbeatReason.REPLAYED}
    assert sky.health().verdict is Verdict.REFUSING


REFUSED: dict[str, tuple[bytes, dict[str, object], HeartbeatReason]] = {
    "of nobody's key": (b"fra:x", {"keyring": STRANGER}, HeartbeatReason.BAD_MAC),
    "of a PoP that nobody has configured": (b"ams:x", {}, HeartbeatReason.UNKNOWN_POP),
    "of one id and other VIPs": (b"fra:x", {"vips": (OTHER_VIP,)}, HeartbeatReason.OTHER_VIPS),
    "of one id at another place": (b"fra:x", {"place": TOKYO}, HeartbeatReason.OTHER_PLACE),
    "from the future": (b"fra:x", {"at_ms": NOW_MS + 10**9}, HeartbeatReason.FROM_FUTURE),
    "of a clock that stands still": (b"fra:x", {"at_ms": NOW_MS - 10**9}, HeartbeatReason.STALE),
    "with an absurd load": (b"fra:x", {"taken": 10**6}, HeartbeatReason.ABSURD_LOAD),
    "at latitude 999": (b"fra:x", {"place": (999.0, 8.68)}, HeartbeatReason.OFF_GLOBE),
}


@pytest.mark.parametrize(("name", "said", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_heartbeat_that_cannot_be_is_ignored_named_once_and_counted(
    name: bytes, said: dict[str, object], reason: HeartbeatReason
) -> None:
    sky = Sky()
    sky.say(b"fra:a", taken=100)
    sky.hear()
    before = sky.health()
    sky.say(name, **said)  # type: ignore[arg-type]
    assert sky.refuses() == {name.decode(): reason}
    assert sky.refuses() == {}, "once"
    assert sky.hosts.refused[reason] == 2, "and counted each time"
    assert sky.health() == before
    assert sky.hosts.known == [b"fra:a"]


RUBBISH = {
    "garbage": (b"\xff\xfe", HeartbeatReason.MALFORMED),
    "a megabyte, as much as is read of it": (b"x" * READ_BYTES, HeartbeatReason.TOO_LONG),
    "another schema": (b"2 1 x", HeartbeatReason.OTHER_SCHEMA),
    "a flow record": (b"1 IQAHAAAA 1796045875 BbTW1AJCb4xn9O79xkGLzQ", HeartbeatReason.MALFORMED),
}


@pytest.mark.parametrize(("value", "reason"), RUBBISH.values(), ids=RUBBISH)
def test_rubbish_in_place_of_a_heartbeat_is_named_and_leaves_the_last_word(
    value: bytes, reason: HeartbeatReason
) -> None:
    sky = Sky()
    sky.say(b"fra:a")
    sky.hear()
    sky.values[b"fra:a"] = value
    assert sky.refuses() == {"fra:a": reason}
    assert sky.health().verdict is Verdict.TAKING


def test_names_that_are_none_are_told_of_once_for_all_of_them() -> None:
    sky = Sky()
    sky.values = {b"\x1b[31m": b"x", b"a" * 1_000_000: b"", b"no-colon": b"x"}
    assert [host for host, _ in sky.hear()] == ["?"]
    assert sum(sky.hosts.refused.values()) == 3


def test_a_flood_of_rubbish_is_told_of_a_few_at_a_time_and_what_ends_is_forgotten() -> None:
    sky = Sky()
    sky.values = {b"fra:%d" % i: b"x" for i in range(3 * NAMED_AT_ONCE)}
    told = [host for _ in range(4) for host, _ in sky.hear()]
    assert len(told) == len(set(told)) == 3 * NAMED_AT_ONCE
    sky.values.clear()
    sky.hear()
    sky.values = {b"fra:0": b"x"}
    assert sky.refuses() == {"fra:0": HeartbeatReason.MALFORMED}, "again, as it had ended"


def test_where_the_configuration_has_no_place_the_first_host_says_where_its_pop_is() -> None:
    sky = Sky([dataclasses.replace(FRA, latitude=None, longitude=None)])
    sky.say(b"fra:a")
    sky.hear()
    sky.say(b"fra:b", place=TOKYO)
    assert sky.refuses() == {"fra:b": HeartbeatReason.OTHER_PLACE}
    sky.say(b"fra:b", place=(FRANKFURT[0] + APART_KM / 112, FRANKFURT[1]), at_ms=sky.now_ms + 1)
    assert sky.refuses() == {}
    sky.say(b"fra:c", place=None)
    assert sky.refuses() == {}
    assert sky.health().hosts == 3


def test_a_host_may_have_vips_that_its_pop_has_not_yet() -> None:
    """Hosts first, then the [[pop]]: so a VIP is added without a gap."""
    sky = Sky()
    sky.say(b"fra:a", vips=(OTHER_VIP, VIP))
    assert sky.refuses() == {}
    assert sky.health().verdict is Verdict.TAKING


def test_a_reload_forgets_pops_that_are_gone_and_believes_no_key_that_is() -> None:
    sky = Sky()
    sky.say(b"fra:a")
    sky.say(b"nrt:a")
    sky.hear()
    sky.hosts.adopt([FRA], KEYRING)
    assert sky.hosts.health("nrt", sky.now_ns) is None
    assert sky.health().verdict is Verdict.TAKING
    sky.hosts.adopt([FRA], Keyring({2: bytes(32)}, 2))
    assert sky.refuses() == {
        "fra:a": HeartbeatReason.UNKNOWN_KEY,
        "nrt:a": HeartbeatReason.UNKNOWN_KEY,
    }


def test_more_hosts_than_a_pop_can_have_are_the_last_that_were_heard() -> None:
    sky = Sky()
    for index in range(MAX_HOSTS + 3):
        sky.say(b"fra:%d" % index)
        sky.hear(1)
    assert sky.health().hosts == MAX_HOSTS
    assert b"fra:%d" % (MAX_HOSTS + 2) in sky.hosts.known


@pytest.mark.parametrize("off_s", [-90, 90])
def test_a_clock_that_is_90_s_off_is_told_and_its_host_is_heard(off_s: int) -> None:
    sky = Sky()
    sky.hear(GRACE_NS)
    for _ in range(5):
        sky.say(b"fra:a", at_ms=sky.now_ms + off_s * 1000)
        assert sky.hear(2 * S) == []
    assert sky.health().verdict is Verdict.TAKING
    assert sky.hosts.ahead_s("fra", sky.now_ns) == off_s - 2
    sky.say(b"nrt:a", at_ms=sky.now_ms - 4000)
    sky.hear()
    assert sky.hosts.ahead_s("nrt", sky.now_ns) == 0, "it was on its way"
    assert sky.hosts.ahead_s("gone", sky.now_ns) is None


def test_a_transceivers_heartbeat_is_no_pops() -> None:
    sky = Sky()
    heartbeat = Heartbeat(sky.now_ms, HostState.READY, 1, 10, "1")
    sky.values[b"fra:a"] = encode(heartbeat, HostKind.POP.heartbeat_key(b"fra:a"), KEYRING)
    assert sky.refuses() == {"fra:a": HeartbeatReason.MALFORMED}


def test_vips_are_told_by_what_they_are_and_not_how_they_are_written() -> None:
    sky = Sky([PopSettings("fra", (parse_endpoint("[2001:db8:0::1]:3478"),))])
    sky.say(b"fra:a", vips=(Endpoint("2001:db8::1", 3478),))
    assert sky.refuses() == {}
