"""A call of a process with itself, before the first real one.

TLS, SRTP and Opus load and compute a good deal when they are first used: 20 ms that would be the first
caller's. And if one of them does not work on this machine, that is known before anybody calls.
"""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from core.errors import UnavailableError
from transceiver.media import FRAME_BYTES
from transceiver.media.codec import AudioCodec
from transceiver.media.keys import SrtpKeys
from transceiver.media.path import AudioPath
from transceiver.transport.peer import CHANNEL_LABEL, DEFAULT_SCTP_PORT, Certificate, Peer

TIMEOUT_S = 10.0


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
    """One side of the handshake; what it sends, the other receives."""

    def __init__(self, certificate: Certificate, role: Literal["client", "server"]) -> None:
        self.other: End | None = None
        self.keys: asyncio.Future[SrtpKeys] = asyncio.get_running_loop().create_future()
        self.peer = Peer(
            certificate,
            role,
            [certificate.fingerprint],
            self._send,
            on_keys=self.keys.set_result,
            on_message=lambda text: None,
            on_closed=lambda reason: None,
            sctp_port=DEFAULT_SCTP_PORT,
            open_channel=CHANNEL_LABEL if role == "client" else None,
        )

    def _send(self, datagram: bytes) -> None:
        if self.other is not None:
            self.other.peer.receive_untrusted(datagram)


def _audio(keys: SrtpKeys) -> AudioPath:
    return AudioPath(keys, AudioCodec(payload_type=111), 1, "warm-up", time.monotonic_ns())


def _exchange(one: AudioPath, other: AudioPath) -> None:
    now_ns = time.monotonic_ns()
    try:
        for sender, receiver in ((one, other), (other, one)):
            if not receiver.receive_untrusted(sender.push(b"\x01" * FRAME_BYTES, now_ns), now_ns):
                raise UnavailableError("SRTP of this process with itself failed; reinstall pylibsrtp")
            receiver.pull(now_ns)
    finally:
        one.close()
        other.close()
