"""transceiver.signaling.hosts: where a request about another host's call may go, and what it says there."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Network

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint
from core.cluster import Cluster
from core.geo import Position
from core.keyring import Keyring
from core.service.metrics import Series
from transceiver.observer import NullObserver
from transceiver.session.ids import Owner, new_session_id
from transceiver.signaling.hosts import (
    FORWARDED,
    MAX_UNDER_WAY,
    NO_VOUCHER,
    OtherHosts,
    Place,
)
from transceiver.signaling.referrals import LIFETIME_S, TOLERANCE_S, ReferralKeys, mint_referral
from transceiver.signaling.refusals import HttpReason, Refusal
from transceiver.signaling.siblings import MAX_ANSWER_BYTES, Handed
from transceiver.steering.evidence import NO_EVIDENCE, Evidence, Source

NOW_S = 1_900_000_000
KEYRING = Keyring({1: bytes(range(32)), 7: bytes(32)}, 7)
KEYS = ReferralKeys(KEYRING, {"alice": "0" * 64, "bob": "ab" * 32})
LOOPBACK = Cluster(1, IPv4Network("127.0.0.0/29"), None, 40000, 40003)
EVIDENCE = Evidence(Source.DATABASE, None, Position(35.7, 139.7))
PATH = "/v1/realtime/calls/rtc_0-x"
HANDED = Handed("PATCH", PATH, "alice", {"Authorization": "Bearer vpk_x"}, b"a=mid:0\r\n")
THERE = Owner(2, 1)


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Counts(NullObserver):
    def __init__(self) -> None:
        self.forwarded: Counter[str] = Counter()

    def count(self, event: Series, *row: str) -> None:
        assert event is FORWARDED
        self.forwarded.update(row)


@asynccontextmanager
async def hosts(http: Endpoint, counts: Counts) -> AsyncIterator[OtherHosts]:
    made = OtherHosts(Place(LOOPBACK, 1, http), KEYRING, counts)
    made.keys = KEYS
    try:
        yield made
    finally:
        await made.close()


async def refused(ours: OtherHosts, owner: Owner = THERE, session_id: str | None = None) -> Refusal:
    name = session_id or new_session_id(owner, LOOPBACK.id, KEYRING)
    with pytest.raises(Refusal) as caught:
        await ours.pass_on(name, owner, HANDED, 0)
    return caught.value


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[Endpoint]:
    """Host 2, at its own address; what is said of it is where it is at the others'."""
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        listener = socket.create_server(("127.0.0.2", 0))
        await web.SockSite(runner, listener).start()
        yield Endpoint("127.0.0.1", listener.getsockname()[1])
    finally:
        await runner.cleanup()


# Where


@pytest.mark.parametrize(
    ("http", "forward_port", "where"),
    [
        ("0.0.0.0:8080", 0, "10.1.0.9:8080"),
        ("10.1.0.3:8080", 8081, "10.1.0.9:8081"),
        ("[::]:8080", 0, "[2001:db8::9]:8080"),
    ],
)
def test_it_is_asked_at_its_own_address_in_the_family_that_hosts_listen_in(
    http: str, forward_port: int, where: str
) -> None:
    cluster = Cluster(1, IPv4Network("10.1.0.0/28"), IPv6Network("2001:db8::/124"), 40000, 40003)
    host, _, port = http.rpartition(":")
    place = Place(cluster, 3, Endpoint(host.strip("[]"), int(port)), forward_port)
    assert str(place.signaling_of(9)) == where
    assert place.signaling_of(16) is None, "it would be outside of both prefixes"


def test_the_other_family_will_do_where_the_cluster_has_no_other() -> None:
    cluster = Cluster(1, None, IPv6Network("2001:db8::/124"), 40000, 40003)
    assert Place(cluster, 3, Endpoint("0.0.0.0", 80)).signaling_of(9) == Endpoint("2001:db8::9", 80)


# What comes of it


