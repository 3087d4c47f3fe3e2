"""The HTTP applications of one process: the public one, and the one for its siblings.

Around the handlers stand three questions, in this order: from which web page does the request come, whose
key does it carry, and if it fails, how is that said and counted.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from core.config import UNLIMITED
from core.errors import SdpError
from transceiver.observer import Observer
from transceiver.realtime.event import Event
from transceiver.signaling.apikeys import OPEN_CALLER, ApiKeys
from transceiver.signaling.bodies import JSON_TYPE, MAX_REQUEST_BYTES
from transceiver.signaling.calls import (
    CALLER,
    FRAGMENT_TYPE,
    IS_HANDED_OVER,
    IS_LIMITED,
    REFERRAL,
    SECRET,
    SECRET_ID,
    Calls,
    register_calls,
)
from transceiver.signaling.client_secrets import (
    PREFIX as SECRET_PREFIX,
)
from transceiver.signaling.client_secrets import (
    ClientSecret,
    SecretKeys,
    read_client_secret_untrusted,
)
from transceiver.signaling.crowds import Crowds
from transceiver.signaling.live_unsupported import register_unsupported
from transceiver.signaling.page import Page
from transceiver.signaling.pops import PopDirectory
from transceiver.signaling.quotas import Holder, Quotas, Wants
from transceiver.signaling.referrals import (
    PARAMETER,
    Referral,
    ReferralKeys,
    read_referral_untrusted,
)
from transceiver.signaling.refusals import HttpReason, Refusal, allow, from_framework, from_sdp
from transceiver.signaling.secret_requests import CLIENT_SECRETS, Judge, create
from transceiver.signaling.shapes import OFFER_PATHS
from transceiver.signaling.siblings import CALLER_HEADER, LIMITED_HEADER, SECRET_HEADER, STEERING
from transceiver.signaling.sideband import Sidebands, register_sidebands
from transceiver.signaling.websockets import is_websocket, presented_key

API_PREFIX = "/v1/"
PREFLIGHT_MAX_AGE_S = 7200
METHODS = "POST, PATCH, DELETE, GET, HEAD, OPTIONS"
"""What a preflight allows at any path, so that a page can read why a method is refused."""
EXPOSED = (
    "Location, ETag, Retry-After, Retry-After-Ms, Link, Allow, Accept-Post, Accept-Patch, WWW-Authenticate, "
    + STEERING
)
"""`Link` names STUN and TURN servers (RFC 9725 §4.6): those of `transceiver.ice_servers`, or a proxy's."""
ALLOWED_HEADERS = "Authorization, *"
"""SDKs add headers of their own; what we do not know we ignore. `*` alone would leave out Authorization."""

LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
logger = logging.getLogger(__name__)


def _take_any(_: Event) -> None:
    """What a backend says that cannot tell before there is a call."""


@dataclass(slots=True)
class Access:
    """Who may call. Replaced field by field on reload."""

    api_keys: ApiKeys | None
    """None where the configuration says open."""
    cors_origins: Collection[str]
    referral_keys: ReferralKeys | None = None
    """None believes no referral."""
    secret_keys: SecretKeys | None = None
    """None makes and takes no client secret."""
    ice_servers: Collection[str] = ()
    """URIs of STUN and TURN servers that callers are told."""
    judge: Judge = _take_any
    """What the backend says of a client secret's settings."""
    quotas: Quotas | None = None
    """What each key may have; None is anything."""
    crowds: Crowds = field(default_factory=lambda: Crowds(UNLIMITED))
    client_of: Callable[[web.Request], str | None] = lambda _: None
    """The address of a client behind a proxy that is trusted to say it."""


def public_app(
    calls: Calls,
    access: Access,
    pops: PopDirectory,
    refusal: Callable[[], str | None],
    observer: Observer,
    page: Page | None,
) -> web.Application:
    """What strangers reach. `refusal` says why the process takes no calls; None when it does."""
    guard = Guard(access, observer)
    app = web.Application(
        middlewares=[guard.report, guard.crowd, guard.origin, guard.authenticate],
        client_max_size=MAX_REQUEST_BYTES,
    )

    async def list_pops(request: web.Request) -> web.Response:
        return web.json_response(pops.listing())

    async def healthz(request: web.Request) -> web.Response:
        return web.json_response({"state": "alive"})

    async def readyz(request: web.Request) -> web.Response:
        reason = refusal()
        return web.json_response({"state": reason or "ready"}, status=503 if reason else 200)

    async def create_secret(request: web.Request) -> web.Response:
        if access.secret_keys is None or SECRET in request:
            what = "A client secret is made with an API key, not with another secret."
            raise Refusal(403, HttpReason.BAD_CLIENT_SECRET, what)
        return await create(request, access.secret_keys, request[CALLER], access.judge)

    register_calls(app.router, calls)
    register_sidebands(app.router, Sidebands(calls, observer))
    register_unsupported(app.router, calls)
    for end in ("", "/"):
        app.router.add_post(CLIENT_SECRETS + end, create_secret)
        app.router.add_get("/v1/pops" + end, list_pops)
        app.router.add_get("/healthz" + end, healthz)
        app.router.add_get("/readyz" + end, readyz)
    if page is not None:
        page.register(app.router)
    return app


