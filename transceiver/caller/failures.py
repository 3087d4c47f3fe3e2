"""Why the HTTP side of a call failed, in words for the one who called: what happened, and what may help.

Nothing that a server sends is repeated but printable text of bounded length, and no URL with its user,
password or query, which may be secrets.
"""

from __future__ import annotations

import errno
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
from yarl import URL

MAX_MESSAGE_CHARS = 300
MAX_RETRY = timedelta(days=3650)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
SAME_METHOD_REDIRECTS = frozenset({307, 308})
"""After these a POST stays a POST; RFC 9725 §4.5 forbids 301 and 302 for that reason."""
MAX_REDIRECTS = 5

NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")
"""OpenSSL's reasons for what is no TLS record, in the words of its versions."""

_CERTIFICATE = {
    9: "is not valid yet (or the clock of this machine is wrong)",
    10: "has expired (or the clock of this machine is wrong)",
    18: "is self-signed, and this machine does not know it",
    19: "is signed by an authority that this machine does not know",
    20: "is signed by an authority that this machine does not know",
    21: "is signed by an authority that this machine does not know",
    62: "is for another name",
    64: "is for another address",
}
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
_ERRNO = {
    errno.ECONNREFUSED: "nobody listens there (connection refused)",
    errno.ECONNRESET: "the server broke the connection off",
    errno.EPIPE: "the server broke the connection off",
    errno.ETIMEDOUT: "nobody answers there",
    errno.ENETUNREACH: "there is no way there from this machine (network unreachable)",
    errno.EHOSTUNREACH: "there is no way there from this machine (no route to host)",
    errno.EADDRNOTAVAIL: "there is no way there from this machine (no address of that kind)",
}


def shown(url: URL) -> str:
    """A URL for people and logs."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def printable_untrusted(text: str) -> str:
    """One line without control characters, at most `MAX_MESSAGE_CHARS` long."""
    words = " ".join(text[: 4 * MAX_MESSAGE_CHARS].split())
    return "".join(c for c in words if c.isprintable())[:MAX_MESSAGE_CHARS]


def describe_error(error: aiohttp.ClientError | OSError | ValueError, url: URL) -> str:
    """Why there was no response. `url` is the one that was asked."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate_words(error.certificate_error, url)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connect_words(error.os_error, url)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        hint = "; if it wants TLS, its URL begins with https://" if url.scheme == "http" else ""
        return f"the server closed the connection without an answer{hint}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the response broke off, or cannot be decoded"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what answers there does not speak HTTP as it should: {printable_untrusted(error.message)}"
    if isinstance(error, UnicodeDecodeError):
        return "the response is not text in utf-8"
    if isinstance(error, UnicodeError):
        return "the URL has a name in it that cannot be one"
    if isinstance(error, OSError):
        return _os_words(error)
    return printable_untrusted(str(error)) or type(error).__name__


def _certificate_words(error: Exception, url: URL) -> str:
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    words = _CERTIFICATE.get(code)
    if words is None:
        reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
        words = f"is not accepted: {printable_untrusted(reason)}"
    elif code in _UNKNOWN_AUTHORITY:
        words += "; if you do, put its file's name into SSL_CERT_FILE"
    else:
        words += f" than {url.host}" if code in (62, 64) else ""
    return f"the server's certificate {words}"


def _connect_words(error: OSError, url: URL) -> str:
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return f"the name {url.host} cannot be looked up: no name server answers"
        return f"there is no address for the name {url.host}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if reason in NOT_TLS:
            return "what listens there does not speak TLS; perhaps its URL begins with http://"
        return f"TLS could not be set up: {reason.replace('_', ' ').lower() or 'no reason given'}"
    return _os_words(error)


def _os_words(error: OSError) -> str:
    if isinstance(error, ConnectionResetError):
        return _ERRNO[errno.ECONNRESET]
    words = _ERRNO.get(error.errno) if error.errno is not None else None
    return words or printable_untrusted(error.strerror or str(error)) or "the connection failed"


