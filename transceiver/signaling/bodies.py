"""Request bodies: read within bounds of size and time, in the three forms that callers send an offer.

`application/sdp` is the offer alone (WHIP, browsers with a key of their own). `multipart/form-data` and
`application/json` have `sdp` and, if wanted, `session`: the first is OpenAI's documented form, the second
what its Python library sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from core.service.expect import read_body_untrusted
from core.service.http_server import WastefulBodyError
from transceiver.realtime.json_text import MAX_DEPTH, decode_object_untrusted
from transceiver.sdp import MAX_SDP_BYTES, SdpReason
from transceiver.signaling.forms import read_form_untrusted
from transceiver.signaling.refusals import HttpReason, Refusal, from_framework

SDP_TYPE = "application/sdp"
JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"
ACCEPT_POST = f"{SDP_TYPE}, {FORM_TYPE}, {JSON_TYPE}"
MAX_REQUEST_BYTES = 139_264
"""An offer of `MAX_SDP_BYTES`, session settings of the same size, and what separates the two in a form."""
BODY_TIMEOUT_S = 10.0
"""What callers have for a whole body."""


async def read_call_untrusted(request: web.Request, timeout_s: float) -> tuple[str, Mapping[str, object]]:
    """The offer and the session settings of a request, within `timeout_s`. Raises Refusal."""
    if request.content_type == SDP_TYPE:
        return decode_sdp_untrusted(await read_untrusted(request, timeout_s)), {}
    if request.content_type == JSON_TYPE:
        call = json_object_untrusted(await read_untrusted(request, timeout_s), "The body")
        session = call.get("session")
        return decode_sdp_untrusted(call.get("sdp")), _session_untrusted({} if session is None else session)
    if request.content_type == FORM_TYPE:
        form = read_form_untrusted(await read_untrusted(request, timeout_s), request.headers["Content-Type"])
        sdp = decode_sdp_untrusted(form.get("sdp"))
        session = form.get("session")
        return sdp, {} if session is None else json_object_untrusted(session, "session")
    raise Refusal(
        415,
        HttpReason.BAD_CONTENT_TYPE,
        f"The Content-Type must be {SDP_TYPE}, or {FORM_TYPE} or {JSON_TYPE} with sdp and session.",
        {"Accept-Post": ACCEPT_POST},
    )


async def read_untrusted(request: web.Request, timeout_s: float) -> bytes:
    """A whole body. Raises Refusal when it is packed, too long or not there within `timeout_s`."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Refusal(415, HttpReason.BAD_CONTENT_TYPE, "The body must not have a Content-Encoding.")
    if (request.content_length or 0) > request.client_max_size:
        raise from_framework(web.HTTPRequestEntityTooLarge(request.client_max_size))
    async with _bounded_reading(timeout_s):
        return await read_body_untrusted(request)


def decode_sdp_untrusted(body: object) -> str:
    """SDP text of bounded length. Raises Refusal."""
    if not isinstance(body, str | bytes):
        raise Refusal(400, HttpReason.BAD_BODY, "The offer is missing: there is no sdp in the body.")
    if len(body) > MAX_SDP_BYTES:
        raise Refusal(413, SdpReason.TOO_LARGE, f"The SDP is longer than {MAX_SDP_BYTES} bytes.")
    try:
        return body.decode() if isinstance(body, bytes) else body
    except UnicodeDecodeError:
        raise Refusal(400, SdpReason.NOT_SDP, "The body is not SDP: it is not UTF-8.") from None


def json_object_untrusted(body: str | bytes, what: str) -> Mapping[str, object]:
    """The object in a text. Raises Refusal; `what` begins its sentence."""
    try:
        return decode_object_untrusted(body)
    except ValueError:
        words = f"{what} must be a JSON object, nested no deeper than {MAX_DEPTH}."
        raise Refusal(400, HttpReason.BAD_SESSION, words) from None


def _session_untrusted(session: object) -> Mapping[str, object]:
    if not isinstance(session, dict):
        raise Refusal(400, HttpReason.BAD_SESSION, "session must be a JSON object.")
    return session


@asynccontextmanager
async def _bounded_reading(timeout_s: float) -> AsyncIterator[None]:
    """Raises Refusal for a body that takes too long or does not come to its end."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise Refusal(408, HttpReason.TIMEOUT, f"The body took longer than {timeout_s:g} s.") from None
    except WastefulBodyError:
        raise Refusal(400, HttpReason.WASTEFUL, "The chunks of the body are too small.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise Refusal(400, HttpReason.CUT_OFF, "The body ended before its time.") from None
