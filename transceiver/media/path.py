"""One session's audio in both directions, from protected datagrams to PCM and back. Sans-IO.

Everything happens inline in the call that brings the packet or the tick; nothing waits, nothing
grows. What cannot be used is counted in `PathStats` and dropped.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from core.demux import is_rtcp
from core.errors import MediaError
from transceiver.media import RTP_CLOCK
from transceiver.media.codec import AudioCodec
from transceiver.media.keys import SrtpKeys
from transceiver.media.load import NORMAL_COMPLEXITY
from transceiver.media.opus import LOOKAHEAD_NS, Encoder
from transceiver.media.playout import Playout
from transceiver.media.reception import Reception, ntp_from_ns, round_trip_ns
from transceiver.media.rtcp import (
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    build_cname,
    build_rtcp,
    parse_rtcp_untrusted,
)
from transceiver.media.rtp import RtpPacket, parse_rtp_untrusted
from transceiver.media.sender import BITRATE, MIN_BITRATE, Sender
from transceiver.media.source import Sources
from transceiver.media.srtp import Srtp

REPORT_INTERVAL_NS = 1_000_000_000
"""Mean time between reports; each is drawn from 0.5–1.5 of it (RFC 3550 §6.3.1). Two parties under the
AVPF profile need no 5 s minimum (RFC 4585 §3.4); a report a second is 1 % of the audio's bandwidth."""
_ROUND_TRIPS: Final = 5
"""Of which the least counts: what jitter has added to the others is the jitter buffer's."""
_LONGEST_ROUND_TRIP_NS: Final = 10_000_000_000
"""Of what a stranger reports, more than that is no path that somebody talks over."""


@dataclass(slots=True)
class PathStats:
    """Counters since the start, and gauges as they are. `remote_*` is what the far end reports of us."""

    packets_received: int = 0
    """Authentic RTP packets."""
    bytes_received: int = 0
    """Of authentic datagrams, RTCP included."""
    packets_sent: int = 0
    bytes_sent: int = 0
    """Of protected datagrams, RTCP included."""
    unauthentic: int = 0
    replayed: int = 0
    malformed: int = 0
    """Authentic, yet not RTP, RTCP or Opus."""
    ignored: int = 0
    """Authentic RTP of no use: other payload types, a second SSRC, duplicates, sequences out of the blue."""
    lost: int = 0
    """By sequence numbers; negative with duplicates."""
    late: int = 0
    """Arrived when their time had been played already."""
    discarded: int = 0
    """Thrown away because too much was waiting."""
    odd_timestamps: int = 0
    """Of the caller's packets, those whose timestamp is a part of a packet off; no harm is done."""
    foreign_timestamps: int = 0
    """Placed by sequence number, because the timestamps plainly do not count 48 kHz (RFC 7587 §4.1)."""
    concealed_frames: int = 0
    fec_frames: int = 0
    shortened_frames: int = 0
    lengthened_frames: int = 0
    encoded_frames: int = 0
    """Of the packets sent, those that were not the constant silence."""
    jitter_ms: float = 0.0
    """RFC 3550 interarrival jitter."""
    buffer_ms: float = 0.0
    """From a packet's arrival to its playout, smoothed."""
    target_ms: float = 0.0
    """What `buffer_ms` would have to be by the jitter of the last half second."""
    rtt_ms: float | None = None
    """From RTCP; None until the far end has answered a sender report."""
    remote_lost: int = 0
    remote_fraction_lost: float = 0.0
    remote_jitter_ms: float = 0.0
    complexity: int = NORMAL_COMPLEXITY


COUNTERS: Final = (
    "packets_received", "bytes_received", "packets_sent", "bytes_sent",
    "unauthentic", "replayed", "malformed", "ignored", "lost", "late", "discarded",
    "odd_timestamps", "foreign_timestamps",
    "concealed_frames", "fec_frames", "shortened_frames", "lengthened_frames", "encoded_frames",
    "remote_lost",
)  # fmt: skip
"""Members of `PathStats` that may be summed over sessions."""
GAUGES: Final = (
    "jitter_ms", "buffer_ms", "target_ms", "rtt_ms", "remote_fraction_lost", "remote_jitter_ms", "complexity",
)  # fmt: skip
"""Members of `PathStats` that may not."""