def test_the_owner_hears_what_the_client_said_and_its_answer_comes_back() -> None:
    async def scenario() -> None:
        seen = []

        async def handle(request: web.BaseRequest) -> web.Response:
            seen.append((request.method, request.path, dict(request.headers), await request.read()))
            headers = {"ETag": '"1"', "Retry-After": "3", "X-Internal": "7", "Set-Cookie": "a=b"}
            return web.Response(status=412, body=b"answer", headers=headers)

        counts = Counts()
        async with listening(handle) as http, hosts(http, counts) as ours:
            for _ in range(2):
                name = new_session_id(THERE, LOOPBACK.id, KEYRING)
                response = await ours.pass_on(name, THERE, HANDED, 0)
                assert (response.status, response.body) == (412, b"answer")
                assert (response.headers["ETag"], response.headers["Retry-After"]) == ('"1"', "3")
                assert "X-Internal" not in response.headers
        assert [(method, path, body) for method, path, _, body in seen] == [("PATCH", PATH, HANDED.body)] * 2
        assert all(headers["Authorization"] == "Bearer vpk_x" for _, _, headers, _ in seen)
        assert all("Cookie" not in headers for _, _, headers, _ in seen)
        assert counts.forwarded == {"answered": 2}

    asyncio.run(scenario())


def test_a_host_that_is_gone_has_no_calls(caplog: pytest.LogCaptureFixture) -> None:
    """Its address refuses. The log says so once a minute."""

    async def scenario() -> None:
        counts = Counts()
        with socket.create_server(("127.0.0.2", 0)) as probe:
            http = Endpoint("127.0.0.1", probe.getsockname()[1])
        async with hosts(http, counts) as ours:
            for _ in range(3):
                refusal = await refused(ours)
                assert (refusal.status, refusal.reason) == (404, HttpReason.NOT_FOUND)
        assert counts.forwarded == {"gone": 3}

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert ["host 2 of the cluster" in record.message for record in caplog.records] == [True]


def test_an_id_that_no_host_has_written_leads_nowhere() -> None:
    async def scenario() -> None:
        seen = []

        async def handle(request: web.BaseRequest) -> web.Response:
            seen.append(request)
            return web.Response()

        counts = Counts()
        async with listening(handle) as http, hosts(http, counts) as ours:
            forged = [
                new_session_id(THERE, LOOPBACK.id, Keyring({7: bytes(range(32))}, 7)),
                new_session_id(THERE, LOOPBACK.id + 1, KEYRING),
                new_session_id(THERE, LOOPBACK.id, Keyring({9: bytes(32)}, 9)),
            ]
            for name in forged:
                refusal = await refused(ours, THERE, name)
                assert (refusal.status, refusal.reason) == (404, HttpReason.NOT_FOUND)
            assert (await refused(ours, Owner(8, 0))).status == 404, "no such address in the prefix"
        assert seen == []
        assert counts.forwarded == {"forged": 4}

    asyncio.run(scenario())


def test_a_host_that_does_not_answer_well_may_be_asked_again() -> None:
    async def scenario() -> None:
        async def cut(request: web.BaseRequest) -> web.Response:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        async def endless(request: web.BaseRequest) -> web.Response:
            return web.Response(body=bytes(MAX_ANSWER_BYTES + 1))

        for handle in (cut, endless):
            counts = Counts()
            async with listening(handle) as http, hosts(http, counts) as ours:
                refusal = await refused(ours)
                assert (refusal.status, refusal.reason) == (503, HttpReason.OWNER_SILENT)
                assert refusal.headers == {"Retry-After": "1"}
            assert counts.forwarded == {"silent": 1}

    asyncio.run(scenario())


def test_a_redirection_is_the_clients_to_follow_and_not_ours() -> None:
    """It would take the API key along."""

    async def scenario() -> None:
        async def handle(request: web.BaseRequest) -> web.Response:
            assert request.path == PATH, "the other place is never asked"
            return web.Response(status=307, headers={"Location": "/elsewhere"})

        async with listening(handle) as http, hosts(http, Counts()) as ours:
            response = await ours.pass_on(new_session_id(THERE, 1, KEYRING), THERE, HANDED, 0)
            assert response.status == 307

    asyncio.run(scenario())


