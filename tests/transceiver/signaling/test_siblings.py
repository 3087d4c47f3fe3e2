"""Requests that another process of the host answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from core.geo import Position
from tests.transceiver.descriptions import (
    CHROMIUM,
    attributes,
)
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.signaling.kit import (
    RESTART,
    TRICKLE,
    patch,
)
from transceiver.session.ids import owner_of
from transceiver.signaling.refusals import HttpReason, Refusal
from transceiver.signaling.siblings import (
    CALLER_HEADER,
    EVIDENCE_HEADER,
    SIBLINGS_ASKED,
    Handed,
    NewCall,
    Siblings,
    socket_path,
)
from transceiver.steering.evidence import Evidence, Source, decode_evidence

EVIDENCE = Evidence(Source.DATABASE, None, Position(35.7, 139.7))
CALL = NewCall("/v1/realtime/calls", b'{"sdp": "v=0", "session": {}}', "alice", EVIDENCE)


def test_nobody_becomes_another_by_a_header_of_the_hand_over(host: Host, call: str) -> None:
    response = host.request("DELETE", call, None, {"X-Voxpop-Caller": "alice"}, key="bob")
    assert response.status == 404


def test_nobody_moves_by_a_header_of_the_hand_over(host: Host) -> None:
    evidence = {"X-Voxpop-Evidence": '["pop_header", "far", null]'}
    for _ in range(8):  # of either process
        response = host.request("POST", CALLS, CHROMIUM, {"Content-Type": "application/sdp", **evidence})
        assert response.headers["Voxpop-Steering"] == '"near";source=default;why=order, "far"'
        host.request("DELETE", response.headers["Location"])


def test_a_request_reaches_the_owner_through_any_process(host: Host) -> None:
    """Each request is a connection of its own, which the kernel gives to either process."""
    paths = [host.call(CHROMIUM) for _ in range(24)]
    owners = [owner_of(path.removeprefix(CALLS + "/")) for path in paths]
    assert set(owners) == {(0, 0), (0, 1)}
    for path in paths:
        assert patch(host, path, TRICKLE).status == 204
        restarted = patch(host, path, RESTART, **{"If-Match": "*"})
        assert restarted.status == 200
        assert attributes(restarted.text.replace("\r\n", "\n"), "ice-ufrag")
        assert restarted.headers["ETag"] != '"0"'
    for path in paths[::2]:
        assert host.request("DELETE", path).status == 200
    for path in paths[1::2]:
        assert host.request("POST", path + "/hangup").status == 200
    for path in paths:
        assert host.request("DELETE", path).status == 404


class Other:
    """Another process, as far as hand-overs go: it refuses with 503 as long as it is full."""

    def __init__(self, *, is_full: bool) -> None:
        self.is_full = is_full
        self.callers: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.callers.append(request.headers[CALLER_HEADER])
        assert "Authorization" not in request.headers
        assert decode_evidence(request.headers[EVIDENCE_HEADER]) == CALL.evidence
        headers = {"Location": "/v1/realtime/calls/x", "X-Internal": "7"}
        return web.Response(status=503 if self.is_full else 201, text="answer", headers=headers)


@asynccontextmanager
async def siblings(folder: Path, others: dict[int, Other], count: int) -> AsyncIterator[Siblings]:
    """Process 0 of so many; those of `others` listen, the rest is gone."""
    runners = [web.ServerRunner(web.Server(other.handle)) for other in others.values()]
    made = Siblings(folder, 0, count)
    try:
        for index, runner in zip(others, runners, strict=True):
            await runner.setup()
            await web.UnixSite(runner, str(socket_path(folder, index))).start()
        yield made
    finally:
        await made.close()
        for runner in runners:
            await runner.cleanup()


def test_a_call_is_offered_to_a_few_in_turn_and_to_those_that_answer(tmp_path: Path) -> None:
    async def run() -> None:
        others = {index: Other(is_full=True) for index in (1, 2, 4, 5)}
        async with siblings(tmp_path, others, 6) as ours:
            assert await ours.place(CALL) is None
            asked = [index for index, other in others.items() if other.callers]
            assert asked == [1, 2], "3 is gone, and that was one of them"
            assert len(asked) + 1 == SIBLINGS_ASKED
            others[4].is_full = False
            placed = await ours.place(CALL)
            assert placed is not None
            assert placed.status == 201
            assert placed.headers["Location"] == "/v1/realtime/calls/x"
            assert "X-Internal" not in placed.headers
            assert [len(others[index].callers) for index in others] == [1, 2, 1, 0]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("owner", "status", "reason"), [(1, 503, HttpReason.OWNER_SILENT), (9, 404, HttpReason.NOT_FOUND)]
)
def test_an_owner_that_is_silent_or_nobody_is_a_refusal(
    tmp_path: Path, owner: int, status: int, reason: HttpReason
) -> None:
    async def run() -> Refusal:
        async with siblings(tmp_path, {}, 2) as ours:
            with pytest.raises(Refusal) as caught:
                await ours.pass_on(owner, Handed("DELETE", "/v1/realtime/calls/x", "alice", {}, b""))
            return caught.value

    refusal = asyncio.run(run())
    assert (refusal.status, refusal.reason) == (status, reason)


def test_a_name_of_any_characters_is_handed_over_in_ascii(tmp_path: Path) -> None:
    async def run() -> None:
        other = Other(is_full=False)
        async with siblings(tmp_path, {1: other}, 2) as ours:
            await ours.pass_on(1, Handed("DELETE", "/x", "ali\u0107e\r\nX: y", {}, b""))
            assert other.callers == ["ali%C4%87e%0D%0AX%3A%20y"]

    asyncio.run(run())
