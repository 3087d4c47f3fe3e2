"""The signaling API: `POST /v1/realtime/calls` or `/v1/live/sessions`, and what can be done with the call
that it made.

Handlers of aiohttp, thin: what they read goes to `sdp` and to the session manager, and each way to fail
is a `Refusal`. The same handlers serve the public port and the hand-over socket of sibling processes;
who the caller is has been settled before, by `app`. A request is an event of the loop, so this is where the
clock is read for what it leads to.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from aiohttp import web

from core.errors import ConfigError
from transceiver.observer import Observer
from transceiver.realtime.event import Event
from transceiver.sdp import (
    LocalDescription,
    build_answer,
    build_fragment,
    parse_fragment_untrusted,
    parse_offer_untrusted,
)
from transceiver.session.ids import Owner, owner_of
from transceiver.session.manager import AdmissionError, SessionManager
from transceiver.session.request import NO_EVENT_QUOTA, EventQuota
from transceiver.session.session import Session
from transceiver.signaling.bodies import BODY_TIMEOUT_S, decode_sdp_untrusted, read_untrusted
from transceiver.signaling.client_secrets import ClientSecret
from transceiver.signaling.hosts import VOUCHER_HEADER, OtherHosts
from transceiver.signaling.referrals import PARAMETER, REFERRALS, Referral, Referrer, refuse_other_offer
from transceiver.signaling.refusals import HttpReason, Refusal, bad_session, no_such_call
from transceiver.signaling.shapes import CALLS, MODEL, SHAPES, secret_settings, shape_of
from transceiver.signaling.siblings import (
    CALLER_HEADER,
    EVIDENCE_HEADER,
    LIMITED_HEADER,
    PASSED_ON,
    STEERING,
    Handed,
    NewCall,
    Siblings,
)
from transceiver.signaling.steering import Steering
from transceiver.signaling.websockets import Way, presented_key
from transceiver.steering.choice import Choice
from transceiver.steering.evidence import Evidence, decode_evidence
from transceiver.transport.credentials import Credentials

logger = logging.getLogger(__name__)

NO_POP_RETRY_S = 3
"""A little longer than the pause between two questions to a PoP."""
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
CALLER: web.RequestKey[str] = web.RequestKey("caller", str)
"""The name of the API key that a request came with."""
IS_HANDED_OVER: web.RequestKey[bool] = web.RequestKey("is_handed_over", bool)
"""Whether a sibling process sent it; such a request goes no further."""
IS_LIMITED: web.RequestKey[bool] = web.RequestKey("is_limited", bool)
"""Whether the caller has a client secret, and so may do what the call's permissions say."""
REFERRAL: web.RequestKey[Referral] = web.RequestKey("referral", Referral)
"""What another region vouches for, where the request came by it."""
KEY = ("Authorization",)
"""Goes on to another host, which checks it by itself, and to no sibling."""
SECRET: web.RequestKey[ClientSecret] = web.RequestKey("client_secret", ClientSecret)
"""What the client secret says that a request came with, in place of an API key."""
SECRET_ID: web.RequestKey[str] = web.RequestKey("secret_id", str)
"""What tells that secret from others; empty without one. Siblings are told this alone."""
_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')


class NoPopError(Refusal):
    """There is no PoP to lead a client through."""

    def __init__(self) -> None:
        retry = {"Retry-After": str(NO_POP_RETRY_S)}
        super().__init__(503, HttpReason.NO_POP, "No PoP takes calls at the moment; try again later.", retry)


@dataclass(frozen=True, slots=True)
class Others:
    """Who else may own a call."""

    siblings: Siblings
    hosts: OtherHosts


