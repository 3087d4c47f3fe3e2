"""The client's checks, driven by hand-made time against a lite server made of the same STUN codec."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import stun
from core.addr import Endpoint
from transceiver.caller.ice import (
    ATTEMPT_DELAY_NS,
    CONSENT_INTERVAL_NS,
    CONSENT_TIMEOUT_NS,
    ESTABLISH_NS,
    MS,
    NEVER,
    QUIET_NS,
    SEARCH_AFTER_NS,
    SILENT_NS,
    UNANSWERED_INTERVAL_NS,
    CheckOutcome,
    IceClient,
    IceState,
    Nomination,
)

NEAR = Endpoint("192.0.2.1", 3478)
FAR = Endpoint("198.51.100.1", 3478)
SIX = Endpoint("2001:db8::1", 3478)
MAPPED = Endpoint("203.0.113.9", 41000)
USERNAME = "serverUfrag:clientUfrag"
Answers = Callable[[Endpoint, int], bool]
PASSWORD = "server-password-of-the-session"


def counting_entropy() -> Callable[[int], bytes]:
    """Unlike values, and a jitter of nothing: 127 of 255 is the middle of the interval."""
    counter = itertools.count(1)
    return lambda size: b"\x7f" if size == 1 else next(counter).to_bytes(size, "big")


def client(*candidates: Endpoint, nomination: Nomination = Nomination.ALWAYS) -> IceClient:
    return IceClient(USERNAME, PASSWORD, candidates, 0, nomination, counting_entropy())


def reply(request: bytes, password: str = PASSWORD, kind: int = stun.MessageType.BINDING_RESPONSE) -> bytes:
    transaction_id = stun.parse_untrusted(request).transaction_id
    mapped = (stun.Attribute.XOR_MAPPED_ADDRESS, stun.encode_xor_address(MAPPED, transaction_id))
    return stun.encode(kind, transaction_id, [mapped], password.encode())


def run(
    ice: IceClient, until_ns: int, answers: Answers = lambda endpoint, now_ns: False, start_ns: int = 0
) -> list[tuple[int, Endpoint, stun.Message]]:
    """Poll when due and answer at once where `answers` says so; returns (time, endpoint, request) of all."""
    sent = []
    now_ns = start_ns
    while now_ns <= until_ns:
        for endpoint, request in ice.poll(now_ns):
            sent.append((now_ns, endpoint, stun.parse_untrusted(request)))
            if answers(endpoint, now_ns):
                assert ice.receive_untrusted(reply(request), endpoint, now_ns) is CheckOutcome.ANSWERED
        if ice.next_ns > until_ns:
            break
        now_ns = max(ice.next_ns, now_ns)
    return sent


def always(endpoint: Endpoint, now_ns: int) -> bool:
    return True


def never(endpoint: Endpoint, now_ns: int) -> bool:
    return False


def test_a_check_is_what_a_lite_server_wants() -> None:
    ((endpoint, request),) = client(NEAR).poll(0)
    message = stun.parse_untrusted(request)
    assert endpoint == NEAR
    assert message.type == stun.MessageType.BINDING_REQUEST
    assert message.get(stun.Attribute.USERNAME) == USERNAME.encode()
    assert message.is_authentic(PASSWORD.encode())
    assert len(message.get(stun.Attribute.ICE_CONTROLLING) or b"") == 8
    assert len(message.get(stun.Attribute.PRIORITY) or b"") == 4
    assert message.get(stun.Attribute.FINGERPRINT) is not None
    assert message.get(stun.Attribute.USE_CANDIDATE) is None  # RFC 8445 §8.1.1: nominated when it has worked


def test_the_first_answer_connects_and_the_next_check_nominates() -> None:
    ice = client(NEAR, FAR)
    ((_, request),) = ice.poll(0)
    assert ice.receive_untrusted(reply(request), NEAR, 7 * MS) is CheckOutcome.ANSWERED
    assert (ice.state, ice.selected, ice.rtt_ns) == (IceState.CONNECTED, NEAR, 7 * MS)
    assert ice.reflexive == MAPPED
    assert ice.next_ns == 7 * MS
    ((endpoint, nomination),) = ice.poll(7 * MS)
    assert endpoint == NEAR
    assert stun.parse_untrusted(nomination).get(stun.Attribute.USE_CANDIDATE) == b""


@pytest.mark.parametrize(
    ("nomination", "expected"), [(Nomination.ALWAYS, [True] * 5), (Nomination.ONCE, [True] + [False] * 4)]
)
def test_consent_checks_carry_use_candidate_as_the_browser_in_question(
    nomination: Nomination, expected: list[bool]
) -> None:
    sent = run(client(NEAR, nomination=nomination), 4 * CONSENT_INTERVAL_NS, always)
    carried = [m.get(stun.Attribute.USE_CANDIDATE) is not None for _, _, m in sent[1:]]
    assert carried[:5] == expected


def test_consent_is_checked_at_intervals_within_the_bounds_of_rfc_7675() -> None:
    ice = IceClient(USERNAME, PASSWORD, [NEAR], 0)
    times = [t for t, _, _ in run(ice, 60 * CONSENT_INTERVAL_NS, always)][1:]
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert len(set(pauses)) > 10
    assert all(0.8 * CONSENT_INTERVAL_NS <= p <= 1.2 * CONSENT_INTERVAL_NS for p in pauses)


def test_unanswered_checks_are_retransmitted_ever_more_slowly() -> None:
    times = [t // MS for t, _, _ in run(client(NEAR), ESTABLISH_NS)]
    assert times[:6] == [0, 100, 300, 700, 1500, 2300]


def test_every_check_is_a_transaction_of_its_own() -> None:
    ids = [m.transaction_id for _, _, m in run(client(NEAR, FAR), ESTABLISH_NS)]
    assert len(ids) == len(set(ids)) > 20


def test_the_second_candidate_waits_its_turn_and_then_may_win() -> None:
    ice = client(NEAR, FAR)
    sent = run(ice, 400 * MS, lambda endpoint, now_ns: endpoint == FAR)
    assert next(t for t, e, _ in sent if e == FAR) == ATTEMPT_DELAY_NS
    assert ice.selected == FAR


def test_the_first_candidate_wins_while_it_has_the_field() -> None:
    ice = client(NEAR, FAR)
    run(ice, 20 * CONSENT_INTERVAL_NS, always)
    assert ice.selected == NEAR


def test_a_late_answer_of_a_candidate_that_lost_changes_nothing() -> None:
    ice = client(NEAR, FAR)
    ((_, to_near),) = ice.poll(0)
    to_far = next(request for endpoint, request in ice.poll(ATTEMPT_DELAY_NS) if endpoint == FAR)
    ice.receive_untrusted(reply(to_far), FAR, 260 * MS)
    assert ice.receive_untrusted(reply(to_near), NEAR, 300 * MS) is CheckOutcome.ANSWERED
    assert ice.selected == FAR


def test_an_unreachable_candidate_is_passed_over_at_once() -> None:
    ice = client(SIX, NEAR)
    assert [e for e, _ in ice.poll(0)] == [SIX]
    ice.unreachable(SIX, 0)
    assert [e for e, _ in ice.poll(0)] == [NEAR]


@pytest.mark.parametrize("candidates", [(), (SIX,)])
def test_no_way_at_all_fails_at_once(candidates: tuple[Endpoint, ...]) -> None:
    ice = client(*candidates)
    for endpoint in candidates:
        ice.unreachable(endpoint, 0)
    assert ice.state is IceState.FAILED
    assert ice.next_ns == NEVER
    assert ice.poll(0) == []


def test_silence_fails_the_attempt_when_its_time_is_up() -> None:
    ice = client(NEAR, FAR)
    run(ice, ESTABLISH_NS - 1)
    assert ice.state is IceState.CHECKING
    run(ice, ESTABLISH_NS, start_ns=ESTABLISH_NS)
    assert ice.state is IceState.FAILED


def test_silence_mid_call_is_asked_about_more_often_and_then_elsewhere() -> None:
    ice = client(NEAR, FAR)
    run(ice, MS, always)
    sent = run(ice, SEARCH_AFTER_NS + 100 * MS, never, start_ns=MS)
    near = [t for t, e, _ in sent if e == NEAR]
    assert near[0] >= 0.8 * CONSENT_INTERVAL_NS
    assert [b - a for a, b in itertools.pairwise(near)] == [UNANSWERED_INTERVAL_NS] * (len(near) - 1)
    assert [e for t, e, _ in sent if t >= SEARCH_AFTER_NS][:1] == [FAR]
    assert ice.selected == NEAR  # media goes on to the old one until another answers


def test_one_check_that_is_lost_is_no_reason_to_look_elsewhere() -> None:
    ice, lost = client(NEAR, FAR), []
    run(ice, MS, always)

    def all_but_the_first(_: Endpoint, now_ns: int) -> bool:
        lost.append(now_ns)
        return len(lost) > 1

    sent = run(ice, 4 * SEARCH_AFTER_NS, all_but_the_first, start_ns=MS)
    assert {endpoint for _, endpoint, _ in sent} == {NEAR}
    assert sent[1][0] - sent[0][0] == UNANSWERED_INTERVAL_NS
    assert not ice.is_disconnected


def test_another_pop_takes_over_and_is_nominated() -> None:
    ice = client(NEAR, FAR, nomination=Nomination.ONCE)
    run(ice, MS, always)
    sent = run(ice, 2 * SEARCH_AFTER_NS, lambda endpoint, now_ns: endpoint == FAR, start_ns=MS)
    assert ice.selected == FAR
    to_far = [m.get(stun.Attribute.USE_CANDIDATE) is not None for _, e, m in sent if e == FAR]
    assert to_far[:3] == [False, True, False]


def test_the_old_path_may_come_back() -> None:
    ice = client(NEAR, FAR)
    run(ice, MS, always)
    run(ice, 20_000 * MS, never, start_ns=MS)
    run(ice, 22_000 * MS, lambda endpoint, now_ns: endpoint == NEAR, start_ns=20_000 * MS)
    assert (ice.state, ice.selected) == (IceState.CONNECTED, NEAR)
    assert ice.next_ns <= 22_000 * MS + 1.2 * CONSENT_INTERVAL_NS


def test_consent_expires() -> None:
    ice = client(NEAR)
    run(ice, MS, always)
    run(ice, CONSENT_TIMEOUT_NS - MS, never, start_ns=MS)
    assert ice.state is IceState.CONNECTED
    run(ice, CONSENT_TIMEOUT_NS + MS, never, start_ns=CONSENT_TIMEOUT_NS)
    assert ice.state is IceState.FAILED


def test_what_is_remembered_is_bounded() -> None:
    ice = client(*(Endpoint("192.0.2.1", port) for port in range(1, 40)))
    sent = run(ice, ESTABLISH_NS)
    assert len({e for _, e, _ in sent}) == 8
    assert len(ice._pending) < 100


FORGERIES: dict[str, tuple[Callable[[bytes], bytes], Endpoint]] = {
    "another password": (lambda r: reply(r, "guessed"), NEAR),
    "from elsewhere": (reply, FAR),
    "a request": (lambda r: reply(r, kind=stun.MessageType.BINDING_REQUEST), NEAR),
    "our own request": (lambda r: r, NEAR),
    "no integrity": (
        lambda r: stun.encode(
            stun.MessageType.BINDING_RESPONSE, stun.parse_untrusted(r).transaction_id, [], None
        ),
        NEAR,
    ),
    "unknown transaction": (
        lambda r: stun.encode(stun.MessageType.BINDING_RESPONSE, bytes(12), [], PASSWORD.encode()),
        NEAR,
    ),
    "forged error": (lambda r: reply(r, "guessed", stun.MessageType.BINDING_ERROR), NEAR),
    "empty": (lambda r: b"", NEAR),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_is_not_an_authentic_answer_is_ignored(name: str) -> None:
    forge, source = FORGERIES[name]
    ice = client(NEAR, FAR)
    ((_, request),) = ice.poll(0)
    assert ice.receive_untrusted(forge(request), source, MS) is CheckOutcome.IGNORED
    assert ice.state is IceState.CHECKING
    assert ice.receive_untrusted(reply(request), NEAR, MS) is CheckOutcome.ANSWERED


def test_an_answer_counts_once() -> None:
    ice = client(NEAR)
    ((_, request),) = ice.poll(0)
    assert ice.receive_untrusted(reply(request), NEAR, MS) is CheckOutcome.ANSWERED
    assert ice.receive_untrusted(reply(request), NEAR, MS) is CheckOutcome.IGNORED


@pytest.mark.parametrize(("code", "state"), [(403, IceState.FAILED), (420, IceState.CONNECTED)])
def test_a_call_that_is_gone_ends_at_once(code: int, state: IceState) -> None:
    ice = client(NEAR)
    ((_, first),) = ice.poll(0)
    ice.receive_untrusted(reply(first), NEAR, MS)
    ((_, second),) = ice.poll(CONSENT_INTERVAL_NS + MS)
    attribute = (stun.Attribute.ERROR_CODE, stun.encode_error_code(code, "No"))
    transaction_id = stun.parse_untrusted(second).transaction_id
    forged = stun.encode(stun.MessageType.BINDING_ERROR, transaction_id, [attribute], b"guessed")
    assert ice.receive_untrusted(forged, NEAR, CONSENT_INTERVAL_NS + 2 * MS) is CheckOutcome.IGNORED
    error = stun.encode(stun.MessageType.BINDING_ERROR, transaction_id, [attribute], PASSWORD.encode())
    assert ice.receive_untrusted(error, NEAR, CONSENT_INTERVAL_NS + 2 * MS) is CheckOutcome.REFUSED
    assert ice.state is state
    assert ice.is_gone is (state is IceState.FAILED)


def test_an_authentic_error_is_reported_and_does_not_connect() -> None:
    ice = client(NEAR)
    ((_, request),) = ice.poll(0)
    error = reply(request, kind=stun.MessageType.BINDING_ERROR)
    assert ice.receive_untrusted(error, NEAR, MS) is CheckOutcome.REFUSED
    assert ice.state is IceState.CHECKING


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 120))
def test_garbage_and_truncations_never_raise(garbage: bytes, length: int) -> None:
    ice = client(NEAR)
    ((_, request),) = ice.poll(0)
    answer = reply(request)
    ice.receive_untrusted(garbage, NEAR, MS)
    if length < len(answer):
        assert ice.receive_untrusted(answer[:length], NEAR, MS) is CheckOutcome.IGNORED
    assert ice.state is IceState.CHECKING


def connected(*candidates: Endpoint) -> IceClient:
    ice = client(*candidates)
    run(ice, 10 * MS, always)
    assert ice.state is IceState.CONNECTED
    assert not ice.is_disconnected
    return ice


def test_a_way_that_is_gone_from_this_machine_is_lost_at_once_and_asked_for_again() -> None:
    ice = connected(NEAR, FAR)
    ice.unreachable(NEAR, 20 * MS)
    assert ice.is_disconnected
    assert ice.selected == NEAR, "packets still go there"
    sent = run(ice, 5_000 * MS, never, 20 * MS)
    assert {endpoint for _, endpoint, _ in sent} == {NEAR, FAR}
    for endpoint in (NEAR, FAR):
        ice.unreachable(endpoint, 5_000 * MS)
    assert run(ice, 9_000 * MS, never, 5_000 * MS), "the interface may come back"


def test_silence_makes_it_disconnected_and_an_answer_connected() -> None:
    ice = connected(NEAR)
    run(ice, SEARCH_AFTER_NS + 50 * MS, never, 10 * MS)
    assert ice.is_disconnected
    run(ice, SEARCH_AFTER_NS + 2_000 * MS, always, SEARCH_AFTER_NS + 60 * MS)
    assert not ice.is_disconnected


def test_a_restart_checks_everything_anew_with_the_new_credentials() -> None:
    ice = connected(NEAR)
    old = ice.poll(ice.next_ns)[0][1]
    start_ns = 3_000 * MS
    ice.unreachable(NEAR, start_ns)
    ice.restart("theirs2:ours2", "the-second-password-of-the-session", [NEAR, SIX], start_ns)
    assert ice.selected == NEAR
    assert ice.is_disconnected
    ((endpoint, request),) = ice.poll(start_ns)
    message = stun.parse_untrusted(request)
    assert endpoint == NEAR
    assert message.get(stun.Attribute.USERNAME) == b"theirs2:ours2"
    assert message.is_authentic(b"the-second-password-of-the-session")
    assert ice.receive_untrusted(reply(old), NEAR, start_ns) is CheckOutcome.IGNORED
    assert ice.receive_untrusted(reply(request), NEAR, start_ns) is CheckOutcome.IGNORED, "old password"
    answer = reply(request, "the-second-password-of-the-session")
    assert ice.receive_untrusted(answer, NEAR, start_ns + MS) is CheckOutcome.ANSWERED
    assert not ice.is_disconnected
    ((_, nominating),) = ice.poll(start_ns + MS)
    assert stun.parse_untrusted(nominating).get(stun.Attribute.USE_CANDIDATE) is not None


def test_restarts_do_not_prolong_consent() -> None:
    ice = connected(NEAR)
    for second in range(6, 30, 4):
        ice.restart(f"a{second}:b", PASSWORD, [NEAR], second * 1_000 * MS)
        run(ice, (second + 4) * 1_000 * MS, never, second * 1_000 * MS)
    run(ice, 10 * MS + CONSENT_TIMEOUT_NS, never, 30_000 * MS)
    assert ice.state is IceState.FAILED


def test_a_restart_without_candidates_ends_by_the_clock() -> None:
    ice = connected(NEAR)
    ice.restart("a:b", PASSWORD, [], 20 * MS)
    assert ice.next_ns < NEVER
    run(ice, 11 * MS + CONSENT_TIMEOUT_NS, never, 20 * MS)
    assert ice.state is IceState.FAILED


def in_a_call(*candidates: Endpoint) -> IceClient:
    """Connected by the first, nominated, and media came at 100 ms."""
    ice = client(*candidates)
    run(ice, 100 * MS, always)
    ice.hear(100 * MS)
    return ice


def test_media_that_stops_is_asked_about_and_then_a_way_is_looked_for_elsewhere() -> None:
    ice = in_a_call(NEAR, FAR)
    sent = run(ice, 100 * MS + SILENT_NS + MS, never, 100 * MS)
    assert [(at_ns, where) for at_ns, where, _ in sent] == [
        (100 * MS + QUIET_NS, NEAR),
        (100 * MS + QUIET_NS + UNANSWERED_INTERVAL_NS, NEAR),
        (100 * MS + SILENT_NS, FAR),  # which is the same moment
    ]
    assert ice.is_disconnected
    run(ice, 4_000 * MS, lambda endpoint, _: endpoint == FAR, 100 * MS + SILENT_NS + MS)
    assert (ice.selected, ice.is_disconnected) == (FAR, False)


def test_while_media_comes_checks_are_as_rare_as_ever_and_may_go_unanswered_for_longer() -> None:
    ice = in_a_call(NEAR, FAR)
    sent = []
    for at_ns in range(100 * MS, SEARCH_AFTER_NS - 100 * MS, 20 * MS):
        ice.hear(at_ns)
        sent += [(at_ns, endpoint) for endpoint, _ in ice.poll(at_ns)]
    assert {endpoint for _, endpoint in sent} == {NEAR}
    assert sent[0][0] == pytest.approx(CONSENT_INTERVAL_NS, abs=20 * MS)
    assert not ice.is_disconnected


def test_a_server_that_is_silent_and_answers_is_not_lost() -> None:
    ice = in_a_call(NEAR, FAR)
    sent = run(ice, 20_000 * MS, lambda endpoint, _: endpoint == NEAR, 100 * MS)
    assert {endpoint for _, endpoint, _ in sent} == {NEAR}
    assert not ice.is_disconnected
    gaps = [second[0] - first[0] for first, second in itertools.pairwise(sent)]
    assert min(gaps) >= QUIET_NS, "it is not flooded"


def test_without_media_ever_only_checks_count() -> None:
    ice = client(NEAR, FAR)
    run(ice, 100 * MS, always)
    sent = run(ice, SEARCH_AFTER_NS - 100 * MS, never, 100 * MS)
    assert {endpoint for _, endpoint, _ in sent} == {NEAR}
