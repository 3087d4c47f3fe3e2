"""A call of a process with itself, before the first real one.

TLS, SRTP and Opus load and compute a good deal when they are first used: 20 ms that would be the first
caller's. And if one of them does not work on this machine, that is known before anybody calls.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Literal

from core.errors import UnavailableError
from transceiver.media import FRAME_BYTES
from transceiver.media.codec import AudioCodec
from transceiver.media.keys import SrtpKeys
from transceiver.media.path import AudioPath
from transceiver.transport.certificate import Certificate
from transceiver.transport.channels import CHANNEL_LABEL
from transceiver.transport.peer import ChannelTerms, Peer
from transceiver.transport.sctp import DEFAULT_SCTP_PORT

TIMEOUT_S = 10.0
START_NS = 0
"""The time of the exchange, which happens within one moment: audio has no clock but the one it is given."""


async def warm_up() -> None:
    """A handshake in memory, and a packet each way. Raises UnavailableError when they do not come through."""
    certificate = Certificate.generate()
    client, server = End(certificate, "client"), End(certificate, "server")
    client.other, server.other = server, client
    try:
        async with asyncio.timeout(TIMEOUT_S):
            for end in (server, client):
                end.peer.start()
            paths = [_audio(await end.keys) for end in (client, server)]
    except TimeoutError:
        raise UnavailableError("a DTLS handshake of this process with itself failed") from None
    finally:
        await asyncio.gather(client.peer.close(), server.peer.close())
    _exchange(*paths)


class End:
    """One side of the handshake, as `PeerEvents`; what it sends, the other receives."""

    def __init__(self, certificate: Certificate, role: Literal["client", "server"]) -> None:
        self.other: End | None = None
        self.keys: asyncio.Future[SrtpKeys] = asyncio.get_running_loop().create_future()
        label = CHANNEL_LABEL if role == "client" else None
        terms = ChannelTerms(DEFAULT_SCTP_PORT, open_label=label)
        self.peer = Peer(certificate, role, [certificate.fingerprint], self, terms)

    def send_dtls(self, datagram: bytes) -> None:
        """Over to the other."""
        if self.other is not None:
            self.other.peer.receive_untrusted(datagram)

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """What this was for."""
        self.keys.set_result(keys)

    def channel_opened(self) -> None:
        """Not waited for."""

    def receive_message_untrusted(self, text: str) -> None:
        """Nobody sends one."""

    def record_received(self, now_ns: int) -> None:
        """Of no interest."""

    def refuse(self, reason: StrEnum) -> None:
        """Of no interest: a handshake that fails for it runs into `TIMEOUT_S`."""

    def peer_closed(self, reason: str) -> None:
        """Of no interest: a handshake that fails for it runs into `TIMEOUT_S`."""


def _audio(keys: SrtpKeys) -> AudioPath:
    return AudioPath(keys, AudioCodec(payload_type=111), 1, "warm-up", START_NS)


def _exchange(one: AudioPath, other: AudioPath) -> None:
    try:
        for sender, receiver in ((one, other), (other, one)):
            datagram = sender.push(b"\x01" * FRAME_BYTES, START_NS)
            if datagram is None or not receiver.receive_untrusted(datagram, START_NS):
                raise UnavailableError("SRTP of this process with itself failed; reinstall pylibsrtp")
            receiver.pull(START_NS)
    finally:
        one.close()
        other.close()