class Calls:
    """The calls of one process, as HTTP resources."""

    def __init__(
        self,
        manager: SessionManager,
        others: Others,
        observer: Observer,
        steering: Steering,
        referrer: Referrer,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._manager = manager
        self._siblings = others.siblings
        self._hosts = others.hosts
        self._observer = observer
        self._steering = steering
        self._referrer = referrer
        self._body_timeout_s = body_timeout_s
        self.events_of: Callable[[str], EventQuota] = lambda _: NO_EVENT_QUOTA
        """What a call of a caller may send."""

    async def create(self, request: web.Request) -> web.Response:
        """An offer in, a session and its answer out; placed with a sibling when this process is full."""
        shape = shape_of(request)
        sdp, settings = await shape.read_untrusted(request, self._body_timeout_s)
        secret = request.get(SECRET)
        if secret is not None:
            settings = secret_settings(secret, settings, shape)
        referral = request.get(REFERRAL)
        if referral is not None and "Authorization" not in request.headers and not referral.covers(sdp):
            raise refuse_other_offer()
        caller, evidence = request[CALLER], self._evidence(request)
        try:
            return self._answer(request, sdp, settings, evidence)
        except AdmissionError as error:
            placed, why = None, _no_room(error)
            if not request[IS_HANDED_OVER]:
                body = shape.hand_over(sdp, settings)
                placed = await self._siblings.place(
                    NewCall(shape.path, body, caller, evidence, request[SECRET_ID])
                )
            return self._refer(request, caller, sdp, why) if placed is None else placed
        except NoPopError as error:  # for any process of this host
            return self._refer(request, caller, sdp, error)

    async def endpoint(self, _: web.Request) -> web.Response:
        """GET where calls are made: there, and without a representation (RFC 9725 §4.1)."""
        return web.Response(status=204)

    async def show(self, request: web.Request) -> web.Response:
        """GET of a call: whether there is one. It has no representation either."""
        session = self.own_session(request, request.match_info["id"])
        return await self._pass_on(request, b"") if session is None else web.Response(status=204)

    async def hang_up(self, request: web.Request) -> web.Response:
        """End a call: DELETE as in WHIP (RFC 9725 §4.2), POST …/hangup as in the OpenAI API."""
        session = self.own_session(request, request.match_info["id"])
        if session is None:
            return await self._pass_on(request, b"")
        self._manager.close(session, "hangup")
        return web.Response(status=200)

    async def patch(self, request: web.Request) -> web.Response:
        """Trickle: accepted and not needed. ICE restart: new credentials (RFC 9725 §4.3)."""
        if request.content_type != FRAGMENT_TYPE:
            raise Refusal(
                415,
                HttpReason.BAD_CONTENT_TYPE,
                f"The Content-Type must be {FRAGMENT_TYPE}.",
                {"Accept-Patch": FRAGMENT_TYPE},
            )
        body = await read_untrusted(request, self._body_timeout_s)
        session = self.own_session(request, request.match_info["id"])
        if session is None:
            return await self._pass_on(request, body)
        fragment = parse_fragment_untrusted(decode_sdp_untrusted(body))
        condition = _condition(request)
        if condition is not None and not _holds(condition, _etag(session.answer)):
            raise Refusal(412, HttpReason.STALE_ETAG, "If-Match names another ICE session than the current.")
        current = {session.remote_ufrag, *session.offer.other_ufrags}
        if fragment.ufrag is None or fragment.password is None or fragment.ufrag in current:
            return web.Response(status=204)
        if condition is None:
            raise Refusal(428, HttpReason.NO_IF_MATCH, "An ICE restart needs If-Match: * (RFC 9725 §4.3.3).")
        choice = self._choose(self._evidence(request))
        remote = Credentials(fragment.ufrag, fragment.password)
        local = _named(self._manager.restart_ice(session, remote, _now_min()), choice)
        self._steering.note(choice, session.id)
        return web.Response(
            body=build_fragment(session.offer, local).encode(),
            content_type=FRAGMENT_TYPE,
            headers={"ETag": _etag(local), STEERING: choice.header},
        )

    def _answer(self, request: web.Request, sdp: str, settings: Event, evidence: Evidence) -> web.Response:
        started_ns = time.monotonic_ns()
        shape, caller = shape_of(request), request[CALLER]
        offer = parse_offer_untrusted(sdp)
        choice = self._choose(evidence)
        try:
            call = dataclasses.replace(
                shape.call(offer, settings, caller, int(time.time())),
                secret=request[SECRET_ID],
                events=self.events_of(caller),
            )
            session = self._manager.create(call, started_ns, _now_min())
        except ConfigError as error:
            raise bad_session(error) from None
        local = _named(session.answer, choice)
        self._steering.note(choice, session.id)
        self._observer.setup_stage("signaling", (time.monotonic_ns() - started_ns) / 1e9)
        where = f"{shape.path}/{session.id}"
        headers = {"Location": where, "ETag": _etag(local), STEERING: choice.header}
        return shape.answer(session.id, build_answer(offer, local), headers)

    def _refer(self, request: web.Request, caller: str, sdp: str, why: Refusal) -> web.Response:
        """Send the caller to a region that takes calls. One hop: who was sent here is not sent on. Raises
        the refusal where there is no such region, and for a client secret with settings: a referral has none,
        and a browser leaves the secret behind.
        """
        secret = request.get(SECRET)
        region = None if secret is not None and secret.session else self._referrer.region
        if region is None or request[IS_HANDED_OVER] or PARAMETER in request.query:
            raise why
        self._observer.count(REFERRALS, why.reason)
        logger.info("a call is referred to %s: %s", region, why.reason)
        query = self._referrer.query(caller, sdp, int(time.time()))
        if MODEL in request.query:
            query += "&" + urlencode({MODEL: request.query[MODEL]})
        headers = {"Location": f"{region}{shape_of(request).path}?{query}", "Cache-Control": "no-store"}
        return web.Response(status=307, headers=headers)

    def _choose(self, evidence: Evidence) -> Choice:
        """Raises NoPopError where a client would wait in vain, led to no PoP or to one that turns it away."""
        choice = self._steering.choose(evidence, time.monotonic_ns())
        if choice is None:
            raise NoPopError
        return choice

    def _evidence(self, request: web.Request) -> Evidence:
        """As the process found it that the client reached."""
        if request[IS_HANDED_OVER]:
            return decode_evidence(request.headers[EVIDENCE_HEADER])
        voucher = request.headers.get(VOUCHER_HEADER)
        if voucher is not None:
            vouched = self._hosts.read_voucher_untrusted(voucher, _handed(request, b""), int(time.time()))
            if vouched is not None:
                return vouched
        return self._steering.locate(request, time.monotonic_ns())

    def own_session(self, request: web.Request, session_id: str) -> Session | None:
        """The session if this process has it and the caller made it; None when it is another process'. A
        stranger's call, one of the other API's and one that never was look the same: 404.
        """
        if not session_id.startswith(shape_of(request).prefix):
            raise no_such_call()
        owner = owner_of(session_id)
        if owner is not None and self._goes_on(request, owner):
            return None
        session = self._manager.get(session_id)
        if session is None or session.owner != request[CALLER]:
            raise no_such_call()
        return session

    def _goes_on(self, request: web.Request, owner: Owner) -> bool:
        """One hop between hosts and one between processes, each by what the request has on it."""
        if request[IS_HANDED_OVER]:
            return False
        if self._hosts.is_own(owner):
            return owner.process != self._siblings.index
        return VOUCHER_HEADER not in request.headers

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        """To the owner, or to a process of its host."""
        session_id = request.match_info["id"]
        owner, handed = self._onward(request, session_id, body)
        if self._hosts.is_own(owner):
            return await self._siblings.pass_on(owner.process, handed)
        return await self._hosts.pass_on(session_id, owner, handed, time.monotonic_ns())

    def way_to(self, request: web.Request, session_id: str) -> Way:
        """Where a WebSocket about another process' session goes on to. Raises Refusal."""
        owner, handed = self._onward(request, session_id, b"")
        if not self._hosts.is_own(owner):
            key = presented_key(request)
            if key is not None:
                handed = handed.also(Authorization=f"Bearer {key}")
            return Way(None, f"http://{self._hosts.find(session_id, owner)}", handed, request.query)
        handed = handed.also(**{CALLER_HEADER: quote(handed.caller)})
        if request[IS_LIMITED]:
            handed = handed.also(**{LIMITED_HEADER: "1"})
        return Way(self._siblings.find(owner.process), "http://sibling", handed, request.query)

    def _onward(self, request: web.Request, session_id: str, body: bytes) -> tuple[Owner, Handed]:
        """To whom a request goes on, and as what."""
        owner = owner_of(session_id)
        assert owner is not None
        handed, evidence = _handed(request, body), self._evidence(request)
        if self._hosts.is_own(owner):
            return owner, handed.also(**{EVIDENCE_HEADER: evidence.encode()})
        voucher = self._hosts.voucher(handed, evidence, int(time.time()))
        return owner, handed.also(**{VOUCHER_HEADER: voucher, **_of(request, KEY)})


def register_calls(router: web.UrlDispatcher, calls: Calls) -> None:
    """The same routes on the public port and between siblings, with and without a slash at their end."""
    for end in ("", "/"):
        for shape in SHAPES:
            for path in shape.paths:
                router.add_post(path + end, calls.create)
            one = shape.path + "/{id}"
            router.add_get(one + end, calls.show)
            router.add_delete(one + end, calls.hang_up)
            router.add_patch(one + end, calls.patch)
            router.add_post(f"{one}/hangup{end}", calls.hang_up)
        router.add_get(CALLS + end, calls.endpoint)


def _handed(request: web.Request, body: bytes) -> Handed:
    """A request as it goes on, with what its owner wants to know of it. HEAD goes as GET: its answer is the
    same but for the body, which is left out here, and has the length that it would have.
    """
    method = "GET" if request.method == "HEAD" else request.method
    return Handed(method, request.path, request[CALLER], _of(request, PASSED_ON), body)


def _of(request: web.Request, names: Collection[str]) -> dict[str, str]:
    """Those of these headers that there are."""
    return {name: ", ".join(request.headers.getall(name)) for name in names if name in request.headers}


def _named(local: LocalDescription, choice: Choice) -> LocalDescription:
    return dataclasses.replace(local, candidates=choice.vips)


def _condition(request: web.Request) -> str | None:
    """If-Match, whose lines make up one list (RFC 9110 §5.3)."""
    lines = request.headers.getall("If-Match", [])
    return ", ".join(lines) if lines else None


def _holds(condition: str, etag: str) -> bool:
    """Whether an If-Match names the entity tag, by the strong comparison (RFC 9110 §8.8.3.2, §13.1.1): a weak
    one is no match, and whose proxy weakens ours can still ask for `*`.
    """
    return condition.strip() == "*" or ("", etag) in _ENTITY_TAG.findall(condition)


def _etag(local: LocalDescription) -> str:
    """A strong entity tag of the ICE session, which an ICE restart replaces."""
    return f'"{local.session_version}"'


def _no_room(error: AdmissionError) -> Refusal:
    retry = {"Retry-After": str(max(1, round(error.retry_after_s)))}
    return Refusal(503, HttpReason(error.reason), "No room for another call; try again later.", retry)


def _now_min() -> int:
    """Minutes since the epoch, by which tokens expire."""
    return int(time.time()) // 60