def sibling_app(calls: Calls, exposition: Callable[[], bytes], observer: Observer) -> web.Application:
    """What the other processes of this host, and its supervisor, reach over a Unix socket."""
    guard = Guard(Access(None, ()), observer)
    app = web.Application(middlewares=[guard.report, _trust_sibling], client_max_size=4 * MAX_REQUEST_BYTES)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=exposition(), content_type="text/plain", charset="utf-8")

    register_calls(app.router, calls)
    register_sidebands(app.router, Sidebands(calls, observer))
    app.router.add_get("/metrics", metrics)
    return app


@web.middleware
async def _trust_sibling(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[CALLER] = unquote(request.headers.get(CALLER_HEADER, ""))
    request[IS_HANDED_OVER] = True
    request[SECRET_ID] = request.headers.get(SECRET_HEADER, "")
    request[IS_LIMITED] = LIMITED_HEADER in request.headers
    return await handler(request)


class Guard:
    """The middlewares."""

    def __init__(self, access: Access, observer: Observer) -> None:
        self._access = access
        self._observer = observer

    @web.middleware
    async def report(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every failure becomes the API's error object, and a count."""
        try:
            response = await handler(request)
        except Refusal as error:
            refusal = error
        except SdpError as error:
            refusal = from_sdp(error)
        except web.HTTPException as error:
            refusal = from_framework(error)
        except Exception:
            logger.exception("a request failed")
            refusal = Refusal(500, HttpReason.FAULT, "This is a fault of the server's, whose log has it.")
        else:
            return self._finish(request, response)
        self._observer.request_refused(str(refusal.reason))
        return self._finish(request, refusal.response())

    @web.middleware
    async def crowd(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Of one client behind a proxy only so many at once; WebSockets count to their key."""
        client = None if is_websocket(request) else self._access.client_of(request)
        with self._access.crowds.counted(client):
            return await handler(request)

    @web.middleware
    async def origin(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pages of other origins get in by configuration only. The preflight of a browser is not enough:
        it asks none before it posts a form. With a referral another region has asked already, and the browser
        may say no more than `null` (Fetch, redirect-tainted origin).
        """
        referral = self._referral(request)
        if referral is not None:
            request[REFERRAL] = referral
        if request.path.startswith(API_PREFIX) and not self._is_welcome(request):
            raise Refusal(403, HttpReason.FOREIGN_ORIGIN, "Pages of this origin may not call (cors_origins).")
        if request.method == "OPTIONS":
            return web.Response(headers=_options_headers(request))
        return await handler(request)

    @web.middleware
    async def authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Name the caller by its API key, or by what was made with one, and see whether that may ask."""
        request[IS_HANDED_OVER] = False
        if not request.path.startswith(API_PREFIX):
            return await handler(request)
        request[CALLER] = self._caller(request)
        request[IS_LIMITED] = SECRET in request
        request[SECRET_ID] = request[SECRET].id if SECRET in request else ""
        if self._access.quotas is None or _is_hang_up(request):
            return await handler(request)
        who = Holder(request[CALLER], request[SECRET_ID])
        with self._access.quotas.admitted(who, _wants(request), time.monotonic_ns()):
            return await handler(request)

    def _caller(self, request: web.Request) -> str:
        key = presented_key(request)
        if self._access.api_keys is None:
            # Whatever else is there, clients of the API have to send something.
            with contextlib.suppress(Refusal):
                self._note_secret(request, key)
            return OPEN_CALLER
        referral: Referral | None = request.get(REFERRAL)
        if referral is not None and "Authorization" not in request.headers:
            return referral.caller
        secret = self._note_secret(request, key)
        if secret is not None:
            return secret.caller
        name = None if key is None else self._access.api_keys.name_of(key)
        if name is None:
            raise Refusal(
                401,
                HttpReason.UNAUTHORIZED,
                "Send a valid API key: Authorization: Bearer vpk_…",
                {"WWW-Authenticate": "Bearer"},
            )
        return name

    def _note_secret(self, request: web.Request, key: str | None) -> ClientSecret | None:
        """The client secret of a request, which handlers find there too. Raises Refusal for a bad one."""
        keys = self._access.secret_keys
        if keys is None or key is None or not key.startswith(SECRET_PREFIX):
            return None
        secret = request[SECRET] = read_client_secret_untrusted(key, keys, int(time.time()))
        return secret

    def _referral(self, request: web.Request) -> Referral | None:
        """That of a request for a new call, or of its preflight. Raises Refusal for one that is not good, but
        where there is a key too: a client that stays at its origin keeps it.
        """
        text = request.query.get(PARAMETER)
        keys = self._access.referral_keys
        is_offer = request.method in ("POST", "OPTIONS") and request.path.rstrip("/") in OFFER_PATHS
        if text is None or keys is None or not is_offer:
            return None
        try:
            return read_referral_untrusted(text, keys, int(time.time()))
        except Refusal:
            if "Authorization" in request.headers:
                return None
            raise

    def _is_welcome(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None or self._is_configured(origin) or REFERRAL in request:
            return True
        return origin.partition("://")[2] == request.host and self._is_ours(request.host)

    def _is_ours(self, host: str) -> bool:
        """Whether a page of this host is the one that we serve. Without keys a name does not prove it:
        whoever owns a name can let it lead to a loopback address (DNS rebinding).
        """
        return self._access.api_keys is not None or LOOPBACK.fullmatch(host) is not None

    def _is_configured(self, origin: str) -> bool:
        return "*" in self._access.cors_origins or origin in self._access.cors_origins

    def _finish(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        response.headers["Server"] = "voxpop"  # without the versions that aiohttp would tell
        if response.status == 201:
            for uri in self._access.ice_servers:
                response.headers.add("Link", f'<{uri}>; rel="ice-server"')
        if request.path.startswith(API_PREFIX):
            response.headers["Vary"] = "Origin"
            if origin is not None and (self._is_configured(origin) or REFERRAL in request):
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response


def _is_hang_up(request: web.Request) -> bool:
    """It gives back what others are refused for, and so is never refused itself."""
    return request.method == "DELETE" or request.path.rstrip("/").endswith("/hangup")


def _wants(request: web.Request) -> Wants:
    if request.method == "POST" and request.path.rstrip("/") in OFFER_PATHS:
        return Wants.CALL
    return Wants.SIDEBAND if is_websocket(request) else Wants.ANSWER


def _options_headers(request: web.Request) -> dict[str, str]:
    """What a path takes (RFC 9110 §9.3.7, RFC 9725 §4.2). Raises HTTPNotFound where nothing is, but not
    to a preflight: the page could not read it.
    """
    headers = {}
    error = request.match_info.http_exception
    is_api = request.path.startswith(API_PREFIX)
    is_preflight = is_api and "Access-Control-Request-Method" in request.headers
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = allow(error)
        shape = OFFER_PATHS.get(request.path.rstrip("/"))
        if shape is not None:
            headers["Accept-Post"] = shape.accept_post
        elif request.path.rstrip("/") == CLIENT_SECRETS:
            headers["Accept-Post"] = JSON_TYPE
        if "PATCH" in error.allowed_methods:
            headers["Accept-Patch"] = FRAGMENT_TYPE
    elif error is not None and not is_preflight:
        raise error
    if is_preflight:
        headers["Access-Control-Allow-Methods"] = METHODS
        headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_S)
    return headers


class MalformedRequests(logging.Filter):
    """Counts what is not HTTP, in place of the traceback that aiohttp logs for each."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._observer = observer

    def filter(self, record: logging.LogRecord) -> bool:
        """False, and a count, for the records in question; aiohttp's debugging is not let through either."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self._observer.request_refused(str(HttpReason.MALFORMED))
            return False
        return record.levelno > logging.DEBUG


def http_logger(observer: Observer) -> logging.Logger:
    """The logger for aiohttp's servers of this process."""
    found = logging.getLogger("transceiver.http")
    if not found.filters:
        found.addFilter(MalformedRequests(observer))
        found.setLevel(logging.DEBUG)  # bytes that are not even a method are logged at this level
    return found
