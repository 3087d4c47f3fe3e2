from __future__ import annotations

import struct

from core.addr import Endpoint
from tests.bench.wire import Stream, conversations, streams
from tests.pcap import Datagram

MS = 1_000_000
QUIET, LOUD = 34, 100
SERVER, CLIENT = 9010, 40_000


def stream(*sizes: int) -> Stream:
    return Stream([number * 20 * MS for number in range(len(sizes))], list(sizes))


def test_sound_is_known_by_the_size_of_its_packets() -> None:
    heard = stream(QUIET, QUIET, QUIET + 30, LOUD, LOUD, QUIET, *[QUIET] * 4)
    assert heard.first_sound(0) == 60 * MS
    assert heard.first_sound(61 * MS) == 80 * MS
    assert heard.first_sound(81 * MS) is None
    assert Stream().first_sound(0) is None


def test_silence_begins_after_the_last_packet_with_sound_and_not_in_a_pause() -> None:
    heard = stream(LOUD, LOUD, QUIET, LOUD, *[QUIET] * 6)
    assert heard.silence(5 * MS) == (60 * MS, 80 * MS)
    assert heard.silence(70 * MS) == (70 * MS, 80 * MS)
    assert stream(QUIET, LOUD, LOUD, QUIET).silence(0) is None


def test_only_audio_packets_count_each_by_where_it_goes() -> None:
    rtp, rtcp, stun = bytes([0x80, 111]) + bytes(40), bytes([0x80, 200]) + bytes(40), bytes(20)
    here, there = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 7)
    found = streams([Datagram(5, here, there, packet) for packet in (rtp, rtcp, stun)], 1000)
    assert found == {7: Stream([6000], [42])}


def frame(sequence: int, data: bytes) -> bytes:
    """Ethernet, padded at its end; IPv4; TCP with 12 bytes of options."""
    tcp = struct.pack("!HHLLBBHHH", SERVER, CLIENT, sequence, 0, 8 << 4, 0x18, 0, 0, 0) + bytes(12)
    ip = struct.pack("!BBHHHBBHLL", 0x45, 0, 20 + len(tcp) + len(data), 0, 0, 64, 6, 0, 0, 0)
    return bytes(12) + b"\x08\x00" + ip + tcp + data + bytes(3)


def test_what_a_server_sends_is_read_across_segments_and_once() -> None:
    first, second = b"..response.cre", b"ated..response.done"
    last = 2**32 - len(first)
    frames = [
        (10, frame(last, first)),
        (20, frame(last, first)),
        (25, frame(0, b"")),
        (30, frame(0, second)),
    ]
    (said,) = conversations(frames).values()
    assert said.find(rb"response\.\w+") == [(10, b"response.created"), (30, b"response.done")]
