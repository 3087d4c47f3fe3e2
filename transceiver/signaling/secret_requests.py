"""`POST /v1/realtime/client_secrets`: what is asked for, and what comes back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from core.errors import ConfigError
from transceiver.live.settings import KIND, read_live_settings_untrusted
from transceiver.realtime.event import Event
from transceiver.realtime.permissions import MEMBER, take_permissions
from transceiver.realtime.settings import DEFAULTS
from transceiver.signaling.bodies import BODY_TIMEOUT_S, JSON_TYPE, json_object_untrusted, read_untrusted
from transceiver.signaling.client_secrets import (
    LIFETIME_S,
    MAX_LIFETIME_S,
    MIN_LIFETIME_S,
    ClientSecret,
    SecretKeys,
    mint_client_secret,
)
from transceiver.signaling.refusals import HttpReason, Refusal, bad_session
from transceiver.signaling.shapes import MODEL, is_live

Judge = Callable[[Event], None]
"""Raises ConfigError for settings that the backend of this host does not take."""

CLIENT_SECRETS: Final = "/v1/realtime/client_secrets"
ANCHOR: Final = "created_at"
"""The only moment that the API counts a lifetime from."""


async def read_body_untrusted(request: web.Request) -> Mapping[str, object]:
    """The object in the body, all of which may be left out, and the body too. Raises Refusal."""
    body = await read_untrusted(request, BODY_TIMEOUT_S)
    if not body:
        return {}
    if request.content_type != JSON_TYPE:
        raise Refusal(
            415,
            HttpReason.BAD_CONTENT_TYPE,
            f"The Content-Type must be {JSON_TYPE}.",
            {"Accept-Post": JSON_TYPE},
        )
    return json_object_untrusted(body, "The body")


def answer(
    body: Mapping[str, object], keys: SecretKeys, caller: str, now_s: int, judge: Judge
) -> dict[str, object]:
    """The API's response to what a body wants, with the session as it would be in force: the secret has only
    what was given, for another host may have other defaults. Raises Refusal.
    """
    given = body.get("session")
    session: Event = {}
    if given is not None:
        if not isinstance(given, dict):
            raise Refusal(400, HttpReason.BAD_SESSION, "session must be a JSON object.", param="session")
        session = given
    effective = _effective(session, judge)
    expires_s = now_s + _lifetime_s(body.get("expires_after"))
    value = mint_client_secret(keys, ClientSecret(caller, expires_s, session))
    return {"value": value, "expires_at": expires_s, "session": effective}


async def create(request: web.Request, keys: SecretKeys, caller: str, judge: Judge) -> web.Response:
    """The handler, for a caller that has shown an API key."""
    body = await read_body_untrusted(request)
    made = answer(body, keys, caller, int(time.time()), judge)
    return web.json_response(made, headers={"Cache-Control": "no-store"})


def _effective(session: Event, judge: Judge) -> Event:
    """The session of a call that says nothing itself. Raises Refusal, with the member that is to blame."""
    try:
        if is_live(session):
            settings = read_live_settings_untrusted({MODEL: "any", **session})
            if MODEL in session:  # else the call names it
                judge(settings.realtime())
            return {**session, **_named(KIND)}
        rest, _ = take_permissions(session)
        members = DEFAULTS.updated(rest).members
        judge(rest)
    except ConfigError as error:
        raise bad_session(error) from None
    permissions = {MEMBER: session[MEMBER]} if MEMBER in session else {}
    return {**members, **permissions, **_named("realtime")}


def _named(kind: str) -> dict[str, object]:
    return {"id": f"sess_{secrets.token_urlsafe(16)}", "object": f"{kind}.session"}


def _lifetime_s(wanted: object) -> int:
    if wanted is None:
        return LIFETIME_S
    if not isinstance(wanted, dict):
        raise _bad_expiry("expires_after", "must be a JSON object")
    if wanted.get("anchor", ANCHOR) != ANCHOR:
        raise _bad_expiry("expires_after.anchor", f"must be {ANCHOR!r}")
    seconds = wanted.get("seconds", LIFETIME_S)
    is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not is_number or not MIN_LIFETIME_S <= seconds <= MAX_LIFETIME_S:
        raise _bad_expiry("expires_after.seconds", f"must be a number, {MIN_LIFETIME_S}–{MAX_LIFETIME_S}")
    return int(seconds)


def _bad_expiry(param: str, what: str) -> Refusal:
    return Refusal(400, HttpReason.BAD_BODY, f"{param} {what}.", param=param)
