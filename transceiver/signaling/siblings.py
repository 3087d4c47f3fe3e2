"""Hand-over between the processes of one host, over a Unix socket each in a directory that only we enter.

The kernel gives an HTTP connection to any process, but a session belongs to one. Requests about a session
go on to its owner, which is in its id; a call that a full process cannot take goes to one that can. One
hop and no more: a process never passes on what a sibling gave it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web

from transceiver.signaling.refusals import no_such_call, owner_is_silent
from transceiver.steering.evidence import Evidence

CALLER_HEADER = "X-Voxpop-Caller"
LIMITED_HEADER = "X-Voxpop-Limited"
"""There for a caller with a client secret."""
SECRET_HEADER = "X-Voxpop-Secret"  # noqa: S105 - the name of a header
"""What tells the caller's client secret from others, where a call was asked for with one."""
EVIDENCE_HEADER = "X-Voxpop-Evidence"
"""Where the client is: only the process that it has reached can tell."""
STEERING = "Voxpop-Steering"
"""Of answers: which PoPs are named, and why; for people and their tools (docs/steering.md)."""
PASSED_ON = ("Content-Type", "If-Match")
RETURNED = ("Content-Type", "ETag", "Location", "Retry-After", "WWW-Authenticate", STEERING)
MAX_ANSWER_BYTES = 256 * 1024
"""More than an answer can have, to the longest offer."""
TIMEOUT = aiohttp.ClientTimeout(total=3.0)
MAX_CONNECTIONS = 32
SIBLINGS_ASKED = 3
"""How many others a full process offers a call to before the caller is told to come back."""


def socket_path(folder: Path, index: int) -> Path:
    """Where process `index` takes hand-overs."""
    return folder / f"process-{index}.sock"


@dataclass(frozen=True, slots=True)
class Handed:
    """A request as it goes to its owner. The caller is known already: to a sibling no key goes with it."""

    method: str
    path: str
    caller: str
    headers: Mapping[str, str]
    body: bytes

    def also(self, **headers: str) -> Handed:
        """The same with more headers."""
        return dataclasses.replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that is still to be placed."""

    path: str
    """Where calls of its API are made."""
    body: bytes
    """JSON, as that API has it."""
    caller: str
    evidence: Evidence
    secret: str = ""
    """What tells the caller's client secret from others, where there is one."""


class Siblings:
    """The other processes of this host. `folder` has their sockets."""

    def __init__(self, folder: Path, index: int, count: int) -> None:
        self.index = index
        self.count = count
        self._folder = folder
        self._clients = {
            other: aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(socket_path(folder, other)), limit=MAX_CONNECTIONS),
                timeout=TIMEOUT,
                auto_decompress=False,
            )
            for other in range(count)
            if other != index
        }
        self._next = index

    async def close(self) -> None:
        """Close the connections to all of them."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    def find(self, owner: int) -> Path:
        """The socket of another process. Raises Refusal where there is none of that number."""
        if owner not in self._clients:
            raise no_such_call()
        return socket_path(self._folder, owner)

    async def pass_on(self, owner: int, handed: Handed) -> web.Response:
        """The owner's response to a request about a session of its. Raises Refusal when it is silent."""
        client = self._clients.get(owner)
        if client is None:
            raise no_such_call()
        try:
            return await _ask(client, handed)
        except (aiohttp.ClientError, TimeoutError):
            raise owner_is_silent("process") from None

    async def place(self, call: NewCall) -> web.Response | None:
        """Offer a call to others in turn; None when none of those asked has room."""
        headers = {"Content-Type": "application/json", EVIDENCE_HEADER: call.evidence.encode()}
        if call.secret:
            headers[SECRET_HEADER] = call.secret
        handed = Handed("POST", call.path, call.caller, headers, call.body)
        for other in self._turn():
            try:
                response = await _ask(self._clients[other], handed)
            except (aiohttp.ClientError, TimeoutError):
                continue
            if response.status != 503:
                return response
        return None

    def _turn(self) -> Sequence[int]:
        """Up to `SIBLINGS_ASKED` others, beginning with the one after whoever was first last time."""
        others = sorted(self._clients, key=lambda other: (other - self._next - 1) % self.count)
        if others:
            self._next = others[0]
        return others[:SIBLINGS_ASKED]


async def _ask(client: aiohttp.ClientSession, handed: Handed) -> web.Response:
    return await ask(client, "http://sibling", handed.also(**{CALLER_HEADER: quote(handed.caller)}))


async def ask(client: aiohttp.ClientSession, origin: str, handed: Handed) -> web.Response:
    """What the owner at an origin says. Raises ClientError or TimeoutError where it says nothing of use."""
    async with client.request(
        handed.method,
        f"{origin}{handed.path}",
        headers=handed.headers,
        data=handed.body,
        allow_redirects=False,
    ) as answer:
        try:
            await answer.content.readexactly(MAX_ANSWER_BYTES)
        except asyncio.IncompleteReadError as whole:
            body = whole.partial
        else:
            raise aiohttp.ClientPayloadError("it has no end")
        kept = {name: answer.headers[name] for name in RETURNED if name in answer.headers}
        return web.Response(status=answer.status, headers=kept, body=body or None)
