"""Datagrams by their first header, and whether that is one which a WebRTC client could send."""

from __future__ import annotations

from core.stun import MessageType, encode

_CHECK = encode(MessageType.BINDING_INDICATION, b"transaction!", [])
_RTP = b"\x6f" + bytes(10)
_RECORD = b"\xfe\xfd" + bytes(8)
"""Version, epoch and sequence number."""

FIRST_HEADERS: dict[str, tuple[bytes, bool]] = {
    "13 bytes": (b"\x16" + _RECORD + bytes(2), False),
    "STUN without its cookie": (_CHECK[:4] + bytes(4) + _CHECK[8:], False),
    "STUN cut": (_CHECK[:19], False),
    "DTLS": (b"\x16" + _RECORD + b"\x00\x01\xff", True),
    "DTLS 1.0": (b"\x16\xfe\xff" + _RECORD[2:] + b"\x00\x01\xff", True),
    "DTLS, an acknowledgement": (b"\x1a" + _RECORD + b"\x00\x02\x00\x00", True),
    "DTLS, two records": (b"\x14" + _RECORD + b"\x00\x01\x01\x16" + _RECORD + b"\x00\x01\xff", True),
    "DTLS cut": (b"\x16" + _RECORD + b"\x00\x02\xff", False),
    "TLS": (b"\x16\x03\x01" + _RECORD[2:] + b"\x00\x01\xff", False),
    "DTLS 1.3": (b"\x2e\xab\xcd\x00\x10" + bytes(16), True),
    "DTLS 1.3 cut": (b"\x2e\xab\xcd\x00\x10" + bytes(15), False),
    "DTLS 1.3, short sequence": (b"\x24\xab\x00\x10" + bytes(16), True),
    "DTLS 1.3, short sequence, cut": (b"\x24\xab\x00\x10" + bytes(15), False),
    "DTLS 1.3 without length": (b"\x2b\xab\xcd" + bytes(16), True),
    "DTLS 1.3 without length, cut": (b"\x2b\xab\xcd" + bytes(15), False),
    "DTLS 1.3, shortest header": (b"\x23\xab" + bytes(16), True),
    "DTLS 1.3, shortest header, cut": (b"\x23\xab" + bytes(15), False),
    "DTLS 1.3 with a connection id": (b"\x3e\x01\xab\xcd\x00\x10" + bytes(16), False),
    "RTP": (b"\x80" + _RTP + bytes(4), True),
    "RTP without a tag": (b"\x80" + _RTP + bytes(3), False),
    "RTP with sources": (b"\x8f" + _RTP + bytes(60 + 4), True),
    "RTP, sources cut": (b"\x8f" + _RTP + bytes(60 + 3), False),
    "RTP with an extension": (b"\x90" + _RTP + b"\xbe\xde\x00\x01" + bytes(4 + 4), True),
    "RTP, extension cut": (b"\x90" + _RTP + b"\xbe\xde\x00\x01" + bytes(4 + 3), False),
    "RTP with sources and an extension": (
        b"\x92" + _RTP + bytes(8) + b"\xbe\xde\x00\x01" + bytes(4 + 4),
        True,
    ),
    "RTP, extension's header cut": (b"\x91" + _RTP + bytes(4) + b"\xbe\xde", False),
    "RTP of RTCP's payload types": (b"\x80\x40" + bytes(40), False),
    "RTCP": (b"\x81\xc9\x00\x07" + bytes(28 + 8), True),
    "RTCP cut": (b"\x81\xc9\x00\x07" + bytes(28 + 7), False),
}