def test_so_many_are_under_way_and_no_more() -> None:
    async def scenario() -> None:
        all_there, may_go = asyncio.Event(), asyncio.Event()
        arrived = 0

        async def handle(request: web.BaseRequest) -> web.Response:
            nonlocal arrived
            arrived += 1
            if arrived == MAX_UNDER_WAY:
                all_there.set()
            await may_go.wait()
            return web.Response(status=204)

        counts = Counts()
        async with listening(handle) as http, hosts(http, counts) as ours:
            name = new_session_id(THERE, LOOPBACK.id, KEYRING)
            asked = [asyncio.create_task(ours.pass_on(name, THERE, HANDED, 0)) for _ in range(MAX_UNDER_WAY)]
            await all_there.wait()
            assert (await refused(ours)).status == 503
            may_go.set()
            assert {response.status for response in await asyncio.gather(*asked)} == {204}
            assert (await ours.pass_on(name, THERE, HANDED, 0)).status == 204
        assert counts.forwarded == {"answered": MAX_UNDER_WAY + 1, "too_many": 1}

    asyncio.run(scenario())


# Vouchers


def unbound(keys: ReferralKeys | None = KEYS) -> OtherHosts:
    made = OtherHosts(Place(LOOPBACK, 1, Endpoint("127.0.0.1", 80)), KEYRING, Counts())
    made.keys = keys
    return made


VOUCHER = unbound().voucher(HANDED, EVIDENCE, NOW_S)


@pytest.mark.parametrize(
    "evidence", [EVIDENCE, NO_EVIDENCE, Evidence(Source.POP_HEADER, "f" * 64, Position(-90.0, -180.0))]
)
def test_a_voucher_says_where_the_client_is(evidence: Evidence) -> None:
    text = unbound().voucher(HANDED, evidence, NOW_S)
    assert unbound().read_voucher_untrusted(text, HANDED, NOW_S) == evidence


def test_its_text_is_fixed_for_hosts_of_other_versions() -> None:
    assert VOUCHER == "7.1900000030.WyJkYXRhYmFzZSIsIG51bGwsIFszNS43LCAxMzkuN11d.a7Xge7iDvLgl-bTKpRKj0A"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (Handed("DELETE", PATH, "alice", {}, b""), "another method"),
        (Handed("PATCH", PATH + "y", "alice", {}, b""), "another call"),
        (Handed("PATCH", PATH, "bob", {}, b""), "another caller"),
        (Handed("PATCH", PATH, "carol", {}, b""), "a caller without a key here"),
    ],
)
def test_it_is_for_one_request_of_one_caller(other: Handed, why: str) -> None:
    assert unbound().read_voucher_untrusted(VOUCHER, other, NOW_S) is None, why


def test_it_takes_the_keys_of_both_files() -> None:
    other_digest = ReferralKeys(KEYRING, {"alice": "1" * 64})
    other_master = ReferralKeys(Keyring({7: bytes(range(32))}, 7), KEYS.digests)
    for keys in (None, other_digest, other_master):
        assert unbound(keys).read_voucher_untrusted(VOUCHER, HANDED, NOW_S) is None
    assert unbound(None).voucher(HANDED, EVIDENCE, NOW_S) == NO_VOUCHER
    assert unbound(ReferralKeys(KEYRING, {})).voucher(HANDED, EVIDENCE, NOW_S) == NO_VOUCHER
    referral = mint_referral(KEYS, "alice", "v=0", NOW_S)
    assert unbound().read_voucher_untrusted(referral, HANDED, NOW_S) is None, "a referral is no voucher"


@pytest.mark.parametrize(
    ("later_s", "is_good"),
    [
        (LIFETIME_S + TOLERANCE_S, True),
        (LIFETIME_S + TOLERANCE_S + 1, False),
        (-TOLERANCE_S, True),
        (-TOLERANCE_S - 1, False),
    ],
)
def test_it_is_over_soon(later_s: int, is_good: bool) -> None:
    found = unbound().read_voucher_untrusted(VOUCHER, HANDED, NOW_S + later_s)
    assert (found == EVIDENCE) is is_good


@given(st.integers(0, len(VOUCHER) - 2), st.sampled_from("A9_."))
def test_a_changed_voucher_is_none(at: int, put: str) -> None:
    changed = VOUCHER[:at] + put + VOUCHER[at + 1 :]
    assert changed == VOUCHER or unbound().read_voucher_untrusted(changed, HANDED, NOW_S) is None


@given(st.text(max_size=60))
def test_any_text_may_come(text: str) -> None:
    assert unbound().read_voucher_untrusted(text, HANDED, NOW_S) is None
