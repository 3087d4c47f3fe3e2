"""Each way that signaling fails, from real sockets that do it, comes to a sentence that says what it was."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from yarl import URL

from transceiver.caller import api, failures
from transceiver.caller.api import Placed, SignalingClient, calls_url
from transceiver.caller.errors import CallError, Stage
from transceiver.caller.failures import MAX_REDIRECTS, describe_unusable_untrusted, retry_after_untrusted

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Files = tuple[Path, Path]
"""A certificate and its key."""

KEY = "vpk_key-of-the-test"
TIMEOUT_S = 30


def failure(url: str, key: str | None = KEY) -> str:
    """What `place` says, which is one line without secrets."""

    async def run() -> None:
        async with aiohttp.ClientSession() as http:
            await SignalingClient(http, calls_url(url), key).place("v=0\r\n", {})

    with pytest.raises(CallError) as caught:
        asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))
    return checked(caught.value)


def checked(error: CallError) -> str:
    words = str(error)
    assert error.stage is Stage.SIGNALING
    assert words.isprintable()
    for leak in (KEY, "_ssl.c", "Errno", "message=", "Exception", "None"):
        assert leak not in words
    return words


# Responses


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def refusal(handler: Handler, path: str = "") -> str:
    async def run() -> None:
        async with serving(handler) as url, aiohttp.ClientSession() as http:
            await SignalingClient(http, calls_url(url + path), KEY).place("v=0\r\n", {})

    with pytest.raises(CallError) as caught:
        asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))
    return checked(caught.value)


def answering(status: int, text: str = "", content_type: str = "text/plain", **options: Any) -> Handler:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=text, content_type=content_type, **options)

    return handler


PAGE = "<html><head><title>Oh no</title></head><body><h1>nginx</h1></body></html>"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (answering(502, PAGE, "text/html"), "refused with 502: Bad Gateway (a proxy answers, and the server"),
        (answering(500, PAGE, "text/html"), "refused with 500: Internal Server Error"),
        (answering(500, ""), "refused with 500: Internal Server Error"),
        (answering(429, '{"error": {"message": "Slow down."}}'), "refused with 429: Slow down."),
        (answering(429, "", headers={"Retry-After": "30"}), "Too Many Requests (try again in 30 s)"),
        (answering(405, ""), "(/v1/realtime/calls is not a path that calls are made at)"),
        (answering(400, '{"type": "about:blank", "detail": "No such codec."}'), "400: No such codec."),
        (answering(400, '{"error": "bad offer"}'), "400: bad offer"),
        (answering(403, "no entry\n\x1b[31mfor you"), "403: no entry [31mfor you"),
        (answering(418, reason=""), "refused with 418: I'm a Teapot"),
        (answering(499, reason=""), "refused with 499: no reason given"),
        (answering(204), "refused with 204: No Content (a call that was made is a 201; is this"),
    ],
)
def test_a_refusal_is_told_in_words(response: Handler, words: str) -> None:
    assert words in refusal(response)


def http_date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


NOW = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("99999999999999999999", failures.MAX_RETRY.total_seconds()),
        (http_date(NOW + timedelta(seconds=90)), 90),
        (http_date(NOW - timedelta(days=9000)), 0),
        ("Friday, 01-Jan-27 00:00:00 GMT", 3600),  # the two older forms that RFC 9110 §5.6.7 has us read
        ("Fri Jan  1 00:00:00 2027", 3600),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Fri, 99 Foo 2027 00:00:00 GMT", None),
        ("Fri, " + "1" * 5000, None),
    ],
)
def test_when_to_try_again_is_read_as_seconds_or_as_a_date_of_the_servers_clock(
    value: str, seconds: float | None
) -> None:
    wait = retry_after_untrusted({"Retry-After": value, "Date": http_date(NOW)}, NOW + timedelta(days=3))
    assert wait == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(seconds=60), r"\(try again in (60|59|58|57) s\)"),
        (timedelta(minutes=10), r"\(try again in 10 min\)"),
        (timedelta(hours=5), r"\(try again in 5 h\)"),
        (timedelta(days=31), r"\(try again in 31 days\)"),
        (timedelta(days=-1), r"\(try again now\)"),
    ],
)
def test_a_date_is_told_as_a_time_from_now(ahead: timedelta, words: str) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        at = http_date(datetime.now(UTC) + ahead)
        return web.Response(status=503, text="", headers={"Retry-After": at})

    assert re.search(words, refusal(handler))


# Redirections


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirection_that_keeps_the_method_is_followed_with_the_offer_and_the_key(status: int) -> None:
    seen: list[tuple[str, str, str, str]] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.path, await request.text(), request.headers["Authorization"]))
        if request.path != "/there":
            return web.Response(status=status, headers={"Location": "/there"})
        return web.Response(status=201, text="answer", headers={"Location": "calls/1"})

    async def run() -> Placed:
        async with serving(handler) as url, aiohttp.ClientSession() as http:
            return await SignalingClient(http, calls_url(url), KEY).place("v=0\r\n", {})

    placed = asyncio.run(run())
    assert [s[1] for s in seen] == ["/v1/realtime/calls", "/there"]
    assert {(s[0], s[2], s[3]) for s in seen} == {("POST", "v=0\r\n", f"Bearer {KEY}")}
    assert placed.location is not None
    assert placed.location.path == "/calls/1"


def test_another_server_does_not_get_the_key_and_the_refusal_says_so() -> None:
    seen: list[str | None] = []

    async def other(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=401)

    async def run() -> None:
        async with serving(other) as elsewhere:

            async def handler(request: web.BaseRequest) -> web.Response:
                return web.Response(status=307, headers={"Location": elsewhere})

            async with serving(handler) as url, aiohttp.ClientSession() as http:
                await SignalingClient(http, calls_url(url), KEY).place("v=0\r\n", {})

    with pytest.raises(CallError, match=r"the key went to 127\.0\.0\.1 alone"):
        asyncio.run(run())
    assert seen == [None]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirection_that_would_become_a_get_is_told_and_not_followed(status: int) -> None:
    asked: list[str] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.method)
        return web.Response(status=status, headers={"Location": "https://voice.example.net/calls?token=x"})

    words = refusal(handler)
    assert f"redirected with {status} to https://voice.example.net/calls, which would make a GET" in words
    assert asked == ["POST"]


def test_a_circle_of_redirections_is_named() -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=307, headers={"Location": "/b" if request.path == "/a" else "/a"})

    words = refusal(handler, "/a")
    assert "redirected in a circle: " in words
    assert words.count("/a") >= 2
    assert words.count("/b") == 1


def test_redirections_end_somewhere() -> None:
    asked: list[str] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=308, headers={"Location": f"{request.path}x"})

    assert f"redirected more than {MAX_REDIRECTS} times" in refusal(handler, "/a")
    assert len(asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("location", [None, "ftp://example.net/", "http://[::1", "mailto:x@example.net"])
def test_a_redirection_to_nowhere_is_told(location: str | None) -> None:
    headers = {} if location is None else {"Location": location}
    words = refusal(answering(307, headers=headers))
    assert "redirected with 307, but not to an address that can be called" in words


def test_no_redirection_leads_out_of_tls() -> None:
    visited = [URL("https://voice.example.net/calls")]
    words = failures.describe_redirect(307, visited, URL("http://voice.example.net/calls"))
    assert words is not None
    assert "where others could listen in" in words


# Connections


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., Files]:
    """Makes self-signed certificates: (certificate, key) files."""

    def make(address: str, until: timedelta = timedelta(days=3)) -> Files:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(now + until)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        )
        signed = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files = tmp_path / "certificate.pem", tmp_path / "key.pem"
        for file, content in zip(files, (signed, secret), strict=True):
            file.write_bytes(content)
        return files

    return make


def tls(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


def failure_at(
    reply: Reply, scheme: str = "http", context: ssl.SSLContext | None = None, trust: Path | None = None
) -> str:
    """Of a server that does `reply(reader, writer)` with each connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reply(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = None if trust is None else aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=trust))
        async with server, aiohttp.ClientSession(connector=client) as http:
            await SignalingClient(http, calls_url(url), KEY).place("v=0\r\n", {})

    with pytest.raises(CallError) as caught:
        asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))
    return checked(caught.value)


