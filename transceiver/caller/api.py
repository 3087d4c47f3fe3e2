"""The HTTP side of a call: offer in, answer out, hang up, and which PoPs there are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from core.addr import Endpoint
from transceiver.caller.errors import CallError, RestartRefusedError, Stage
from transceiver.caller.failures import (
    REDIRECTS,
    describe_error,
    describe_redirect,
    describe_refusal_untrusted,
    shown,
)
from transceiver.caller.steering import HEADER

CALLS_PATH = "/v1/realtime/calls"
POPS_PATH = "/v1/pops"
TIMEOUT_S = 10.0
TIMEOUT = aiohttp.ClientTimeout(total=TIMEOUT_S)
RESTART_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
MAX_BODY_BYTES = 262_144
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
GONE = frozenset({404, 410})
"""There is no such call any more."""
FOR_NOW = frozenset({408, 425, 429})
"""Refusals that may be none in a moment, as those of 500 and above."""


@dataclass(frozen=True, slots=True)
class Pop:
    """The PoP that a call goes through, as the signaling API describes it."""

    id: str
    vip: str
    forwarder: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A call that the server has made: its answer, and where it can be hung up."""

    answer_sdp: str
    location: URL | None
    content_type: str = "application/sdp"
    steering: str | None = None
    """What the server says of the PoPs that the answer names; see `transceiver.caller.steering`."""
    referred_to: URL | None = None
    """The server that has answered, where another had sent us there."""


def calls_url(text: str) -> URL:
    """Where calls are made: the URL itself, or the well-known path of a bare `http://host:port`.

    Raises ValueError with a sentence for an operator.
    """
    try:
        url = URL(text)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{text!r} is not an http:// or https:// URL, such as http://127.0.0.1:8080"
        ) from None
    return url if url.path not in ("", "/") else url.with_path(CALLS_PATH)


class SignalingClient:
    """One server, with one API key or none."""

    def __init__(self, http: aiohttp.ClientSession, url: URL, api_key: str | None) -> None:
        self._http = http
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def place(self, offer_sdp: str, session: Mapping[str, object]) -> Placed:
        """POST the offer, to where the server says if it is elsewhere. `session`: settings of the agent, if
        any. Raises CallError.
        """
        visited = [self._url]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while isinstance(placed := await self._post(visited, offer_sdp, session), URL):
                    visited.append(placed)
        except TimeoutError:
            raise _failed(visited[-1], f"no answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failed(visited[-1], describe_error(error, visited[-1])) from None
        return placed

    async def _post(
        self, visited: Sequence[URL], offer_sdp: str, session: Mapping[str, object]
    ) -> Placed | URL:
        """One POST, to the last of `visited`: a call, or where to ask for it."""
        url = visited[-1]
        data, headers = _body(offer_sdp, session)
        is_ours = url.origin() == self._url.origin()
        headers |= self._headers if is_ours else {}  # another server's business is not this one's key
        async with self._http.post(
            url, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=False
        ) as response:
            if response.status in REDIRECTS:
                return _follow_untrusted(response, visited)
            body = await _read(response)
            if response.status != 201:
                refused = _refusal_untrusted(response, body, url)
                withheld = "" if is_ours or not self._headers else f"; the key went to {self._url.host} alone"
                raise CallError(Stage.SIGNALING, refused + withheld)
            return Placed(
                body,
                _location_untrusted(response),
                response.content_type,
                response.headers.get(HEADER),
                None if is_ours else url.origin(),
            )

    async def hang_up(self, location: URL) -> bool:
        """DELETE the call; whether the server took it. A call that is gone already counts as hung up.

        By a connection of its own: that of the POST may have come from an address that is no more.
        """
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.delete(location, headers=self._headers, timeout=TIMEOUT) as response,
            ):
                return response.ok or response.status == 404
        except (aiohttp.ClientError, OSError, ValueError):  # of which TimeoutError is one
            return False

    async def restart_ice(self, location: URL, fragment: str) -> str:
        """PATCH the call for an ICE restart (RFC 9725 §4.3.3); the server's fragment.

        Raises RestartRefusedError when it will not, however often it is asked, and CallError when it could
        not.
        """
        headers = {"Content-Type": FRAGMENT_TYPE, "If-Match": "*", **self._headers}
        try:
            async with (
                aiohttp.ClientSession() as http,  # see `hang_up`
                http.patch(
                    location, data=fragment.encode(), headers=headers, timeout=RESTART_TIMEOUT
                ) as response,
            ):
                body = await _read(response)
        except TimeoutError:
            raise CallError(Stage.ICE, f"no answer to a restart within {RESTART_TIMEOUT.total:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallError(Stage.ICE, f"no restart: {describe_error(error, location)}") from None
        if response.status == 200:
            return body
        if response.status == 204:  # as for candidates (RFC 9725 §4.3.2)
            raise RestartRefusedError(False, "no restart: the server takes candidates only")
        words = _refusal_untrusted(response, body, location)
        if response.status in FOR_NOW or response.status >= 500:
            raise CallError(Stage.ICE, f"no restart: {words}")
        raise RestartRefusedError(response.status in GONE, f"no restart: {words}")

    async def pop_of(self, vip: Endpoint) -> Pop | None:
        """The PoP that has this VIP; None when the server does not say, as other servers would not."""
        try:
            url = self._url.with_path(POPS_PATH).with_query(None)
            async with self._http.get(url, headers=self._headers, timeout=TIMEOUT) as response:
                listing = json.loads(await _read(response)) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            return None
        return _find(listing, str(vip))


def _body(offer_sdp: str, session: Mapping[str, object]) -> tuple[bytes | aiohttp.FormData, dict[str, str]]:
    """The request's data and headers, in the shorter of the two forms that the API takes."""
    if not session:
        return offer_sdp.encode(), {"Content-Type": "application/sdp"}
    form = aiohttp.FormData()
    form.add_field("sdp", offer_sdp, content_type="application/sdp")
    form.add_field("session", json.dumps(session), content_type="application/json")
    return form, {}


async def _read(response: aiohttp.ClientResponse) -> str:
    """A body of bounded size as text. Raises ValueError."""
    chunks = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        chunks += chunk
        if len(chunks) > MAX_BODY_BYTES:
            raise ValueError(f"the response is longer than {MAX_BODY_BYTES} bytes")
    return chunks.decode()


def _refusal_untrusted(response: aiohttp.ClientResponse, body: str, url: URL) -> str:
    return describe_refusal_untrusted(
        response.status, response.reason, response.headers, body, url, datetime.now(UTC)
    )


def _follow_untrusted(response: aiohttp.ClientResponse, visited: Sequence[URL]) -> URL:
    """Where a redirection leads. Raises CallError when it is not to be followed."""
    target = _location_untrusted(response)
    problem = describe_redirect(response.status, visited, target)
    if problem is not None or target is None:
        raise _failed(visited[0], problem or "")
    return target


def _location_untrusted(response: aiohttp.ClientResponse) -> URL | None:
    """Where `Location` points, absolute; None when there is none that can be read."""
    text = response.headers.get("Location")
    try:
        return None if text is None else response.url.join(URL(text))
    except ValueError:
        return None


def _failed(url: URL, words: str) -> CallError:
    return CallError(Stage.SIGNALING, f"{shown(url)}: {words}")


def _find(listing: object, vip: str) -> Pop | None:
    for pop in listing if isinstance(listing, list) else ():
        if isinstance(pop, dict) and vip in (pop.get("vips") or ()):
            return Pop(str(pop.get("id")), vip, str(pop.get("forwarder")))
    return None
