"""The lean audio path: SRTP, RTP, RTCP, jitter buffer and Opus, inline and bounded.

PCM everywhere in Voxpop is signed 16-bit little-endian, 24 kHz, mono, in frames of 20 ms.
"""

SAMPLE_RATE = 24_000
FRAME_MS = 20
FRAME_NS = FRAME_MS * 1_000_000
FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
FRAME_BYTES = FRAME_SAMPLES * 2
RTP_CLOCK = 48_000
"""Opus RTP timestamps count 48 kHz samples whatever the audio rate (RFC 7587 §4.1)."""
RTP_FRAME_TICKS = RTP_CLOCK * FRAME_MS // 1000
