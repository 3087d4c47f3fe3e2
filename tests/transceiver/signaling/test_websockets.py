"""transceiver.signaling.websockets: a sideband that comes to another host of the cluster than its call's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.signaling.kit import JSON
from tests.transceiver.signaling.sidebands import KEY, PATIENCE_S, event, refused, run, sideband, update
from tests.transceiver.signaling.test_hosts_cluster import HERE, two_hosts
from transceiver.session.hub import MAX_WATCHERS
from transceiver.session.ids import owner_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    with two_hosts(tmp_path_factory.mktemp("sidebands"), 2) as both:
        yield both


def test_it_reaches_the_owner_through_any_process_of_any_host(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    alice = one.keys["alice"]

    async def scenario() -> None:
        for asked, owner in ((one, two), (two, one)):
            path = owner.call(CHROMIUM)
            before = asked.metrics()[f"{HERE}{{result=answered}}"]
            async with sideband(asked, path) as socket:
                await event(socket, "session.created")
                await update(socket, audio={"input": {"turn_detection": None}})
                updated = await event(socket, "session.updated")
                assert updated["session"]["id"] == path.removeprefix(CALLS + "/")
                for _ in range(4):
                    async with sideband(asked, path, None, None, ("realtime", KEY + alice)) as other:
                        assert other.protocol == "realtime"
                        created = await event(other, "session.created")
                        assert created["session"]["audio"]["input"]["turn_detection"] is None
                await asyncio.to_thread(owner.request, "DELETE", path)
                message = await socket.receive(timeout=PATIENCE_S)
                assert (message.data, message.extra) == (1000, "the call has ended")
            assert asked.metrics()[f"{HERE}{{result=answered}}"] - before == 5

    run(scenario())
    assert alice not in "".join(one.log + two.log)


def test_the_owner_refuses_by_itself(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    path = two.call(CHROMIUM)

    async def scenario() -> None:
        assert await refused(one, path, key=None) == 401
        assert await refused(one, path, key="bob") == 404, "it is alice's"
        two.request("DELETE", path)
        assert await refused(one, path) == 404
        assert await refused(one, path[:-1] + ("A" if path[-1] != "A" else "B")) == 404

    run(scenario())


def test_a_client_secret_is_limited_there_too(hosts: tuple[Host, Host]) -> None:
    """Through another host, which sends the secret on, and through a sibling of the owner."""
    one, two = hosts
    value = json.loads(one.request("POST", "/v1/realtime/client_secrets", "{}", JSON).body)["value"]
    path = two.call(CHROMIUM, value)

    async def scenario() -> None:
        for asked in (one, two) * 4:
            async with sideband(asked, path, value) as page:
                await event(page, "session.created")
                await update(page, client=None)
                assert (await event(page, "error"))["error"]["code"] == "event_not_allowed"

    run(scenario())
    assert two.request("DELETE", path, key=value).status == 200
    assert value not in "".join(one.log + two.log)


def test_there_are_no_more_than_there_may_be_whichever_way_they_come(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    path = two.call(CHROMIUM)

    async def watch(left: int) -> None:
        if left == 0:
            assert {await refused(asked, path) for asked in (one, two)} == {429}
            return
        async with sideband((one, two)[left % 2], path) as socket:
            await event(socket, "session.created")
            await watch(left - 1)

    run(watch(MAX_WATCHERS))
    two.request("DELETE", path)


def test_it_ends_when_the_owner_is_gone_and_a_host_that_stands_still_is_unavailable(tmp_path: Path) -> None:
    with two_hosts(tmp_path, 1) as (one, two):
        path = two.call(CHROMIUM)
        owner = owner_of(path.removeprefix(CALLS + "/"))
        assert owner is not None

        async def scenario() -> None:
            async with sideband(one, path) as socket:
                await event(socket, "session.created")
                worker = two.workers[owner.process]
                os.kill(worker, signal.SIGSTOP)
                try:
                    assert await refused(one, path) == 503
                finally:
                    os.kill(worker, signal.SIGCONT)
                os.kill(worker, signal.SIGKILL)
                closed = await socket.receive(timeout=PATIENCE_S)
                while closed.type.name == "TEXT":
                    closed = await socket.receive(timeout=PATIENCE_S)
                assert closed.type.name == "CLOSE"
                assert closed.data != 1000, "nobody has hung up"

        run(scenario())
