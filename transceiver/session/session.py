"""One call: ICE, DTLS, audio and events of one client, and the backend that it talks to.

A session does no I/O, owns no timer and reads no clock: the mux brings datagrams and takes them, the peer
brings what was inside DTLS, the ticker calls every 20 ms once there are keys, and the manager asks now and
then whether it is over. `transceiver.session.state` has its states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from core.addr import Endpoint
from core.bucket import TokenBucket
from core.config import TransceiverSettings
from core.demux import is_rtcp
from transceiver.backends.base import Backend, BackendFactory, SessionContext
from transceiver.live.bridge import LiveBridge, LiveContext
from transceiver.media import FRAME_MS
from transceiver.media.keys import SrtpKeys
from transceiver.media.path import AudioPath, PathStats
from transceiver.media.ticker import Handle, Ticker
from transceiver.observer import EndReason, Observer
from transceiver.realtime import errors
from transceiver.realtime.client_events import EventStats
from transceiver.realtime.event import Event
from transceiver.sdp import LocalDescription
from transceiver.session.api import LAST_WORDS
from transceiver.session.contact import Contact
from transceiver.session.hub import EventHub, encode, weakly
from transceiver.session.request import CallRequest
from transceiver.session.state import SessionEvent, SessionState, advance
from transceiver.session.way import SessionWay
from transceiver.transport.certificate import Certificate
from transceiver.transport.credentials import Credentials
from transceiver.transport.mux import Mux
from transceiver.transport.reasons import ChannelReason


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sessions of a process have in common."""

    settings: TransceiverSettings
    mux: Mux
    ticker: Ticker
    certificate: Certificate
    backend_factory: BackendFactory
    observer: Observer


