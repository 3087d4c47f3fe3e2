"""libopus through ctypes: a 24 kHz mono encoder, and a decoder that can conceal and use in-band FEC.

Why a binding of our own, and which libopus it loads: docs/decisions/0001-libopus-binding.md.
One encoder or decoder belongs to one session; its calls must not overlap.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

from core.errors import UnavailableError
from transceiver.media import FRAME_BYTES, SAMPLE_RATE
from transceiver.media.codec import PACKET_MS

MAX_FRAME_SAMPLES = SAMPLE_RATE * 120 // 1000
"""The longest Opus packet is 120 ms (RFC 6716 §3.1)."""
MAX_PACKET_BYTES = 1275
"""The longest Opus frame (RFC 6716 §3.4)."""
LOOKAHEAD_NS = 6_500_000
"""By which sound lies later in what the encoder makes than in what it was given: OPUS_GET_LOOKAHEAD."""
_PACKET_PCM_BYTES = tuple(SAMPLE_RATE * ms // 1000 * 2 for ms in PACKET_MS)

_APPLICATION_VOIP = 2048
_SIGNAL_VOICE = 3001
_SET_BITRATE = 4002
_SET_COMPLEXITY = 4010
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS_PERC = 4014
_SET_DTX = 4016
_SET_SIGNAL = 4024
_RESET_STATE = 4028


class OpusError(Exception):
    """libopus refused the call: for a decoder, the packet is not valid Opus."""


def _candidates() -> list[str]:
    """Where libopus may be, best first: PyAV's wheel bundles a recent build, the system may have one."""
    found: list[str] = []
    spec = importlib.util.find_spec("av")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent.parent / "av.libs"
        found += sorted(str(path) for path in bundled.glob("libopus-*.so*"))
    return [*found, "libopus.so.0"]


@cache
def _library() -> ctypes.CDLL:
    """The loaded libopus with its signatures set. Raises `UnavailableError`."""
    problems = []
    for name in _candidates():
        try:
            return _declare(ctypes.CDLL(name))
        except (OSError, AttributeError) as error:
            problems.append(f"{name}: {error}")
    raise UnavailableError(
        "libopus cannot be loaded; reinstall the `av` wheel, which bundles it, or install the system's "
        f"(Debian: libopus0). Tried {'; '.join(problems)}"
    )


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    """Give the functions that we use their C signatures. Raises AttributeError when one is missing."""
    integer, pointer, error = ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)
    signatures = {
        "opus_encoder_create": (pointer, [ctypes.c_int32, integer, integer, error]),
        "opus_encoder_destroy": (None, [pointer]),
        # ctl functions are variadic; declaring the fixed part makes ctypes pass the rest by their type.
        "opus_encoder_ctl": (integer, [pointer, integer]),
        "opus_encode": (integer, [pointer, ctypes.c_char_p, integer, pointer, ctypes.c_int32]),
        "opus_decoder_create": (pointer, [ctypes.c_int32, integer, error]),
        "opus_decoder_destroy": (None, [pointer]),
        "opus_decoder_ctl": (integer, [pointer, integer]),
        "opus_decode": (integer, [pointer, ctypes.c_char_p, ctypes.c_int32, pointer, integer, integer]),
        "opus_strerror": (ctypes.c_char_p, [integer]),
        "opus_get_version_string": (ctypes.c_char_p, []),
    }
    for name, (restype, argtypes) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = restype, argtypes
    return lib


def library_version() -> str:
    """Such as "libopus 1.6.1". Raises `UnavailableError`."""
    return str(_library().opus_get_version_string().decode())


def _check(result: int) -> int:
    if result < 0:
        raise OpusError(_library().opus_strerror(result).decode())
    return result


def _refuse(*_: object) -> int:
    """Stands in for libopus after close: a freed state would take the process down."""
    raise ValueError("this encoder or decoder is closed")


