"""Ended sessions are gone at once: nothing of them waits for the garbage collector, keys least of all."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Iterator

import pytest

from tests.transceiver.net import Client, Server, calling, make_offer, running, until
from transceiver.session.session import Session
from transceiver.transport.certificate import Certificate

CALLS, AT_ONCE = 40, 20
"""Together, since a goodbye takes 0.7 s, in which it is said five times."""
NEVER_ARRIVED = 160


@pytest.fixture
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def parts(session: Session) -> list[weakref.ref[object]]:
    """The session, and what it has that holds keys or memory."""
    peer = session.contact.peer
    of_peer = () if peer is None else (peer._dtls, peer._link, peer._carrier, peer._sctp)
    found = [
        session,
        session.contact,
        session.contact._handshakes,
        peer,
        *of_peer,
        session._path,
        session._backend,
        session._live and session._live.backend,
    ]
    return [weakref.ref(part) for part in found if part is not None]


async def end(server: Server, client: Client, session: Session, way: int) -> None:
    if way == 0:
        server.manager.close(session, "hangup")
    elif way == 1:
        await client.peer.close()  # the client hangs up
    elif way == 2:
        session._on_ended(session, "crashed")  # type: ignore[arg-type]
    else:
        server.restart_ice(session, "NEWU")
        server.manager.close(session, "silent")
    await until(lambda: server.manager.count == 0 and not server.manager._freeing)


async def talk(server: Server, way: int) -> list[weakref.ref[object]]:
    live = {"model": "x", "client": {}} if way > 1 else None
    async with calling(server, setup=("actpass", "passive")[way % 2], live=live) as (client, session):
        await client.connect()
        if way != 3:
            async with asyncio.timeout(20.0):
                await client.opened.wait()
        watched = parts(session)
        await end(server, client, session, way)
    return watched


@pytest.mark.usefixtures("_without_collector")
def test_ended_sessions_leave_nothing_alive_without_a_collection() -> None:
    async def scenario() -> None:
        async with running() as server:
            watched: list[weakref.ref[object]] = []
            for _ in range(CALLS // AT_ONCE):
                talks = (talk(server, number % 4) for number in range(AT_ONCE))
                watched += itertools.chain.from_iterable(await asyncio.gather(*talks))
            offer = make_offer(Certificate.generate())
            for _ in range(NEVER_ARRIVED):
                session = server.create(offer)
                watched += parts(session)
                server.manager.close(session, "never_arrived")
            del session
            await until(lambda: not server.manager._freeing)
            await asyncio.sleep(0.1)
            alive = [type(part).__name__ for part in (ref() for ref in watched) if part is not None]
            assert alive == []

    asyncio.run(scenario())
