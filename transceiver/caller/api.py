"""The HTTP side of a call: offer in, answer out, hang up, and which PoPs there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from core.addr import Endpoint
from transceiver.caller.errors import CallError, Stage

CALLS_PATH = "/v1/realtime/calls"
POPS_PATH = "/v1/pops"
TIMEOUT = aiohttp.ClientTimeout(total=10.0)
MAX_BODY_BYTES = 262_144
MAX_MESSAGE_CHARS = 300


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
        """POST the offer. `session`: settings of the agent, if any. Raises CallError."""
        try:
            data, headers = _body(offer_sdp, session)
            async with self._http.post(
                self._url, data=data, headers={**headers, **self._headers}, timeout=TIMEOUT
            ) as response:
                body = await _read(response)
                if response.status != 201:
                    raise CallError(Stage.SIGNALING, _refusal(response, body))
                location = response.headers.get("Location")
                return Placed(body, None if location is None else response.url.join(URL(location)))
        except (aiohttp.ClientError, ValueError) as error:
            raise CallError(Stage.SIGNALING, f"{self._url}: {error}") from None
        except TimeoutError:
            raise CallError(Stage.SIGNALING, f"{self._url}: no answer within {TIMEOUT.total:g} s") from None

    async def hang_up(self, location: URL) -> bool:
        """DELETE the call; whether the server took it. A call that is gone already counts as hung up."""
        try:
            async with self._http.delete(location, headers=self._headers, timeout=TIMEOUT) as response:
                return response.ok or response.status == 404
        except (aiohttp.ClientError, TimeoutError):
            return False

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


def _refusal(response: aiohttp.ClientResponse, body: str) -> str:
    """What the server says is wrong, with the hint that it gives or that follows from the status."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = response.reason or ""
    text = f"refused with {response.status}: {message[:MAX_MESSAGE_CHARS]}"
    if response.status == 401:
        text += " (set VOXPOP_API_KEY or give --api-key-file)"
    if "Retry-After" in response.headers:
        text += f" (try again in {response.headers['Retry-After'][:16]} s)"
    return text


def _find(listing: object, vip: str) -> Pop | None:
    for pop in listing if isinstance(listing, list) else ():
        if isinstance(pop, dict) and vip in (pop.get("vips") or ()):
            return Pop(str(pop.get("id")), vip, str(pop.get("forwarder")))
    return None
