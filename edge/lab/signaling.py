"""The way of signaling past the PoP: what HTTPS is to a real client is this to the lab's.

`python -m edge.lab.signaling` runs in the region with a listening socket of the client's loopback, and
joins each connection to the transceiver's. Both ends are loopback: pages may use the microphone, and
no API key is needed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Sequence

from core.addr import Endpoint, parse_endpoint
from core.service import log

MAX_CONNECTIONS = 512
CHUNK_BYTES = 65536

logger = logging.getLogger("voxpop.lab.signaling")


def command(listener: socket.socket, target: Endpoint) -> list[str]:
    """What to run, and pass the socket to."""
    return ["edge.lab.signaling", f"--listen-fd={listener.fileno()}", f"--target={target}"]


class Signaling:
    """Joins connections, a bounded number at a time; more wait in the kernel's queue."""

    def __init__(self, target: Endpoint) -> None:
        self._target = target
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def serve(self, listener: socket.socket) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        async with asyncio.TaskGroup() as joints:
            while True:
                await self._free.acquire()
                connection, _ = await loop.sock_accept(listener)
                joints.create_task(self._join(connection))

    async def _join(self, connection: socket.socket) -> None:
        try:
            client = await asyncio.open_connection(sock=connection)
            try:
                server = await asyncio.open_connection(self._target.host, self._target.port)
            except OSError:
                client[1].close()  # nobody is there yet: the client sees the connection end
                return
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_carry(client[0], server[1]))
                ways.create_task(_carry(server[0], client[1]))
            for _, writer in (client, server):
                writer.close()
        finally:
            self._free.release()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction until its end, which the other side then sees."""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def _run(listener: socket.socket, target: Endpoint) -> None:
    serving = asyncio.create_task(Signaling(target).serve(listener))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def main(argv: Sequence[str]) -> None:
    """Join connections until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="edge.lab.signaling", description="Started by `voxpop lab up`.")
    parser.add_argument("--listen-fd", required=True, type=int)
    parser.add_argument("--target", required=True, type=parse_endpoint)
    arguments = parser.parse_args(argv)
    log.set_up("info")
    with socket.socket(fileno=arguments.listen_fd) as listener:
        asyncio.run(_run(listener, arguments.target))


if __name__ == "__main__":
    main(sys.argv[1:])
