"""What passed loopback, and when the kernel saw it: the audio packets of calls, and the events of a backend.

The content of audio is encrypted, its size is not: at a variable bit rate a packet of silence is a few bytes,
a packet with sound in it three times that and more. A server's WebSocket messages are neither masked nor, to
who does not ask for it, compressed (RFC 6455 §5.1), so they can be read. Needs root and tcpdump.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.demux import PacketKind, classify_untrusted, is_rtcp
from tests.pcap import Datagram, read_frame, read_frames
from tests.processes import end

KERNEL_BUFFER_KIB = 65_536
CLOCK_SLACK_NS = 1_000_000
SOUND_BYTES = 50
"""More than the smallest packet of a stream: there is sound in it."""
SILENT_PACKETS = 4
"""In a row are silence, and not a quiet moment."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The audio that goes to one port: when each packet left (monotonic ns), and whether it has sound."""

    times_ns: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def first_sound(self, from_ns: int) -> int | None:
        """When the first packet with sound left from then on; None where none did."""
        floor = min(self.sizes, default=0) + SOUND_BYTES
        for index in range(bisect_left(self.times_ns, from_ns), len(self.times_ns)):
            if self.sizes[index] > floor:
                return self.times_ns[index]
        return None

    def silence(self, from_ns: int) -> tuple[int, int] | None:
        """(when the last packet with sound left, when the first silent one after it did) before the first
        silence from then on; the former is `from_ns` where it was silent already. None where none came.
        """
        floor = min(self.sizes, default=0) + SOUND_BYTES
        last_ns, silent = from_ns, 0
        for index in range(bisect_left(self.times_ns, from_ns), len(self.times_ns)):
            silent = 0 if self.sizes[index] > floor else silent + 1
            if not silent:
                last_ns = self.times_ns[index]
            elif silent == SILENT_PACKETS:
                return last_ns, self.times_ns[index - SILENT_PACKETS + 1]
        return None


def streams(datagrams: Iterable[Datagram], monotonic_ns: int) -> Mapping[int, Stream]:
    """By the port that they go to; `monotonic_ns` is what that clock shows at the Unix epoch."""
    found: dict[int, Stream] = defaultdict(Stream)
    for datagram in datagrams:
        payload = datagram.payload
        if classify_untrusted(payload) is PacketKind.MEDIA and not is_rtcp(payload):
            stream = found[datagram.destination.port]
            stream.times_ns.append(datagram.time_us * 1000 + monotonic_ns)
            stream.sizes.append(len(payload))
    return found


@dataclass(slots=True)
class Conversation:
    """What a server has sent on one connection, and from which byte on it was sent when."""

    starts: list[int] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)

    def append(self, data: bytes, at_ns: int) -> None:
        """A segment, in its order."""
        self.starts.append(len(self.text))
        self.times_ns.append(at_ns)
        self.text += data

    def find(self, pattern: bytes) -> list[tuple[int, bytes]]:
        """(when it was sent, what) of each match."""
        return [
            (self.times_ns[bisect_right(self.starts, match.start()) - 1], match[0])
            for match in re.finditer(pattern, self.text)
        ]


def conversations(frames: Iterable[tuple[int, bytes]]) -> Mapping[int, Conversation]:
    """By the client's port, of Ethernet frames with IPv4 and TCP and their times (ns), all of one server's.

    Loopback loses and reorders nothing, but what is sent again comes twice.
    """
    found: dict[int, Conversation] = defaultdict(Conversation)
    expected: dict[int, int] = {}
    for at_ns, frame in frames:
        packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
        segment = packet[(packet[0] & 15) * 4 :]
        port, sequence = struct.unpack_from("!2xHL", segment)
        data = segment[(segment[12] >> 4) * 4 :]
        if data and expected.get(port, sequence) == sequence:
            found[port].append(data, at_ns)
            expected[port] = sequence + len(data) & 0xFFFF_FFFF
    return found


def _epoch_ns() -> int:
    """What the monotonic clock would have shown at the Unix epoch."""
    return time.monotonic_ns() - time.time_ns()


class Capture:
    """What was kept while the block ran, for reading after it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.epoch_ns = _epoch_ns()

    def streams(self) -> Mapping[int, Stream]:
        """The audio, by the port that it goes to."""
        return streams(
            (read_frame(frame, time_us) for time_us, frame in read_frames(self._path) if _is_udp(frame)),
            self.epoch_ns,
        )

    def conversations(self) -> Mapping[int, Conversation]:
        """What the server said, by the port of its client."""
        return conversations(
            (time_us * 1000 + self.epoch_ns, frame)
            for time_us, frame in read_frames(self._path)
            if not _is_udp(frame)
        )


def _is_udp(frame: bytes) -> bool:
    return frame[12:14] == b"\x86\xdd" or frame[23] == socket.IPPROTO_UDP


@contextmanager
def capturing(path: Path, server_port: int) -> Iterator[Capture]:
    """All UDP of loopback, and what a server on 127.0.0.1 sends. Fails when a packet was not kept, or the
    clock was set meanwhile.
    """
    options = ["-i", "lo", "-w", str(path), "-B", str(KERNEL_BUFFER_KIB), "-Z", "root"]
    wanted = f"udp or (ip and tcp src port {server_port})"
    capture = Capture(path)
    process = subprocess.Popen(["tcpdump", *options, wanted], stderr=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stderr is not None
            if not any("listening on" in line for line in process.stderr):
                raise AssertionError("tcpdump did not start")
            yield capture
        finally:
            end(process)
        said = process.stderr.read()
    assert "\n0 packets dropped by kernel" in f"\n{said}", f"the capture is incomplete: {said}"
    assert abs(_epoch_ns() - capture.epoch_ns) < CLOCK_SLACK_NS, "the clock was set meanwhile"
