"""The way past the PoP: bytes of any length both ways, ends that are told, and nobody at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from core.addr import Endpoint
from edge.lab.signaling import Signaling

CONNECTIONS = 40
PATIENCE_S = 20


@contextlib.asynccontextmanager
async def joined(target: Endpoint) -> AsyncIterator[Endpoint]:
    """Where to connect to be joined with the target."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(Signaling(target).serve(listener))
        try:
            yield Endpoint(*listener.getsockname())
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[Endpoint]:
    """Sends everything back when the other side has said all of it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield Endpoint(*server.sockets[0].getsockname())


async def ask(at: Endpoint, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(at.host, at.port)
    try:
        writer.write(question)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def test_everything_arrives_and_so_do_the_ends() -> None:
    async def run() -> None:
        async with echo() as target, joined(target) as at:
            questions = [os.urandom(1 + 7919 * number) for number in range(CONNECTIONS)]
            answers = await asyncio.gather(*(ask(at, question) for question in questions))
            assert answers == questions

    asyncio.run(run())


def test_where_nobody_listens_the_connection_ends() -> None:
    async def run() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            async with joined(Endpoint(*nobody.getsockname())) as at:
                for _ in range(3):
                    reader, writer = await asyncio.open_connection(at.host, at.port)
                    async with asyncio.timeout(PATIENCE_S):
                        assert await reader.read() == b""
                    writer.close()
                    await writer.wait_closed()

    asyncio.run(run())