class Session:
    """One call: `ContactEvents` to its contact. `on_ended(session, reason)` is called when
    the session finds out itself that it is over.

    Raises ConfigError when the backend does not accept the request's settings.
    """

    def __init__(
        self,
        session_id: str,
        request: CallRequest,
        answer: LocalDescription,
        shared: Shared,
        on_ended: Callable[[Session, EndReason], None],
        now_ns: int,
    ) -> None:
        offer = request.offer
        self.id = session_id
        self.owner = request.owner
        self.offer = offer
        self.answer = answer
        """What we say of ourselves, by the latest ICE restart."""
        self.remote_ufrag = offer.ufrag
        self.state = SessionState.NEW
        self._shared = shared
        self._on_ended = on_ended
        self.contact = Contact(offer, answer, shared.mux, shared.certificate, shared.observer, self)
        """What the port knows of it."""
        self._path: AudioPath | None = None
        self._tick_handle: Handle | None = None
        self._ssrc: bytes | None = None
        self._end_reason = ""
        self._last: str | None = None
        """The last message to the channel, which is said until it is heard."""
        self._is_listening = offer.audio_direction in ("sendrecv", "recvonly")
        """Whether the client wants to hear us; a WHIP client that only publishes does not."""
        self.created_ns = self._stage_ns = now_ns
        self._way = SessionWay(shared.ticker.late_ns)
        self.holders = request.holders
        self.events = EventHub(session_id, request.permissions, request.api)
        quota = request.events
        self.events.limit(TokenBucket(quota.per_s, quota.burst, now_ns), quota.refused)
        self._live: LiveBridge | None = None
        """Between the backend and a client that speaks GPT-Live."""
        try:
            self._backend = self._make_backend(request)
        except Exception:
            self.contact.end()  # the port must not know of a session that there is not
            raise
        self.events.backend = self._backend

    def _make_backend(self, request: CallRequest) -> Backend:
        # It must not keep its session: the two would live until a collection.
        emit, end = weakly(self._emit), weakly(self._end_by_backend)
        context = SessionContext(self.id, request.settings, emit, self._shared.observer, end, self._way)
        if request.live is None:
            return self._shared.backend_factory.create(context)
        expires_s = request.begins_s + self._shared.settings.max_session_s
        told = weakly(self._tell)
        live = LiveBridge(LiveContext(self.id, request.live, expires_s, emit, told, self.events, end))
        behind = replace(context, emit=weakly(live.receive_server_event_untrusted))
        self._live = live
        live.backend = self._shared.backend_factory.create(behind)
        return live

    @property
    def has_arrived(self) -> bool:
        """Whether its client has shown that it is who the offer says."""
        return self.state is SessionState.CONNECTED

    @property
    def remote(self) -> Endpoint | None:
        """Where the client is, as we see it: behind a relay, the relay's address."""
        return self.contact.remote

    @property
    def audio_stats(self) -> PathStats:
        """Of the audio path; all zero before there is one."""
        return PathStats() if self._path is None else self._path.stats

    @property
    def event_stats(self) -> EventStats:
        """Of its events."""
        return self.events.stats

    # What its contact brings

    def arrived(self, now_ns: int) -> None:
        """See ContactEvents."""
        self.state = advance(self.state, SessionEvent.ARRIVED)
        self._stage("ice", now_ns)

    def receive_audio_untrusted(self, datagram: bytes, now_ns: int) -> bool | None:
        """See ContactEvents."""
        path = self._path
        if path is None:
            return None
        if not path.receive_untrusted(datagram, now_ns):
            return False
        if datagram[8:12] != self._ssrc and not is_rtcp(datagram):
            self._learn_ssrc(datagram[8:12], now_ns)
        return True

    def _learn_ssrc(self, ssrc: bytes, now_ns: int) -> None:
        mux = self._shared.mux
        if self._ssrc is None:
            self._stage("audio", now_ns)
        else:
            mux.forget_ssrc(self._ssrc, self.contact)
        self._ssrc = ssrc
        mux.learn_ssrc(ssrc, self.contact)

    # What the peer brings

    def send_dtls(self, datagram: bytes) -> None:
        """See PeerEvents: to where the client is, once that is known."""
        self.contact.send(datagram, is_media=False)

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """The handshake is done: audio begins."""
        self.state = advance(self.state, SessionEvent.KEYED)
        self._stage("dtls", now_ns)
        ticker = self._shared.ticker
        self._path = AudioPath(
            keys,
            self.offer.codec,
            self.answer.ssrc,
            self.answer.cname,
            now_ns,
            complexity=lambda: ticker.load.complexity,
        )
        self._way.path = self._path
        has_second = self.offer.codec.packet_ms < FRAME_MS
        self._tick_handle = ticker.add(self._tick, halfway=self._tick_halfway if has_second else None)
        # The ticker's turn may be 20 ms off; the caller hears us that much earlier.
        self._tick(now_ns)

    def record_received(self, now_ns: int) -> None:
        """The client lives, whatever it had to say."""
        self.contact.hear(now_ns)

    def channel_opened(self) -> None:
        """The backend is told each time: who has opened another channel waits for `session.created` again."""
        self._backend.opened()

    def receive_message_untrusted(self, text: str) -> None:
        """An event for the backend; the client is told when it is none, or one that it may not send."""
        refusal = self.events.receive_untrusted(text, is_trusted=False)
        if refusal is not None:
            self._tell(refusal)

    def refuse(self, reason: StrEnum) -> None:
        """Something of the client's was dropped, there or here."""
        self._shared.observer.packet_refused(str(reason))
        if reason is ChannelReason.OTHER_CHANNEL:
            self._tell(self.events.word(errors.ANOTHER_CHANNEL))

    def peer_closed(self, reason: str) -> None:
        """The client has hung up, or never got as far."""
        self._on_ended(self, EndReason(reason))

    def _stage(self, name: str, now_ns: int) -> None:
        self._shared.observer.setup_stage(name, (now_ns - self._stage_ns) / 1e9)
        self._stage_ns = now_ns

    # Every 20 ms

    def _tick(self, now_ns: int) -> None:
        self._run(self._exchange, now_ns)

    def _tick_halfway(self, now_ns: int) -> None:
        self._run(self._send_second, now_ns)

    def _run(self, step: Callable[[int], None], now_ns: int) -> None:
        try:
            step(now_ns)
        except Exception:
            # A call without audio would be worse than none; whoever called us reports what it was.
            self._on_ended(self, EndReason.CRASHED)
            raise

    def _exchange(self, now_ns: int) -> None:
        path = self._path
        assert path is not None
        self.contact.tick(now_ns)
        heard = path.pull(now_ns)
        if heard is not None:
            self._backend.hear(heard, now_ns)
        speech = self._backend.speak(now_ns)
        if self._is_listening:
            packet = path.push(speech, now_ns)
            if packet is not None:
                self._send(packet)
        report = path.poll_rtcp(now_ns)
        if report is not None:
            self._send(report)

    def _send_second(self, _: int) -> None:
        assert self._path is not None
        packet = self._path.push_second()
        if packet is not None:
            self._send(packet)

    def _send(self, datagram: bytes) -> None:
        self.contact.send(datagram, is_media=True)

    def _end_by_backend(self, reason: EndReason) -> None:
        if self.state is not SessionState.CLOSED:
            self._on_ended(self, reason)

    def _emit(self, event: Event) -> None:
        text = self.events.publish(event)
        has_channel = self.offer.sctp_port is not None
        if self.events.permissions.shows(event) and (has_channel or not self.events.is_watched):
            self._send_text(text)

    def _tell(self, event: Event) -> None:
        """What concerns the channel alone."""
        self._send_text(encode(event))

    def _send_text(self, text: str) -> None:
        peer = self.contact.peer
        if peer is not None and peer.send_message(text):
            self.events.stats.sent += 1
        else:
            self.events.stats.dropped += 1

    # The end

    def find_end(self, now_ns: int) -> EndReason | None:
        """Why the session is over by the clock; None while it is not. For calling now and then."""
        settings = self._shared.settings
        heard_ns = self.contact.heard_ns
        if heard_ns is None:
            waited_s = (now_ns - self.created_ns) / 1e9
            return EndReason.NEVER_ARRIVED if waited_s >= settings.arrival_timeout_s else None
        if self.contact.has_failed(now_ns):
            return EndReason.DTLS_FAILED
        if now_ns - heard_ns >= settings.silence_timeout_s * 1e9:
            return EndReason.SILENT
        if now_ns - self.created_ns >= settings.max_session_s * 1e9:
            return EndReason.TOO_LONG
        return None

    def end(self, reason: str) -> None:
        """Give back everything but what `free` gives back; the audio ends. `reason` is an `EndReason`.
        Idempotent.
        """
        if self.state is SessionState.CLOSED:
            return
        self._end_reason = reason
        self.state = advance(self.state, SessionEvent.ENDED)
        words = self._last_words(reason)
        for event in words[:-1]:
            self._tell(event)
        if self._tick_handle is not None:
            self._tick_handle.cancel()
            self._tick_handle = None
        self.contact.end()
        if self._ssrc is not None:
            self._shared.mux.forget_ssrc(self._ssrc, self.contact)
        if self._path is not None:
            self._send(self._path.bye())
            self._path.close()
        self._last = encode(self.events.last_word(words[-1], is_trusted=False)) if words else None
        self.events.close(words)
        self._backend.close()

    def _last_words(self, reason: str) -> list[Event]:
        """What a client is told of the end. One of GPT-Live hears of each, and of ours why."""
        error = LAST_WORDS.get(reason)
        if self._live is None:
            return [] if error is None else [self.events.word(error)]
        closed = self._live.closed(reason)
        return [closed] if error is None else [self.events.word(error), closed]

    async def free(self) -> None:
        """After `end`: tell the client why, close the DTLS association, and wait until its tasks are gone."""
        is_asked = self._end_reason not in LAST_WORDS
        await self.contact.free(self._last, self._end_reason, is_asked=is_asked)

    # ICE restart

    def restart_ice(self, answer: LocalDescription, remote: Credentials) -> list[str]:
        """Take new credentials of both sides. Returns the ufrags that are not answered to any more."""
        self.answer = answer
        self.remote_ufrag = remote.ufrag
        return self.contact.restart(Credentials(answer.ufrag, answer.password), remote)

    def expire(self, now_ns: int) -> list[str]:
        """Keep open what the client may need, and let go of what is out of date. Returns the ufrags that are
        not answered to any more. For calling now and then.
        """
        return self.contact.sweep(now_ns)

    @property
    def ufrags(self) -> list[str]:
        """Every ufrag that is answered to."""
        return self.contact.ufrags
