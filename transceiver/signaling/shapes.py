"""The two shapes in which a session is asked for: OpenAI's Realtime calls, which are WHIP too, and GPT-Live.

Both lead to a session, by the same way through keys, siblings, steering and referrals. What differs is the
path, the body, what is made of its settings, and the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Protocol

from aiohttp import web

from transceiver.live.settings import KIND, read_live_settings_untrusted
from transceiver.realtime.event import Event
from transceiver.realtime.permissions import take_permissions
from transceiver.sdp import Offer
from transceiver.session.api import LIVE, REALTIME
from transceiver.session.request import CallRequest
from transceiver.signaling.bodies import (
    ACCEPT_POST,
    JSON_TYPE,
    SDP_TYPE,
    decode_sdp_untrusted,
    json_object_untrusted,
    read_call_untrusted,
    read_untrusted,
)
from transceiver.signaling.client_secrets import ClientSecret
from transceiver.signaling.refusals import HttpReason, Refusal

CALLS: Final = "/v1/realtime/calls"
OLDER_CALLS: Final = "/v1/realtime"
"""Where the OpenAI API took offers before it had calls, as `POST /v1/realtime?model=…`."""
MODEL: Final = "model"
"""Of a query."""
LIVE_SESSIONS: Final = "/v1/live/sessions"
WEBRTC: Final = "webrtc"


class Shape(Protocol):
    """One of them."""

    path: str
    """Under which its sessions are."""
    paths: tuple[str, ...]
    """Where offers are posted."""
    prefix: str
    """Of the ids of its sessions."""
    accept_post: str

    async def read_untrusted(self, request: web.Request, timeout_s: float) -> tuple[str, Event]:
        """The offer and the session object of a request. Raises Refusal."""

    def hand_over(self, sdp: str, settings: Event) -> bytes:
        """A body of JSON that says the same, for a sibling."""

    def call(self, offer: Offer, settings: Event, caller: str, now_s: int) -> CallRequest:
        """What the session manager is asked for. `now_s` is Unix time. Raises ConfigError."""

    def answer(self, session_id: str, sdp: str, headers: Mapping[str, str]) -> web.Response:
        """201 with the answer."""


class RealtimeShape:
    """Realtime calls; all but the older path is WHIP's (RFC 9725) as well."""

    path = CALLS
    paths: tuple[str, ...] = (CALLS, OLDER_CALLS)
    prefix = REALTIME.prefix
    accept_post = ACCEPT_POST

    async def read_untrusted(self, request: web.Request, timeout_s: float) -> tuple[str, Event]:
        """See Shape; in three forms. The query's model counts where the session names none."""
        sdp, settings = await read_call_untrusted(request, timeout_s)
        if MODEL in request.query:
            settings = {MODEL: request.query[MODEL], **settings}
        return sdp, settings

    def hand_over(self, sdp: str, settings: Event) -> bytes:
        """See Shape."""
        return json.dumps({"sdp": sdp, "session": settings}).encode()

    def call(self, offer: Offer, settings: Event, caller: str, now_s: int) -> CallRequest:
        """See Shape."""
        rest, permissions = take_permissions(settings)
        return CallRequest(offer, rest, caller, permissions)

    def answer(self, session_id: str, sdp: str, headers: Mapping[str, str]) -> web.Response:
        """See Shape."""
        return web.Response(status=201, body=sdp.encode(), content_type=SDP_TYPE, headers=headers)


class LiveShape:
    """GPT-Live sessions."""

    path = LIVE_SESSIONS
    paths: tuple[str, ...] = (LIVE_SESSIONS,)
    prefix = LIVE.prefix
    accept_post = JSON_TYPE

    async def read_untrusted(self, request: web.Request, timeout_s: float) -> tuple[str, Event]:
        """See Shape; JSON alone, `{session, transport: {type, sdp}}`."""
        if request.content_type != JSON_TYPE:
            what = f"The Content-Type must be {JSON_TYPE}, with session and transport in the body."
            raise Refusal(415, HttpReason.BAD_CONTENT_TYPE, what, {"Accept-Post": JSON_TYPE})
        body = json_object_untrusted(await read_untrusted(request, timeout_s), "The body")
        transport, session = body.get("transport"), body.get("session", {})
        if not isinstance(transport, Mapping):
            raise Refusal(400, HttpReason.BAD_BODY, "transport must be a JSON object.", param="transport")
        if transport.get("type") != WEBRTC:
            what = f"transport.type must be {WEBRTC!r}; nothing else is served here."
            raise Refusal(422, HttpReason.NOT_SUPPORTED, what, param="transport.type")
        if not isinstance(session, Mapping):
            raise Refusal(400, HttpReason.BAD_SESSION, "session must be a JSON object.", param="session")
        return decode_sdp_untrusted(transport.get("sdp")), session

    def hand_over(self, sdp: str, settings: Event) -> bytes:
        """See Shape."""
        return json.dumps({"session": settings, "transport": {"type": WEBRTC, "sdp": sdp}}).encode()

    def call(self, offer: Offer, settings: Event, caller: str, now_s: int) -> CallRequest:
        """See Shape."""
        live = read_live_settings_untrusted(settings)
        return CallRequest(offer, live.realtime(), caller, live.permissions, live, now_s)

    def answer(self, session_id: str, sdp: str, headers: Mapping[str, str]) -> web.Response:
        """See Shape."""
        body = {"session": {"id": session_id}, "transport": {"type": WEBRTC, "sdp": sdp}}
        return web.json_response(body, status=201, headers=headers)


SHAPES: Final[tuple[Shape, ...]] = (RealtimeShape(), LiveShape())
OFFER_PATHS: Final[Mapping[str, Shape]] = {path: shape for shape in SHAPES for path in shape.paths}
"""Where offers are posted, and in which shape."""


def shape_of(request: web.Request) -> Shape:
    """That of a request about sessions, by its path."""
    return next((shape for shape in SHAPES if request.path.startswith(shape.path)), SHAPES[0])


def secret_settings(secret: ClientSecret, wanted: Event, shape: Shape) -> Event:
    """The session object of a caller that has a client secret and itself wants `wanted`. A secret with a
    session of the one API makes none of the other: what its page may do there was never said. Raises Refusal.
    """
    if secret.session and is_live(secret.session) != (shape.path == LIVE_SESSIONS):
        what = f"This client secret is for the other API: for GPT-Live its session.type is {KIND!r}."
        raise Refusal(400, HttpReason.BAD_SESSION, what, param="session.type")
    return secret.settings(wanted)


def is_live(session: Event) -> bool:
    """Whether a session object, where either kind may stand, is one of GPT-Live's."""
    return session.get("type") == KIND