def saying(data: bytes) -> Reply:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(data)
        await writer.drain()

    return reply


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def test_a_self_signed_certificate_is_called_that_with_what_to_do(certificate: Callable[..., Files]) -> None:
    words = failure_at(saying(b""), "https", tls(certificate("127.0.0.1")))
    assert "the server's certificate is self-signed, and this machine does not know it" in words
    assert "SSL_CERT_FILE" in words


def test_a_certificate_for_another_name_or_time_is_called_that(certificate: Callable[..., Files]) -> None:
    other = certificate("192.0.2.1")
    words = failure_at(saying(b""), "https", tls(other), trust=other[0])
    assert "certificate is for another address than 127.0.0.1" in words
    old = certificate("127.0.0.1", timedelta(days=-1))
    assert "has expired" in failure_at(saying(b""), "https", tls(old), trust=old[0])


@pytest.mark.parametrize(
    ("reply", "scheme", "words"),
    [
        (
            saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "https",
            "does not speak TLS; perhaps its URL begins with http:",
        ),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), "http", "does not speak HTTP as it should"),
        (saying(b""), "http", "closed the connection without an answer; if it wants TLS"),
        (saying(b""), "https", "the server broke the connection off"),
        (reset, "http", "the server broke the connection off"),
        (reset, "https", "the server broke the connection off"),
        (saying(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\nv=0"), "http", "the response broke off"),
        (
            saying(b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nv=0"),
            "http",
            "or cannot be decoded",
        ),
        (
            saying(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "http",
            "does not speak HTTP as it should",
        ),
        (saying(b"HTTP/1.1 201 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"), "http", "does not speak HTTP"),
    ],
)
def test_what_a_connection_came_to_is_told(reply: Reply, scheme: str, words: str) -> None:
    assert words in failure_at(reply, scheme)


def test_http_to_a_port_of_tls_is_told(certificate: Callable[..., Files]) -> None:
    words = failure_at(saying(b""), "http", tls(certificate("127.0.0.1")))
    assert "if it wants TLS, its URL begins with https://" in words


def test_a_port_that_nobody_listens_at_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        words = failure(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert words.endswith("nobody listens there (connection refused)")


def test_names_that_have_no_address_or_cannot_be_names_are_told() -> None:
    told = failure("http://voice.example.invalid")
    assert "there is no address for the name" in told or "no name server answers" in told
    assert "a name in it that cannot be one" in failure(f"http://{'a' * 70}.example")


def test_where_there_is_no_way_to_is_told() -> None:
    assert "there is no way there from this machine" in failure("http://255.255.255.255:9")


def test_secrets_in_a_url_stay_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        words = failure(f"http://me:{KEY}@127.0.0.1:{unused.getsockname()[1]}/calls?key={KEY}", None)
    assert "/calls: nobody listens there" in words


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\nv=0"])
def test_a_server_that_keeps_us_waiting_is_told(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        await reader.read()

    monkeypatch.setattr(api, "TIMEOUT_S", 0.3)
    assert "no answer within 0.3 s" in failure_at(reply)


# Answers


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        ("", "application/sdp", "its answer is empty"),
        (" \r\n", "text/plain", "its answer is empty"),
        (PAGE, "text/html", "its answer is text/html and not SDP"),
        ('{"sdp": "v=0"}', "application/json", "its answer is application/json and not SDP"),
        ("v=0\r\n", "text/plain", "the answer cannot be used: WHY"),
        ("hello", "application/sdp", "the answer cannot be used: WHY"),
    ],
)
def test_an_answer_that_is_none_is_told(body: str, content_type: str, words: str) -> None:
    assert words in describe_unusable_untrusted(body, content_type, "WHY")
