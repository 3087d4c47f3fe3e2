"""Quotas by values: what a key may have over all processes, and what a secret below it."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from core.bucket import NS_PER_S
from core.config import UNLIMITED, QuotaSettings
from transceiver.session.counts import CallCounts
from transceiver.signaling.ledger import Ledger, ledger_bytes
from transceiver.signaling.quota_plan import plan_quotas
from transceiver.signaling.quotas import (
    MAX_SECRETS,
    MAX_WEBSOCKETS,
    Holder,
    Quota,
    Quotas,
    Wants,
)
from transceiver.signaling.refusals import HttpReason, Refusal

SHOP, DESK = Holder("shop"), Holder("desk")
PAGE = Holder("shop", "aa")
SLOTS = {"shop": 0, "desk": 1}
TIGHT = QuotaSettings(
    requests_per_s=2, requests_burst=4, pending_calls=2, live_calls=3, sidebands=2,
    secret_requests_per_s=1, secret_requests_burst=2, secret_pending_calls=1, secret_live_calls=2,
    secret_sidebands=1,
)  # fmt: skip
FREE = dataclasses.replace(TIGHT, requests_burst=1000, secret_requests_burst=1000)


class Process:
    """One of a host."""

    def __init__(self, memory: bytearray, row: int, settings: QuotaSettings) -> None:
        self.counts = CallCounts()
        self.quotas = Quotas(self.counts, Ledger(memory, row))
        self.quotas.adopt(plan_quotas(settings, {}, SLOTS, 100), 0)

    def ask(self, who: Holder = SHOP, wants: Wants = Wants.ANSWER, now_ns: int = 0) -> None:
        with self.quotas.admitted(who, wants, now_ns):
            pass

    def refusal(self, who: Holder = SHOP, wants: Wants = Wants.ANSWER, now_ns: int = 0) -> Refusal:
        with pytest.raises(Refusal) as refused:
            self.ask(who, wants, now_ns)
        assert refused.value.status == 429
        return refused.value

    def call(self, name: str, who: Holder = SHOP) -> None:
        """One that is asked for and made."""
        holders = (who.key, f"secret:{who.secret}") if who.secret else (who.key,)
        with self.quotas.admitted(who, Wants.CALL, 0):
            self.counts.begin(name, holders)


def processes(settings: QuotaSettings = FREE, count: int = 2) -> list[Process]:
    memory = bytearray(ledger_bytes(count))
    return [Process(memory, row, settings) for row in range(count)]


def quota_of(refusal: Refusal) -> str:
    assert refusal.reason is HttpReason.RATE_LIMIT
    return refusal.message.partition("(")[2].partition(")")[0]


# Requests


def test_requests_are_the_hosts_whichever_process_they_come_to() -> None:
    one, two = processes(TIGHT)
    for process in (one, two, one, two):
        process.ask()
    for process in (one, two):
        assert quota_of(process.refusal()) == Quota.REQUESTS
    one.ask(DESK)
    two.ask(now_ns=NS_PER_S // 2)
    assert quota_of(one.refusal(now_ns=NS_PER_S // 2)) == Quota.REQUESTS


def test_retry_after_is_when_there_is_one_again() -> None:
    [one] = processes(TIGHT, 1)
    for _ in range(4):
        one.ask()
    said = one.refusal(now_ns=100_000_000).headers
    assert said == {"Retry-After": "1", "Retry-After-Ms": "400"}
    assert one.refusal(now_ns=499_999_999).headers["Retry-After-Ms"] == "1"
    one.ask(now_ns=500_000_000)


def test_a_process_that_starts_anew_owes_nothing_for_the_past() -> None:
    memory = bytearray(ledger_bytes(2))
    one = Process(memory, 0, TIGHT)
    for _ in range(4):
        one.ask()
    successor = Process(memory, 0, TIGHT)
    for _ in range(4):
        successor.ask()
    two = Process(memory, 1, TIGHT)
    two.ask()
    assert quota_of(successor.refusal()) == Quota.REQUESTS


def test_a_thousand_requests_a_second_leave_the_other_key_its_own() -> None:
    one, two = processes(TIGHT)
    let_in = 0
    for number in range(3_000):
        with contextlib.suppress(Refusal):
            one.ask(now_ns=number * 1_000_000)
            let_in += 1
    assert let_in == 4 + 2 * 3 - 1
    for _ in range(4):
        two.ask(DESK, Wants.CALL, 3 * NS_PER_S)


# Calls


def test_calls_that_nobody_comes_to_are_few() -> None:
    one, two = processes()
    one.call("a")
    two.call("b")
    assert [quota_of(process.refusal(wants=Wants.CALL)) for process in (one, two)] == [
        Quota.PENDING_CALLS
    ] * 2
    one.counts.arrive("a", ("shop",))
    two.call("c")
    assert quota_of(one.refusal(wants=Wants.CALL)) == Quota.LIVE_CALLS
    one.ask()
    one.ask(DESK, Wants.CALL)
    one.counts.end("a", ("shop",))
    two.counts.arrive("b", ("shop",))
    one.call("d")


def test_a_call_that_is_asked_for_counts_while_its_body_comes() -> None:
    """Slow bodies, else, would make any number at once."""
    one, two = processes()
    with one.quotas.admitted(SHOP, Wants.CALL, 0), two.quotas.admitted(SHOP, Wants.CALL, 0):
        assert quota_of(two.refusal(wants=Wants.CALL)) == Quota.PENDING_CALLS
    two.ask(wants=Wants.CALL)


def test_what_fails_is_given_back() -> None:
    [one] = processes(count=1)
    for wants in (Wants.CALL, Wants.SIDEBAND):
        for _ in range(5):
            with contextlib.suppress(ValueError), one.quotas.admitted(SHOP, wants, 0):
                raise ValueError
    one.ask(wants=Wants.CALL)
    one.ask(wants=Wants.SIDEBAND)


def test_the_calls_of_a_process_that_died_count_no_more() -> None:
    memory = bytearray(ledger_bytes(2))
    one, two = Process(memory, 0, FREE), Process(memory, 1, FREE)
    one.call("a")
    one.call("b")
    two.refusal(wants=Wants.CALL)
    Ledger(memory, 0).clear(0)
    two.ask(wants=Wants.CALL)


# Sidebands


def test_sidebands_of_a_key() -> None:
    one, two = processes()
    with one.quotas.admitted(SHOP, Wants.SIDEBAND, 0), two.quotas.admitted(SHOP, Wants.SIDEBAND, 0):
        assert quota_of(one.refusal(wants=Wants.SIDEBAND)) == Quota.SIDEBANDS
        one.ask(DESK, Wants.SIDEBAND)
    one.ask(wants=Wants.SIDEBAND)


def test_all_keys_together_leave_connections_for_requests() -> None:
    [one] = processes(dataclasses.replace(FREE, sidebands=UNLIMITED, requests_burst=UNLIMITED), 1)
    with contextlib.ExitStack() as opened:
        for number in range(MAX_WEBSOCKETS):
            opened.enter_context(one.quotas.admitted((SHOP, DESK)[number % 2], Wants.SIDEBAND, 0))
        assert one.refusal(wants=Wants.SIDEBAND).reason is HttpReason.TOO_MANY_SIDEBANDS
        one.ask()
    one.ask(wants=Wants.SIDEBAND)


# Client secrets


def test_a_secret_has_less_than_its_key() -> None:
    [one] = processes(count=1)
    one.call("a", PAGE)
    assert quota_of(one.refusal(PAGE, Wants.CALL)) == Quota.PENDING_CALLS
    assert "client secret" in one.refusal(PAGE, Wants.CALL).message
    one.call("b", Holder("shop", "bb"))
    refused = one.refusal(Holder("shop", "cc"), Wants.CALL)
    assert "API key" in refused.message, "they count to the key that has made them"
    assert one.quotas.refusals()["shop", Quota.PENDING_CALLS] == 3


def test_a_secret_that_floods_takes_nothing_from_its_key() -> None:
    [one] = processes(TIGHT, 1)
    for _ in range(2):
        one.ask(PAGE)
    for _ in range(100):
        assert quota_of(one.refusal(PAGE)) == Quota.REQUESTS
    for _ in range(2):
        one.ask()


def test_secrets_that_are_remembered_are_bounded() -> None:
    [one] = processes(dataclasses.replace(TIGHT, requests_burst=UNLIMITED), 1)
    with one.quotas.admitted(PAGE, Wants.SIDEBAND, 0):
        for number in range(MAX_SECRETS + 10):
            one.ask(Holder("shop", f"{number:x}-"))
        assert quota_of(one.refusal(PAGE, Wants.SIDEBAND)) == Quota.SIDEBANDS, "who has something open stays"
    for _ in range(2):
        one.ask(Holder("shop", "0-"))


# What is counted, and for whom


def test_refusals_are_counted_by_the_names_of_keys_that_there_are() -> None:
    [one] = processes(TIGHT, 1)
    assert set(one.quotas.refusals().values()) == {0}
    for _ in range(4):
        one.ask()
    one.refusal()
    one.quotas.events_of("shop").refused()
    counted = {row: count for row, count in one.quotas.refusals().items() if count}
    assert counted == {("shop", Quota.REQUESTS): 1, ("shop", Quota.EVENTS): 1}
    one.quotas.adopt(plan_quotas(TIGHT, {}, {"desk": 1}, 100), 0)
    assert {row[0] for row in one.quotas.refusals()} == {"desk"}
    one.ask(SHOP)
    one.quotas.events_of("shop").refused()


def test_a_reload_changes_what_there_may_be_and_forgets_nothing() -> None:
    one, two = processes()
    one.call("a")
    one.call("b")
    for process in (one, two):
        process.quotas.adopt(plan_quotas(dataclasses.replace(FREE, pending_calls=3), {}, SLOTS, 100), 0)
    two.call("c")
    assert quota_of(two.refusal(wants=Wants.CALL)) == Quota.LIVE_CALLS


def test_where_there_are_no_keys_there_are_no_quotas() -> None:
    one = Quotas(CallCounts(), Ledger(bytearray(ledger_bytes(1)), 0))
    one.adopt({}, 0)
    for _ in range(1000):
        with one.admitted(Holder("anyone"), Wants.CALL, 0):
            pass
    assert one.events_of("anyone").burst == UNLIMITED
    assert one.refusals() == {}
