"""What passes an interface of the lab: every datagram, its checksums, and the numbers of its audio."""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.demux import PacketKind, classify_untrusted, is_rtcp
from ebpf.net import netns
from tests.builders import check_sums
from tests.pcap import Datagram, read_frame, read_frames
from tests.processes import end

KERNEL_BUFFER_KIB = 65536
QUIET_S = 1.0
"""Of the calls' packets, one comes every 20 ms."""
SEQUENCE_NUMBERS = 1 << 16


class Capture:
    """All UDP of one interface, in both directions, on its way into a file."""

    def __init__(self, path: Path, namespace: str | None, interface: str = "eth0") -> None:
        self.path = path
        with netns.inside(namespace):
            self._process = subprocess.Popen(
                [
                    "tcpdump",
                    "-i",
                    interface,
                    "-w",
                    path,
                    "-B",
                    str(KERNEL_BUFFER_KIB),
                    "-U",
                    "--immediate-mode",
                    "-Z",
                    "root",
                    "udp",
                ],
                stderr=subprocess.PIPE,
                text=True,
            )
        assert self._process.stderr is not None
        if not any("listening on" in line for line in self._process.stderr):
            self._process.communicate()
            raise AssertionError("tcpdump did not start")

    def stop(self) -> None:
        """End it when nothing more comes. Fails when a packet was not kept."""
        with self._process as process:
            try:
                size = -1
                while size != (size := self.path.stat().st_size):
                    time.sleep(QUIET_S)
            finally:
                end(process)
            assert process.stderr is not None
            said = process.stderr.read()
        assert re.search(r"\b0 packets dropped by kernel", said), f"the capture is incomplete: {said}"


@contextmanager
def capturing(path: Path, namespace: str | None) -> Iterator[Capture]:
    """A capture that ends with the block; its file is whole after that."""
    capture = Capture(path, namespace)
    try:
        yield capture
    finally:
        capture.stop()


def read(capture: Capture) -> list[Datagram]:
    """Every datagram, in its order; every checksum of every frame was computed anew, and was right."""
    datagrams = []
    for time_us, frame in read_frames(capture.path):
        check_sums(frame)
        datagrams.append(read_frame(frame, time_us))
    return datagrams


def missing(sent: Iterable[Datagram], received: Iterable[Datagram]) -> int:
    """How many were sent and not received; a NAT does not touch the payload, by which they are known."""
    left = Counter(datagram.payload for datagram in sent)
    left.subtract(datagram.payload for datagram in received)
    return sum(count for count in left.values() if count > 0)


def audio(datagrams: Iterable[Datagram]) -> dict[int, list[int]]:
    """The sequence numbers of each stream, in the order of their packets, by SSRC (RFC 3550 §5.1)."""
    streams: dict[int, list[int]] = defaultdict(list)
    for _, _, _, payload in datagrams:
        if classify_untrusted(payload) is PacketKind.MEDIA and not is_rtcp(payload):
            streams[int.from_bytes(payload[8:12], "big")].append(int.from_bytes(payload[2:4], "big"))
    return streams


def gaps(sequence_numbers: Sequence[int]) -> int:
    """How many times another packet came than the next one."""
    pairs = itertools.pairwise(sequence_numbers)
    return sum((first + 1) % SEQUENCE_NUMBERS != second for first, second in pairs)
