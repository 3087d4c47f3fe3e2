"""Hand-over between the processes of one host, over a Unix socket each in a directory that only we enter.

The kernel gives an HTTP connection to any process, but a session belongs to one. Requests about a session
go on to its owner, which is in its id; a call that a full process cannot take goes to one that can. One
hop and no more: a process never passes on what a sibling gave it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web

from transceiver.signaling.refusals import HttpReason, Refusal
from transceiver.steering.evidence import Evidence

CALLER_HEADER = "X-Voxpop-Caller"
EVIDENCE_HEADER = "X-Voxpop-Evidence"
"""Where the client is: only the process that it has reached can tell."""
STEERING = "Voxpop-Steering"
"""Of answers: which PoPs are named, and why; for people and their tools (docs/steering.md)."""
PASSED_ON = ("Content-Type", "If-Match")
RETURNED = ("Content-Type", "ETag", "Location", "Retry-After", STEERING)
TIMEOUT = aiohttp.ClientTimeout(total=3.0)
MAX_CONNECTIONS = 32
SIBLINGS_ASKED = 3
"""How many others a full process offers a call to before the caller is told to come back."""


def socket_path(folder: Path, index: int) -> Path:
    """Where process `index` takes hand-overs."""
    return folder / f"process-{index}.sock"


@dataclass(frozen=True, slots=True)
class Handed:
    """A request as it goes to a sibling: the caller is known already, so no key goes with it."""

    method: str
    path: str
    caller: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that is still to be placed."""

    sdp: str
    settings: Mapping[str, object]
    caller: str
    evidence: Evidence


class Siblings:
    """The other processes of this host. `folder` has their sockets."""

    def __init__(self, folder: Path, index: int, count: int) -> None:
        self.index = index
        self.count = count
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

    async def pass_on(self, owner: int, handed: Handed) -> web.Response:
        """The owner's response to a request about a session of its. Raises Refusal when it is silent."""
        client = self._clients.get(owner)
        if client is None:
            raise Refusal(404, HttpReason.NOT_FOUND, "There is no such call.")
        try:
            return await _forward(client, handed)
        except (aiohttp.ClientError, TimeoutError):
            raise Refusal(
                503, HttpReason.OWNER_SILENT, "The call's process does not answer.", {"Retry-After": "1"}
            ) from None

    async def place(self, path: str, call: NewCall) -> web.Response | None:
        """Offer a call to others in turn; None when none of those asked has room."""
        body = json.dumps({"sdp": call.sdp, "session": call.settings}).encode()
        headers = {"Content-Type": "application/json", EVIDENCE_HEADER: call.evidence.encode()}
        handed = Handed("POST", path, call.caller, headers, body)
        for other in self._turn():
            try:
                response = await _forward(self._clients[other], handed)
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


async def _forward(client: aiohttp.ClientSession, handed: Handed) -> web.Response:
    headers = {**handed.headers, CALLER_HEADER: quote(handed.caller)}
    url = f"http://sibling{handed.path}"
    async with client.request(handed.method, url, headers=headers, data=handed.body) as answer:
        body = await answer.read()
        kept = {name: answer.headers[name] for name in RETURNED if name in answer.headers}
        return web.Response(status=answer.status, headers=kept, body=body or None)
