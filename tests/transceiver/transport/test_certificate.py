"""Handshakes with OpenSSL's own programs, in either role and with the certificates that devices have."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.transceiver.net import until
from tests.transceiver.transport.test_peer import Told
from transceiver.transport.certificate import Certificate
from transceiver.transport.peer import Peer

KEYS = {
    "RSA 1024, as of libpeer": ("rsa:1024", []),
    "RSA 2048": ("rsa:2048", []),
    "P-256": ("ec", ["-pkeyopt", "ec_paramgen_curve:P-256"]),
    "P-384": ("ec", ["-pkeyopt", "ec_paramgen_curve:P-384"]),
}
SRTP = "SRTP_AES128_CM_SHA1_80"


async def make_certificate(folder: Path, key: str, options: list[str]) -> tuple[str, str]:
    """`pem` in the folder, key and certificate; and its fingerprint."""
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-nodes", "-subj", "/CN=device", "-sha256", "-newkey", key, *options),
        *("-keyout", str(folder / "key"), "-out", str(folder / "certificate")),
        stderr=DEVNULL,
    )
    assert await made.wait() == 0
    der = ssl.PEM_cert_to_DER_cert((folder / "certificate").read_text())
    return "sha-256", hashlib.sha256(der).digest().hex(":").upper()


@asynccontextmanager
async def device(role: str, folder: Path, port: int, *options: str) -> AsyncIterator[Process]:
    """`openssl s_server` or `s_client` over UDP, with its certificate, which asks for ours."""
    at = ["s_server", "-accept", f"127.0.0.1:{port}", "-4"] if role == "server" else ["s_client", "-4"]
    if role == "client":
        at += ["-connect", f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(
        *("openssl", *at, "-dtls1_2", "-use_srtp", SRTP, "-cipher", "ALL:@SECLEVEL=0", "-verify", "1"),
        *("-cert", str(folder / "certificate"), "-key", str(folder / "key"), *options),
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


class Wire(Told):
    """`PeerEvents` over a socket of their own."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", port))
        self.to: tuple[str, int] | None = None
        self.peer: Peer | None = None
        self.longest = 0
        """Of the datagrams that came."""
        asyncio.get_running_loop().add_reader(self.socket, self._read)

    def send_dtls(self, datagram: bytes) -> None:
        super().send_dtls(datagram)
        if self.to is not None:
            self.socket.sendto(datagram, self.to)

    def _read(self) -> None:
        try:
            datagram, self.to = self.socket.recvfrom(65_536)
        except ConnectionRefusedError:
            return  # the device is not there yet
        self.longest = max(self.longest, len(datagram))
        if self.peer is not None:
            self.peer.receive_untrusted(datagram)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()


def handshake(role: str, key: str, options: list[str], folder: Path, *of_device: str) -> int:
    """Ours in that role with a device that has such a key: both sides have keys of SRTP in the end. How long
    the device's longest datagram was.
    """

    async def scenario() -> int:
        fingerprint = await make_certificate(folder, key, options)
        port = free_port("127.0.0.1", socket.SOCK_DGRAM)
        wire = Wire(0 if role == "client" else port)
        ours = Certificate.generate()
        try:
            wire.peer = Peer(ours, "client" if role == "client" else "server", [fingerprint], wire, None)
            wire.to = ("127.0.0.1", port) if role == "client" else None
            async with device("server" if role == "client" else "client", folder, port, *of_device):
                wire.peer.start()
                await until(lambda: wire.keys or wire.closed)
            assert [k.profile for k in wire.keys] == [SRTP]
            assert wire.closed == []
            await wire.peer.close()
            return wire.longest
        finally:
            wire.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize(("key", "options"), KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("role", ["client", "server"])
def test_a_device_connects_in_either_role_whatever_its_key(
    role: str, key: str, options: list[str], tmp_path: Path
) -> None:
    handshake(role, key, options, tmp_path)


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_device_may_send_its_flights_in_small_pieces(role: str, tmp_path: Path) -> None:
    assert handshake(role, *KEYS["RSA 2048"], tmp_path, "-mtu", "256") <= 256
