"""From 20 ms of PCM, or nothing to say, to RTP packets. Sans-IO."""

from __future__ import annotations

from functools import cache

from transceiver.media import FRAME_BYTES, RTP_FRAME_TICKS
from transceiver.media.load import NORMAL_COMPLEXITY
from transceiver.media.opus import Encoder
from transceiver.media.rtp import RtpPacket, build_rtp

BITRATE = 28_000
MIN_BITRATE = 6_000
"""libopus's own lower bound; a peer's maxaveragebitrate may ask for less (RFC 7587 §6.1)."""
_SILENT_BITRATE = 8_000
TAIL_FRAMES = 5
"""Encoded silence after speech: the far end's decoder fades out and its noise floor settles."""
_SILENCE = bytes(FRAME_BYTES)


@cache
def silent_packet() -> bytes:
    """20 ms of settled silence, the same for every session: what the encoder makes of it costs nothing.

    It is a real frame of six bytes and not DTX, so no decoder conceals it or adds noise of its own.
    """
    encoder = Encoder(_SILENT_BITRATE, complexity=NORMAL_COMPLEXITY, fec=False, dtx=False)
    for _ in range(50):
        packet = encoder.encode(_SILENCE)
    return packet


class Sender:
    """One outgoing stream. Sequence and timestamp go up by one frame per packet, silence or not."""

    def __init__(self, payload_type: int, ssrc: int, sequence: int, timestamp: int, encoder: Encoder) -> None:
        self._payload_type = payload_type
        self._ssrc = ssrc
        self._sequence = sequence
        self._encoder = encoder
        self._silent_packet = silent_packet()
        self._silent_frames = TAIL_FRAMES
        self.timestamp = timestamp
        """RTP timestamp of the next packet, 32 bits."""
        self.packets = 0
        self.octets = 0
        """Payload bytes, as sender reports count them."""
        self.encoded_frames = 0

    def next_packet(self, pcm: bytes | None) -> bytes:
        """The RTP packet of this tick; None is silence. Raises ValueError unless a frame is `FRAME_BYTES`."""
        marker = pcm is not None and self._silent_frames >= TAIL_FRAMES
        payload = self._payload(pcm)
        packet = RtpPacket(self._payload_type, marker, self._sequence, self.timestamp, self._ssrc, payload)
        self._sequence = self._sequence + 1 & 0xFFFF
        self.timestamp = self.timestamp + RTP_FRAME_TICKS & 0xFFFFFFFF
        self.packets += 1
        self.octets += len(payload)
        return build_rtp(packet)

    def _payload(self, pcm: bytes | None) -> bytes:
        if pcm is None:
            self._silent_frames += 1
            if self._silent_frames > TAIL_FRAMES:
                return self._silent_packet
            pcm = _SILENCE
        else:
            self._silent_frames = 0
        self.encoded_frames += 1
        return self._encoder.encode(pcm)
