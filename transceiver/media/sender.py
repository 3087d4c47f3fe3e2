"""From 20 ms of PCM, or nothing to say, to RTP packets of the length that the peer wants. Sans-IO.

Whatever that is, the clock goes on at 20 ms: a packet of 40 or 60 gathers ticks, and of 10 there are two
in a tick, the second of which is for half a tick later.
"""

from __future__ import annotations

from functools import cache

from transceiver.media import FRAME_BYTES, FRAME_MS, RTP_FRAME_TICKS
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
_HALF_BYTES = FRAME_BYTES // 2


@cache
def silent_packet(packet_ms: int = FRAME_MS) -> bytes:
    """Settled silence, the same for every session: what the encoder makes of it costs nothing.

    It is a real frame of a few bytes and not DTX, so no decoder conceals it or adds noise of its own.
    """
    encoder = Encoder(_SILENT_BITRATE, complexity=NORMAL_COMPLEXITY, fec=False, dtx=False)
    for _ in range(50):
        packet = encoder.encode(bytes(FRAME_BYTES * packet_ms // FRAME_MS))
    return packet


class Sender:
    """One outgoing stream of packets of `packet_ms`, which is one of `PACKET_MS`.

    Sequence and timestamp go up by one packet each time, silence or not.
    """

    def __init__(
        self,
        payload_type: int,
        ssrc: int,
        sequence: int,
        timestamp: int,
        encoder: Encoder,
        packet_ms: int = FRAME_MS,
    ) -> None:
        self._payload_type = payload_type
        self._ssrc = ssrc
        self._sequence = sequence
        self._encoder = encoder
        self._packet_ms = packet_ms
        self._silent_packet = silent_packet(packet_ms)
        self._silent_frames = TAIL_FRAMES
        self._gathered: list[bytes | None] = []
        """Frames of the packet that is being made; None is silence that needs no encoding."""
        self._gathered_marker = False
        self._second: tuple[bytes | None, int] | None = None
        """The other half of a tick, and its timestamp."""
        self.timestamp = timestamp
        """RTP timestamp of the next frame, 32 bits: how far the media have got, sent or gathered."""
        self.packets = 0
        self.octets = 0
        """Payload bytes, as sender reports count them."""
        self.encoded_frames = 0

    @property
    def waits_ms(self) -> int:
        """How long the next frame waits for the rest of its packet."""
        return max(0, self._packet_ms - FRAME_MS * (len(self._gathered) + 1))

    def next_packet(self, pcm: bytes | None) -> bytes | None:
        """The RTP packet of this tick; None while one is being gathered. `pcm` None is silence.

        Raises ValueError unless a frame is `FRAME_BYTES`.
        """
        if pcm is not None and len(pcm) != FRAME_BYTES:
            raise ValueError(f"a frame is {FRAME_BYTES} bytes of PCM, not {len(pcm)}")
        marker = pcm is not None and self._silent_frames >= TAIL_FRAMES
        frame = self._frame(pcm)
        timestamp = self.timestamp
        self.timestamp = timestamp + RTP_FRAME_TICKS & 0xFFFFFFFF
        if self._packet_ms == FRAME_MS:
            return self._build(frame, timestamp, marker)
        if self._packet_ms < FRAME_MS:
            return self._halve(frame, timestamp, marker)
        return self._gather(frame, marker)

    def second_packet(self) -> bytes | None:
        """With packets of 10 ms the second one of the tick, once; else None.

        One that is not asked for before the next tick is left out: it would only come late.
        """
        if self._second is None:
            return None
        frame, timestamp = self._second
        self._second = None
        return self._build(frame, timestamp, marker=False)

    def _frame(self, pcm: bytes | None) -> bytes | None:
        """What is to be encoded, None when the constant silence will do."""
        if pcm is not None:
            self._silent_frames = 0
            return pcm
        self._silent_frames += 1
        return None if self._silent_frames > TAIL_FRAMES else _SILENCE

    def _halve(self, frame: bytes | None, timestamp: int, marker: bool) -> bytes:
        first, second = (None, None) if frame is None else (frame[:_HALF_BYTES], frame[_HALF_BYTES:])
        self._second = second, timestamp + RTP_FRAME_TICKS // 2 & 0xFFFFFFFF
        return self._build(first, timestamp, marker)

    def _gather(self, frame: bytes | None, marker: bool) -> bytes | None:
        frames = self._gathered
        frames.append(frame)
        self._gathered_marker |= marker
        if len(frames) * FRAME_MS < self._packet_ms:
            return None
        pcm = b"".join(frame or _SILENCE for frame in frames) if any(frames) else None
        timestamp = self.timestamp - len(frames) * RTP_FRAME_TICKS & 0xFFFFFFFF
        packet = self._build(pcm, timestamp, self._gathered_marker)
        frames.clear()
        self._gathered_marker = False
        return packet

    def _build(self, pcm: bytes | None, timestamp: int, marker: bool) -> bytes:
        payload = self._silent_packet
        if pcm is not None:
            self.encoded_frames += 1
            payload = self._encoder.encode(pcm)
        packet = RtpPacket(self._payload_type, marker, self._sequence, timestamp, self._ssrc, payload)
        self._sequence = self._sequence + 1 & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        return build_rtp(packet)
