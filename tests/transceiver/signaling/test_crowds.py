"""What one client behind a proxy may have under way."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.transceiver.http_kit import heard_until_closed, serving
from tests.transceiver.net import running
from tests.transceiver.signaling.kit import others
from transceiver.observer import NullObserver
from transceiver.signaling.app import Access, public_app
from transceiver.signaling.calls import Calls
from transceiver.signaling.crowds import Crowds
from transceiver.signaling.pops import PopDirectory
from transceiver.signaling.referrals import Referrer
from transceiver.signaling.refusals import HttpReason, Refusal
from transceiver.signaling.steering import Steering, SteeringPlan
from transceiver.steering.evidence import X_FORWARDED_FOR, Trust


def refusal(crowds: Crowds, address: str) -> Refusal:
    with pytest.raises(Refusal) as refused, crowds.counted(address):
        pass
    return refused.value


def test_a_client_has_as_many_as_it_may() -> None:
    crowds = Crowds(2)
    with contextlib.ExitStack() as under_way:
        for address in ("2001:db8::1", "2001:db8::2", "192.0.2.1"):
            under_way.enter_context(crowds.counted(address))
        why = refusal(crowds, "2001:db8::3")
        assert (why.status, why.reason) == (429, HttpReason.TOO_MANY_CONNECTIONS)
        assert why.headers["Retry-After"] == "1"
        with crowds.counted("192.0.2.1"), crowds.counted("2001:db8:0:1::1"):
            pass
    with crowds.counted("2001:db8::3"):
        pass


def test_who_is_not_told_of_is_not_counted() -> None:
    crowds = Crowds(1)
    with crowds.counted(None), crowds.counted(None):
        pass


def test_a_failed_request_is_over_too() -> None:
    crowds = Crowds(1)
    for _ in range(2):
        with contextlib.suppress(ValueError), crowds.counted("192.0.2.1"):
            raise ValueError


def request(client: str, path: str = "/healthz", method: str = "GET") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{X_FORWARDED_FOR}: {client}\r\n"
    return head.encode() + b"Content-Type: application/sdp\r\nConnection: close\r\n"


def test_behind_a_proxy_a_slow_client_keeps_only_itself_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        trust = Trust((ip_network("127.0.0.0/8"),), (X_FORWARDED_FOR,))
        steering = Steering(NullObserver(), SteeringPlan(trust=trust))
        access = Access(None, (), crowds=Crowds(1), client_of=steering.client_of)
        async with running() as server:
            calls = Calls(server.manager, others(tmp_path), NullObserver(), steering, Referrer())
            app = public_app(calls, access, PopDirectory(()), lambda: None, NullObserver(), None)
            async with serving(app) as port:
                slow, writer = await asyncio.open_connection("127.0.0.1", port)
                body = b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
                writer.write(request("192.0.2.1", "/v1/realtime/calls", "POST") + body)
                await slow.readuntil(b"100 Continue")
                refused = await heard_until_closed(port, request("192.0.2.1") + b"\r\n")
                answered = await heard_until_closed(port, request("192.0.2.2") + b"\r\n")
                writer.close()
        assert refused.startswith(b"HTTP/1.1 429")
        assert b"http_too_many_connections" in refused
        assert answered.startswith(b"HTTP/1.1 200")

    asyncio.run(scenario())