class Encoder:
    """Encodes packets of 10, 20, 40 or 60 ms, 24 kHz, mono. Raises `UnavailableError` without libopus.

    `bitrate` is in bit/s. `fec` makes packets carry a coarse copy of the frame before, once
    `set_expected_loss` has said that it is worth its bits. `dtx` lets silence shrink to one byte.
    """

    _state: int | None = None

    def __init__(self, bitrate: int, *, complexity: int, fec: bool, dtx: bool) -> None:
        lib = _library()
        error = ctypes.c_int()
        self._state = lib.opus_encoder_create(SAMPLE_RATE, 1, _APPLICATION_VOIP, ctypes.byref(error))
        _check(error.value)
        self._encode: Callable[..., int] = lib.opus_encode
        self._ctl: Callable[..., int] = lib.opus_encoder_ctl
        self._destroy = lib.opus_encoder_destroy
        self._buffer = ctypes.create_string_buffer(MAX_PACKET_BYTES)
        self._address = ctypes.addressof(self._buffer)
        self._set(_SET_SIGNAL, _SIGNAL_VOICE)
        self._set(_SET_BITRATE, bitrate)
        self._set(_SET_COMPLEXITY, complexity)
        self._set(_SET_INBAND_FEC, int(fec))
        self._set(_SET_DTX, int(dtx))

    def _set(self, request: int, value: int) -> None:
        _check(self._ctl(self._state, request, ctypes.c_int32(value)))

    def set_complexity(self, complexity: int) -> None:
        """0 (least work) to 10; takes effect with the next frame."""
        self._set(_SET_COMPLEXITY, complexity)

    def set_expected_loss(self, percent: int) -> None:
        """How much the receiver loses, 0–100; above 0, in-band FEC gets a share of the bitrate."""
        self._set(_SET_PACKET_LOSS_PERC, percent)

    def encode(self, pcm: bytes) -> bytes:
        """PCM of one of `PACKET_MS` as an Opus packet. Raises ValueError on another length."""
        if len(pcm) not in _PACKET_PCM_BYTES:
            raise ValueError(f"a frame is {FRAME_BYTES} bytes of PCM, or 10, 40 or 60 ms; not {len(pcm)}")
        size = self._encode(self._state, pcm, len(pcm) // 2, self._address, MAX_PACKET_BYTES)
        return ctypes.string_at(self._address, _check(size))

    def close(self) -> None:
        """Free the state; every other call raises ValueError from now on."""
        if self._state is not None:
            self._destroy(self._state)
            self._state = None
            self._encode = self._ctl = _refuse

    __del__ = close


class Decoder:
    """Decodes any Opus packet to 24 kHz mono, mixing stereo down. Raises `UnavailableError` without
    libopus.
    """

    _state: int | None = None

    def __init__(self) -> None:
        lib = _library()
        error = ctypes.c_int()
        self._state = lib.opus_decoder_create(SAMPLE_RATE, 1, ctypes.byref(error))
        _check(error.value)
        self._decode: Callable[..., int] = lib.opus_decode
        self._ctl: Callable[..., int] = lib.opus_decoder_ctl
        self._destroy = lib.opus_decoder_destroy
        self._buffer = ctypes.create_string_buffer(MAX_FRAME_SAMPLES * 2)
        self._address = ctypes.addressof(self._buffer)

    def _run(self, packet: bytes | None, length: int, samples: int, fec: int) -> bytes:
        count = self._decode(self._state, packet, length, self._address, samples, fec)
        return ctypes.string_at(self._address, _check(count) * 2)

    def decode(self, packet: bytes) -> bytes:
        """The PCM of one packet, 2.5–120 ms. Raises `OpusError` when the packet is not Opus."""
        if not packet:
            raise OpusError("empty packet")
        return self._run(packet, len(packet), MAX_FRAME_SAMPLES, 0)

    def decode_fec(self, next_packet: bytes, samples: int) -> bytes:
        """The `samples` (a multiple of 2.5 ms) just before `next_packet`, from its in-band FEC.

        What FEC does not cover is concealed. Call before `decode(next_packet)`. Raises `OpusError`.
        """
        return self._run(next_packet, len(next_packet), samples, 1)

    def conceal(self, samples: int) -> bytes:
        """`samples` (a multiple of 2.5 ms, at most 120 ms) that continue what was last decoded, fading."""
        return self._run(None, 0, samples, 0)

    def reset(self) -> None:
        """Forget the past: the next packet is from another stream."""
        _check(self._ctl(self._state, _RESET_STATE))

    def close(self) -> None:
        """Free the state; every other call raises ValueError from now on."""
        if self._state is not None:
            self._destroy(self._state)
            self._state = None
            self._decode = self._ctl = _refuse

    __del__ = close


def packet_ticks(packet: bytes) -> int:
    """How many 48 kHz ticks an Opus packet lasts, by its TOC byte (RFC 6716 §3.1); 0 when malformed."""
    if not packet:
        return 0
    toc = packet[0]
    code = toc & 3
    if code == 0:
        frames = 1
    elif code < 3:
        frames = 2
    elif len(packet) > 1:
        frames = packet[1] & 0x3F
    else:
        return 0
    ticks = frames * _FRAME_TICKS[toc >> 3]
    return ticks if ticks <= _MAX_PACKET_TICKS else 0


def _frame_ticks(config: int) -> int:
    """The frame length of one of the 32 configurations of RFC 6716 table 2."""
    if config < 12:
        return (480, 960, 1920, 2880)[config % 4]
    if config < 16:
        return (480, 960)[config % 2]
    return (120, 240, 480, 960)[config % 4]


_FRAME_TICKS = tuple(_frame_ticks(config) for config in range(32))
_MAX_PACKET_TICKS = 5760


def has_fec(packet: bytes) -> bool:
    """Whether a packet of one or two equal frames carries in-band FEC (LBRR flags, RFC 6716 §4.2.3–4).

    Packets with an explicit frame count (code 3) and of two unequal frames are not looked into: no
    sender of 20–60 ms voice makes them, and what is not found here is concealed instead.
    """
    if len(packet) < 2 or packet[0] & 3 > 1 or packet[0] >> 3 >= 16:
        return False
    silk_frames = max(1, _FRAME_TICKS[packet[0] >> 3] // 960)
    flags = packet[1]
    mid = flags >> (7 - silk_frames) & 1
    side = flags >> (6 - 2 * silk_frames) & 1 if packet[0] & 4 else 0
    return bool(mid | side)
