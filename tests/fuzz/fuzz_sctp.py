"""Fuzz SCTP: `find_fault_untrusted`, the guard before aiortc's stack.

Invariant: any bytes are judged without an exception, and a packet that passes is read to its end by
aiortc's parser, which raises ValueError or struct.error at most. The checksum is made right, for a
hostile peer would do that too.
"""

from __future__ import annotations

import struct

from aiortc.rtcsctptransport import parse_packet
from google_crc32c import value as crc32c

from transceiver.transport.sctp_guard import carries_data_untrusted, find_fault_untrusted


def test_one_input(data: bytes) -> None:
    """Judge the input as one packet; read it when it passes."""
    carries_data_untrusted(data)
    if find_fault_untrusted(data) is not None:
        return
    checksum = struct.pack("<L", crc32c(data[:8] + bytes(4) + data[12:]))
    try:
        parse_packet(data[:8] + checksum + data[12:])
    except (ValueError, struct.error):
        return