class AudioPath:
    """The audio of one session. Raises `UnavailableError` without libopus or for unknown SRTP profiles.

    `ssrc` is ours; the far end's is learnt from its first authentic packet. `complexity` is asked
    about once a second for the Opus complexity to encode at, such as `lambda: ticker.load.complexity`.
    """

    def __init__(
        self,
        keys: SrtpKeys,
        codec: AudioCodec,
        ssrc: int,
        cname: str,
        now_ns: int,
        *,
        complexity: Callable[[], int] = lambda: NORMAL_COMPLEXITY,
    ) -> None:
        # Protocol noise, not secrets: SRTP does not rest on these being hard to guess.
        self._random = random.Random(ssrc)  # noqa: S311
        self._srtp = Srtp(keys)
        self._codec = codec
        self._ssrc = ssrc
        self._cname = build_cname(ssrc, cname)
        self._complexity = complexity
        bitrate = max(MIN_BITRATE, min(BITRATE, codec.max_average_bitrate or BITRATE))
        self._encoder = Encoder(bitrate, complexity=complexity(), fec=codec.fec, dtx=codec.dtx)
        self._sender = Sender(
            codec.payload_type,
            ssrc,
            self._random.getrandbits(15),  # RFC 3711 §3.3.1: a wrap among the first packets would desync
            self._random.getrandbits(32),
            self._encoder,
            codec.packet_ms,
        )
        self._playout = Playout()
        self._sources = Sources()
        self._reception: Reception | None = None
        self._last_push_ns = now_ns
        self._report_at_ns = now_ns + self._report_delay_ns() // 2
        self._round_trips: deque[int] = deque(maxlen=_ROUND_TRIPS)
        self._counts = PathStats(complexity=complexity())
        self.remote_left = False
        """The far end has sent BYE for its audio."""

    # Receiving

    def receive_untrusted(self, datagram: bytes, now_ns: int) -> bool:
        """Take an SRTP or SRTCP datagram. True when it is authentic for this session. Never raises."""
        if is_rtcp(datagram):
            packet = self._srtp.unprotect_rtcp_untrusted(datagram)
            receive = self._receive_rtcp
        else:
            packet = self._srtp.unprotect_untrusted(datagram)
            receive = self._receive_rtp
        if packet is None:
            return False
        self._counts.bytes_received += len(datagram)
        try:
            receive(packet, now_ns)
        except MediaError:
            self._counts.malformed += 1
        return True

    def _receive_rtp(self, data: bytes, now_ns: int) -> None:
        packet = parse_rtp_untrusted(data)
        self._counts.packets_received += 1
        reception = self._reception
        if reception is not None and packet.ssrc == reception.ssrc:
            self._sources.go_on(packet, now_ns)
            self._hear(reception, packet, now_ns)
        elif packet.payload_type == self._codec.payload_type:
            self._choose(packet, now_ns)
        else:
            # Nobody becomes the caller by what is not the caller's audio, such as video.
            self._counts.ignored += 1

    def _choose(self, packet: RtpPacket, now_ns: int) -> None:
        """A packet of a stream that is not the caller's yet."""
        heard = self._sources.choose(packet, now_ns)
        if not heard:
            return
        if self._reception is not None:
            self._playout.restart()
        self._reception = Reception(packet.ssrc, heard[0].packet.sequence)
        for kept, at_ns in heard:
            self._hear(self._reception, kept, at_ns)

    def _hear(self, reception: Reception, packet: RtpPacket, at_ns: int) -> None:
        """A packet of the caller, that came at `at_ns`."""
        sequence = reception.update(packet.sequence, packet.timestamp, at_ns)
        if sequence is None or packet.payload_type != self._codec.payload_type:
            self._counts.ignored += 1
            return
        self._playout.insert(sequence, packet.timestamp, packet.payload, at_ns)

    def _receive_rtcp(self, data: bytes, now_ns: int) -> None:
        for packet in parse_rtcp_untrusted(data):
            self._receive_report(packet, now_ns)

    def _receive_report(self, packet: RtcpPacket, now_ns: int) -> None:
        source = self._reception
        if isinstance(packet, Bye):
            self.remote_left |= source is not None and source.ssrc in packet.ssrcs
            self._sources.release(packet.ssrcs)
            return
        if isinstance(packet, SenderReport) and source is not None and source.ssrc == packet.ssrc:
            source.note_sender_report(packet.ntp, now_ns)
        for block in packet.blocks:
            if block.ssrc == self._ssrc:
                self._note_report(block, now_ns)

    def _note_report(self, block: ReportBlock, now_ns: int) -> None:
        """What the far end hears of us: it decides how much in-band FEC is worth."""
        counts = self._counts
        round_trip = round_trip_ns(block, now_ns)
        if round_trip is not None:
            counts.rtt_ms = round_trip / 1e6
            if round_trip <= _LONGEST_ROUND_TRIP_NS:
                self._round_trips.append(round_trip)
        counts.remote_lost = block.lost
        counts.remote_jitter_ms = block.jitter * 1000 / RTP_CLOCK
        loss = block.fraction_lost / 256
        # Loss comes in bursts: believe a rise at once, a fall slowly.
        smoothed = max(loss, counts.remote_fraction_lost * 0.75 + loss * 0.25)
        counts.remote_fraction_lost = smoothed
        self._encoder.set_expected_loss(min(30, round(smoothed * 100)))

    def pull(self, now_ns: int) -> bytes | None:
        """The next `FRAME_BYTES` of what the caller says; None before the first. Call every 20 ms."""
        return self._playout.pull(now_ns)

    # Times

    @property
    def arrived_ns(self) -> int | None:
        """When the packet came that the end of the last pulled frame is from, without what jitter has held it
        back; None before the first.
        """
        return self._playout.arrived_ns

    @property
    def unplayed_ns(self) -> int:
        """How much of that packet is still to be pulled."""
        return self._playout.unplayed_ns

    @property
    def least_round_trip_ns(self) -> int | None:
        """The least of the last few that RTCP has told; None until the far end has answered a report."""
        return min(self._round_trips, default=None)

    @property
    def leaving_ns(self) -> int:
        """From the next push to where the sound that is pushed is in a packet that leaves."""
        return self._sender.waits_ms * 1_000_000 + LOOKAHEAD_NS

    # Sending

    def push(self, pcm: bytes | None, now_ns: int) -> bytes | None:
        """The protected RTP packet of this 20 ms tick, None while a longer one is being gathered.

        `pcm` None is silence. Raises ValueError unless it is `FRAME_BYTES` long.
        """
        self._last_push_ns = now_ns
        packet = self._sender.next_packet(pcm)
        return None if packet is None else self._count_sent(self._srtp.protect(packet))

    def push_second(self) -> bytes | None:
        """What is to be sent half a tick after `push`: with packets of 10 ms the second one, else None."""
        packet = self._sender.second_packet()
        return None if packet is None else self._count_sent(self._srtp.protect(packet))

    def poll_rtcp(self, now_ns: int) -> bytes | None:
        """A protected compound report when one is due, else None. Ask with every tick."""
        if now_ns < self._report_at_ns:
            return None
        self._report_at_ns = now_ns + self._report_delay_ns()
        self._follow_load()
        return self._count_sent(self._srtp.protect_rtcp(self._report(now_ns)))

    def bye(self) -> bytes:
        """A protected compound packet that says goodbye: the last one to send."""
        compound = build_rtcp(ReceiverReport(self._ssrc, ())) + self._cname + build_rtcp(Bye((self._ssrc,)))
        return self._count_sent(self._srtp.protect_rtcp(compound))

    def _report_delay_ns(self) -> int:
        return int(REPORT_INTERVAL_NS * self._random.uniform(0.5, 1.5))

    def _report(self, now_ns: int) -> bytes:
        sender, reception = self._sender, self._reception
        blocks = () if reception is None else (reception.report(now_ns),)
        if not sender.packets:
            return build_rtcp(ReceiverReport(self._ssrc, blocks)) + self._cname
        elapsed = (now_ns - self._last_push_ns) * RTP_CLOCK // 1_000_000_000
        timestamp = sender.timestamp + elapsed & 0xFFFFFFFF
        report = SenderReport(
            self._ssrc,
            ntp_from_ns(now_ns),
            timestamp,
            sender.packets & 0xFFFFFFFF,
            sender.octets & 0xFFFFFFFF,
            blocks,
        )
        return build_rtcp(report) + self._cname

    def _follow_load(self) -> None:
        wanted = self._complexity()
        if wanted != self._counts.complexity:
            self._counts.complexity = wanted
            self._encoder.set_complexity(wanted)

    def _count_sent(self, datagram: bytes) -> bytes:
        self._counts.bytes_sent += len(datagram)
        return datagram

    @property
    def stats(self) -> PathStats:
        """As of now; a copy."""
        stats, playout, jitter, srtp = replace(self._counts), self._playout, self._playout.jitter, self._srtp
        stats.packets_sent = self._sender.packets
        stats.encoded_frames = self._sender.encoded_frames
        stats.unauthentic, stats.replayed = srtp.unauthentic, srtp.replayed
        stats.malformed += playout.malformed
        stats.ignored += playout.duplicates + self._sources.ignored
        stats.late, stats.discarded = playout.late, jitter.discarded
        stats.odd_timestamps = jitter.timeline.odd_packets
        stats.foreign_timestamps = jitter.timeline.foreign_packets
        stats.concealed_frames, stats.fec_frames = playout.concealed_frames, playout.fec_frames
        stats.shortened_frames, stats.lengthened_frames = playout.shortened_frames, playout.lengthened_frames
        stats.buffer_ms, stats.target_ms = jitter.slack_ns / 1e6, jitter.target_ns / 1e6
        if self._reception is not None:
            stats.lost = self._reception.lost
            stats.jitter_ms = self._reception.jitter * 1000 / RTP_CLOCK
        return stats

    def close(self) -> None:
        """Free the codec's state and wipe the keys; nothing may be called after this but `stats`."""
        self._srtp.close()
        self._encoder.close()
        self._playout.close()