def describe_redirect(status: int, visited: Sequence[URL], target: URL | None) -> str | None:
    """Why a redirection of a POST is not followed; None when it may be. `visited`: in order, so far."""
    if target is None or target.scheme not in ("http", "https") or not target.host:
        return f"redirected with {status}, but not to an address that can be called"
    if status not in SAME_METHOD_REDIRECTS:
        return (
            f"redirected with {status} to {shown(target)}, which would make a GET of the offer's POST; "
            "call that URL itself, or let the server say 307 or 308"
        )
    if target in visited:
        return f"redirected in a circle: {' → '.join(map(shown, [*visited, target]))}"
    if len(visited) > MAX_REDIRECTS:
        return f"redirected more than {MAX_REDIRECTS} times, last to {shown(target)}"
    if visited[-1].scheme == "https" and target.scheme == "http":
        return f"redirected from https:// to {shown(target)}, where others could listen in"
    return None


def describe_refusal_untrusted(
    status: int, reason: str | None, headers: Mapping[str, str], body: str, url: URL, now: datetime
) -> str:
    """What the server says is wrong, with the hint that it gives or that follows from the status. `now` is
    the time of day, for servers that do not say theirs.
    """
    message = _message_untrusted(headers.get("Content-Type", ""), body)
    words = message or printable_untrusted(reason or "") or _phrase(status)
    hints = [_status_hint(status, url, is_told=bool(message)), _retry_hint_untrusted(headers, now)]
    return " ".join([f"refused with {status}: {words}", *(f"({hint})" for hint in hints if hint)])


def describe_unusable_untrusted(body: str, content_type: str, detail: str) -> str:
    """Why the body of a 201 is no answer; `detail` is the parser's reason."""
    if not body.strip():
        return "the server made a call, but its answer is empty"
    if content_type != "application/sdp" and not body.lstrip().startswith("v="):
        return f"the server made a call, but its answer is {printable_untrusted(content_type)} and not SDP"
    return f"the answer cannot be used: {detail}"


def _message_untrusted(content_type: str, body: str) -> str:
    """The server's own sentence: the error object of the OpenAI API, problem details (RFC 9457), the like
    of other servers, or a plain text. Empty when there is none; a web page is none.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        plain = content_type.partition(";")[0].strip() == "text/plain" and body[:1] not in "[{<"
        return printable_untrusted(body) if plain else ""
    found = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(found, dict):
        found = next((found[key] for key in ("message", "detail", "title") if key in found), None)
    return printable_untrusted(found) if isinstance(found, str) else ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _status_hint(status: int, url: URL, *, is_told: bool) -> str:
    if status < 300:
        return "a call that was made is a 201; is this the path of calls?"
    if status == 401:
        return "set VOXPOP_API_KEY or give --api-key-file"
    if status in (404, 405) and not is_told:
        return f"{url.path} is not a path that calls are made at"
    if status in (502, 504) and not is_told:
        return "a proxy answers, and the server behind it does not"
    return ""


def _retry_hint_untrusted(headers: Mapping[str, str], now: datetime) -> str:
    wait = retry_after_untrusted(headers, now)
    if wait is None:
        return ""
    seconds = -(-wait // timedelta(seconds=1))
    if seconds <= 0:
        return "try again now"
    if seconds < 120:
        return f"try again in {seconds} s"
    if seconds < 2 * 3600:
        return f"try again in {round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"try again in {round(seconds / 3600)} h"
    return f"try again in {round(seconds / 86_400)} days"


def retry_after_untrusted(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long to wait (RFC 9110 §10.2.3), at most `MAX_RETRY`; not negative. None when nothing legible says.

    A date is compared with the server's own `Date` where there is one: our clock may be another.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:12])), MAX_RETRY)
    until = _date_untrusted(text)
    if until is None:
        return None
    theirs = _date_untrusted(headers.get("Date", "")) or now
    return min(max(until - theirs, timedelta()), MAX_RETRY)


def _date_untrusted(text: str) -> datetime | None:
    """An HTTP date; None when it is none."""
    if not text or len(text) > 64:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
