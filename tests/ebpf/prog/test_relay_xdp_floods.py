"""What strangers may cost the relay: budgets of tokens, sources and all together, and the emergency level."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from core.addr import Endpoint, IpFamily
from core.token import mint
from ebpf import layout
from ebpf.flows import FlowRecord
from ebpf.kernel.bpfmap import BpfMap
from ebpf.layout import PUNT_CLASS_MEDIA, PUNT_CLASS_STUN
from ebpf.pins import PUNT_TOKENS
from ebpf.tables import Rates
from ebpf.verdict import Reason
from tests.builders import MORE_FRAGMENTS, UdpFrame
from tests.ebpf.rig import (
    DTLS,
    FLOW4,
    FLOW6,
    FLOWS,
    KEYRING,
    OTHER_REQUEST,
    REQUEST,
    RTP,
    TOKEN,
    VIP4,
    VIP6,
    Rig,
    request,
    sent_upstream,
    upstream,
)

FLOW = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
SELDOM = 0.001
"""Packets a second: none is earned back while a test runs."""
PORT_OF_NONE = 9


@pytest.fixture(autouse=True)
def no_debts(rig: Rig) -> None:
    """Of tokens; the rig forgets the others."""
    debts = BpfMap.open(PUNT_TOKENS, rig.pin_dir / PUNT_TOKENS.name)
    keys, values = debts.items()
    for key in keys[values["paid_at_ns"].nonzero()]:
        debts.update(debts.spec.key(int(key)), layout.TokenDebt())
    debts.close()


def checks(count: int) -> list[bytes]:
    """Requests with as many tokens."""
    return [
        request(mint(replace(TOKEN, session=number), KEYRING).encode() + b":abcd") for number in range(count)
    ]


def from_host(payload: bytes, number: int) -> UdpFrame:
    """From a source of its own."""
    return upstream(FLOW4, payload).but(source=Endpoint(f"100.64.{number >> 8}.{number & 255}", 50000))


def outcomes(rig: Rig, frames: list[UdpFrame]) -> Counter[Reason]:
    return Counter(rig.send(frame).reason for frame in frames)


# Tokens


def test_a_token_is_charged_whatever_sources_use_it(rig: Rig) -> None:
    rig.tables.set_token_rate(SELDOM, 6)
    told = [rig.send(from_host(REQUEST, number)).reason for number in range(12)]
    assert told == [Reason.PUNT_TOKEN] * 6 + [Reason.DROP_TOKEN_BUDGET] * 6
    assert rig.send(from_host(OTHER_REQUEST, 1)).reason == Reason.PUNT_TOKEN


def test_what_a_token_may_not_have_is_charged_to_no_source(rig: Rig) -> None:
    rig.tables.set_token_rate(SELDOM, 2)
    rig.tables.set_rates(PUNT_CLASS_STUN, Rates(SELDOM, 4, 1e6, 1000))
    victim = [from_host(REQUEST, 7)] * 20  # an overheard check, from an address that somebody invented
    assert outcomes(rig, victim)[Reason.DROP_SOURCE_BUDGET] == 0
    assert rig.send(from_host(OTHER_REQUEST, 7)).reason == Reason.PUNT_TOKEN


def test_one_token_from_many_sources_leaves_the_total_to_others(rig: Rig) -> None:
    rig.tables.set_token_rate(SELDOM, 2)
    rig.tables.set_rates(PUNT_CLASS_STUN, Rates(1e6, 1000, SELDOM, 60))
    flood = outcomes(rig, [from_host(REQUEST, number) for number in range(200)])
    assert flood[Reason.DROP_TOKEN_BUDGET] >= 196
    assert not flood[Reason.DROP_TOTAL_BUDGET]
    others = outcomes(rig, [from_host(check, 1000 + n) for n, check in enumerate(checks(50))])
    assert others[Reason.PUNT_TOKEN] >= 49


def test_without_a_rate_tokens_have_no_budget(rig: Rig) -> None:
    rig.tables.config["token_interval_ns"] = 0  # as a relay that does not know it leaves it
    assert outcomes(rig, [from_host(REQUEST, 1)] * 50) == {Reason.PUNT_TOKEN: 50}


# The reserve


def test_a_quarter_of_the_total_is_for_tokens_that_have_not_asked(rig: Rig) -> None:
    rig.tables.set_token_rate(SELDOM, 1000)
    rig.tables.set_rates(PUNT_CLASS_STUN, Rates(1e6, 1000, SELDOM, 41))
    again = [from_host(REQUEST, number) for number in range(60)]
    assert outcomes(rig, again) == {Reason.PUNT_TOKEN: 31, Reason.DROP_TOTAL_BUDGET: 29}
    new = [from_host(check, 100 + n) for n, check in enumerate(checks(20))]
    assert outcomes(rig, new) == {Reason.PUNT_TOKEN: 10, Reason.DROP_TOTAL_BUDGET: 10}


@pytest.mark.parametrize(
    ("punt_class", "payloads"), [(PUNT_CLASS_STUN, checks(60)), (PUNT_CLASS_MEDIA, [DTLS] * 60)],
    ids=["tokens", "media"],
)  # fmt: skip
def test_and_for_sources_that_owe_little(rig: Rig, punt_class: int, payloads: list[bytes]) -> None:
    rig.tables.set_token_rate(SELDOM, 1000)
    rig.tables.set_rates(punt_class, Rates(SELDOM, 41, SELDOM, 41))
    busy = [from_host(payload, 1) for payload in payloads[:40]]
    told = outcomes(rig, busy)
    assert told[Reason.DROP_TOTAL_BUDGET] == 9, told
    quiet = [from_host(payload, 2 + n) for n, payload in enumerate(payloads[40:])]
    assert outcomes(rig, quiet)[Reason.DROP_TOTAL_BUDGET] == 10


@FLOW
def test_known_flows_are_charged_nothing(rig: Rig, flow: FlowRecord) -> None:
    rig.tables.set_token_rate(SELDOM, 2)
    rig.install(flow)
    assert outcomes(rig, [upstream(flow, REQUEST)] * 20) == {Reason.FORWARD_UP: 20}


def test_a_million_sources_push_nobody_out(rig: Rig) -> None:
    """Who is forgotten may begin anew: here more than twice as many as the table of sources has room for."""
    rig.tables.set_rates(PUNT_CLASS_MEDIA, Rates(SELDOM, 2, 1e6, 100_000))
    assert outcomes(rig, [from_host(DTLS, 9)] * 2) == {Reason.PUNT_MEDIA: 2}
    assert outcomes(rig, [from_host(DTLS, 1000 + n) for n in range(600)]) == {Reason.PUNT_MEDIA: 600}
    rig.install(FLOW4)
    frame = upstream(FLOW4, RTP)
    assert rig.send(frame).run.frame == bytes(sent_upstream(FLOW4, frame))
    assert rig.send(from_host(DTLS, 5000)).reason == Reason.PUNT_MEDIA


# Emergency


@FLOW
def test_in_an_emergency_known_flows_and_valid_tokens_pass(rig: Rig, flow: FlowRecord) -> None:
    rig.tables.set_emergency(True)
    assert rig.tables.is_emergency
    assert rig.send(upstream(flow, REQUEST)).reason == Reason.PUNT_TOKEN
    for payload in (RTP, DTLS):
        assert rig.send(upstream(flow, payload)).reason == Reason.DROP_EMERGENCY_MEDIA
    rig.install(flow)
    for payload in (RTP, DTLS, REQUEST):
        assert rig.send(upstream(flow, payload)).reason == Reason.FORWARD_UP
    assert rig.send(upstream(flow, OTHER_REQUEST)).reason == Reason.PUNT_UFRAG
    rig.tables.set_emergency(False)
    assert rig.send(upstream(flow, RTP).but(source=Endpoint(flow.client.host, 9))).reason == Reason.PUNT_MEDIA


@contextmanager
def a_socket(family: IpFamily) -> Iterator[int]:
    """Somebody on this host waits for UDP; its port."""
    kind = socket.AF_INET6 if family is IpFamily.V6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as opened:
        opened.bind(("::" if family is IpFamily.V6 else "0.0.0.0", 0))
        yield opened.getsockname()[1]


@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_in_an_emergency_other_ports_of_a_vip_are_for_sockets(rig: Rig, vip: Endpoint) -> None:
    flow = FLOW6 if vip is VIP6 else FLOW4
    with a_socket(vip.family) as port:
        waited_for = upstream(flow, RTP).but(destination=vip._replace(port=port))
        for_nobody = upstream(flow, RTP).but(destination=vip._replace(port=PORT_OF_NONE))
        for is_raised, reason in ((False, Reason.PASS_NOT_OURS), (True, Reason.DROP_EMERGENCY_PORT)):
            rig.tables.set_emergency(is_raised)
            assert rig.send(waited_for).reason == Reason.PASS_NOT_OURS
            assert rig.send(for_nobody).reason == reason


def test_in_an_emergency_nothing_odd_passes_to_an_address_with_a_vip(rig: Rig) -> None:
    elsewhere = VIP4._replace(port=PORT_OF_NONE)
    odd = [
        UdpFrame(FLOW4.client, elsewhere, RTP, fragment=MORE_FRAGMENTS),
        UdpFrame(FLOW4.client, elsewhere, RTP, options=b"\x01" * 4),
        UdpFrame(FLOW6.client, VIP6._replace(port=PORT_OF_NONE), RTP, extensions=((60, b"\x00" + bytes(6)),)),
    ]
    assert outcomes(rig, odd) == {Reason.PASS_NOT_OURS: 3}
    rig.tables.set_emergency(True)
    assert outcomes(rig, odd) == {Reason.DROP_EMERGENCY_PORT: 3}


def test_budgets_hold_in_an_emergency(rig: Rig) -> None:
    rig.tables.set_emergency(True)
    rig.tables.set_rates(PUNT_CLASS_STUN, Rates(SELDOM, 1, 1e6, 1000))
    one, other = checks(2)
    assert rig.send(from_host(one, 3)).reason == Reason.PUNT_TOKEN
    assert rig.send(from_host(other, 3)).reason == Reason.DROP_SOURCE_BUDGET
