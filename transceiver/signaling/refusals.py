"""Refused HTTP requests: every reason, and the JSON that clients of the OpenAI API expect."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from aiohttp import web

from core.errors import ConfigError, SdpError
from transceiver.sdp import SdpReason

MAX_PARAM_CHARS = 256
MAX_MESSAGE_CHARS = 1024
"""Of what a refusal repeats of a stranger's own words."""


class HttpReason(StrEnum):
    """Why a request is refused, where the description in it is not to blame; a metric label."""

    MALFORMED = "http_malformed"
    BAD_BODY = "http_bad_body"
    CUT_OFF = "http_cut_off"
    WASTEFUL = "http_wasteful"
    """Chunks of a few bytes."""
    BAD_SESSION = "http_bad_session"
    UNAUTHORIZED = "http_unauthorized"
    BAD_REFERRAL = "http_bad_referral"
    BAD_CLIENT_SECRET = "http_bad_client_secret"  # noqa: S105 - a reason
    FOREIGN_ORIGIN = "http_foreign_origin"
    NOT_FOUND = "http_not_found"
    METHOD_NOT_ALLOWED = "http_method_not_allowed"
    TIMEOUT = "http_timeout"
    NO_UPGRADE = "http_no_upgrade"
    TOO_MANY_SIDEBANDS = "http_too_many_sidebands"
    RATE_LIMIT = "rate_limit_exceeded"
    """A quota of the caller's key; the API's own word for it."""
    STALE_ETAG = "http_stale_etag"
    NO_IF_MATCH = "http_no_if_match"
    TOO_LARGE = "http_too_large"
    BAD_CONTENT_TYPE = "http_bad_content_type"
    NOT_SUPPORTED = "http_not_supported"
    """A part of an API that nobody here can do."""
    FULL = "full"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    TOO_MANY_CONNECTIONS = "http_too_many_connections"
    """Closed as they came, or refused to a client behind a proxy."""
    NO_POP = "no_pop"
    """Every PoP drains or is down."""
    OWNER_SILENT = "owner_silent"
    FAULT = "http_fault"
    """Status 500: a mistake of ours."""


class Refusal(Exception):  # noqa: N818 - an outcome of a request, not an error of ours
    """Ends a request: an HTTP status, a reason for the counter, a sentence for the caller."""

    def __init__(
        self,
        status: int,
        reason: StrEnum,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.headers = headers or {}
        self.param = param
        """The member of the body that is to blame, where it is one."""

    def response(self) -> web.Response:
        """The error object of the OpenAI API."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": self.message,
            "type": "requests" if self.reason is HttpReason.RATE_LIMIT else kind,
            "code": str(self.reason),
            "param": self.param,
        }
        return web.json_response({"error": error}, status=self.status, headers=self.headers)


def bad_session(error: ConfigError) -> Refusal:
    """For settings that cannot be followed; the first sentence begins with the member that is to blame."""
    what = "; ".join(error.problems)
    member = error.problems[0].split(maxsplit=1)[0][:MAX_PARAM_CHARS]
    param = member if member.startswith("session") else "session"
    return Refusal(400, HttpReason.BAD_SESSION, what[:MAX_MESSAGE_CHARS], param=param)


def no_such_call() -> Refusal:
    """For a call that is over, that never was, or that is another caller's: they look the same."""
    return Refusal(404, HttpReason.NOT_FOUND, "There is no such call.")


def owner_is_silent(what: str) -> Refusal:
    """For a call whose process or host is there and says nothing."""
    return Refusal(503, HttpReason.OWNER_SILENT, f"The call's {what} does not answer.", {"Retry-After": "1"})


OF_STATUS = {
    404: (
        HttpReason.NOT_FOUND,
        "There is nothing at this path. Calls are made by POST to /v1/realtime/calls or /v1/live/sessions.",
    ),
    405: (HttpReason.METHOD_NOT_ALLOWED, "This path does not take that method; the Allow header says which."),
    413: (HttpReason.TOO_LARGE, "The request is too large."),
}


def from_framework(error: web.HTTPException) -> Refusal:
    """What aiohttp itself refused, in our words."""
    reason, message = OF_STATUS.get(error.status, (HttpReason.MALFORMED, error.reason))
    headers = {"Allow": allow(error)} if isinstance(error, web.HTTPMethodNotAllowed) else {}
    return Refusal(error.status, reason, message, headers)


def allow(error: web.HTTPMethodNotAllowed) -> str:
    """The Allow header of a path (RFC 9110 §10.2.1), each of which takes OPTIONS as well."""
    return ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))


UNPROCESSABLE = frozenset(
    {
        SdpReason.NO_AUDIO,
        SdpReason.VIDEO_ONLY,
        SdpReason.NO_OPUS,
        SdpReason.BAD_PTIME,
        SdpReason.BAD_PROFILE,
        SdpReason.BAD_BUNDLE,
        SdpReason.NO_RTCP_MUX,
        SdpReason.NO_ICE,
        SdpReason.ICE_LITE,
        SdpReason.NO_FINGERPRINT,
        SdpReason.WEAK_FINGERPRINT,
    }
)
"""Well-formed descriptions of something that we cannot do."""


def from_sdp(error: SdpError) -> Refusal:
    """What is wrong with a description, as an HTTP error."""
    if error.reason in (SdpReason.TOO_LARGE, SdpReason.TOO_MANY_LINES):
        status = 413
    else:
        status = 422 if error.reason in UNPROCESSABLE else 400
    return Refusal(status, error.reason, error.detail)
