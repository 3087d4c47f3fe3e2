"""One call: ICE, DTLS, audio and events of one client, and the backend that it talks to.

A session does no I/O, owns no timer and reads no clock: the mux brings datagrams and takes them, the peer
brings what was inside DTLS, the ticker calls every 20 ms once there are keys, and the manager asks now and
then whether it is over. `transceiver.session.state` has its states.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from core.addr import Endpoint
from core.bucket import TokenBucket
from core.config import TransceiverSettings
from core.demux import is_rtcp
from core.stun import TRANSACTION_BYTES, Message
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
from transceiver.session.hub import EventHub, encode, weakly
from transceiver.session.request import CallRequest
from transceiver.session.state import SessionEvent, SessionReason, SessionState, advance
from transceiver.session.way import SessionWay
from transceiver.transport.certificate import Certificate
from transceiver.transport.ice import Credentials, IceLite
from transceiver.transport.mux import Mux
from transceiver.transport.peer import ChannelTerms, Peer
from transceiver.transport.reasons import ChannelReason, IceReason
from transceiver.transport.spares import SpareChecks


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
    """One call: a `Receiver` to its mux, `PeerEvents` to its peer. `on_ended(session, reason)` is called when
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
        self._ice = IceLite(Credentials(answer.ufrag, answer.password), offer.ufrag)
        self._spare_checks = SpareChecks(Credentials(offer.ufrag, offer.password), secrets.randbits(64))
        self._lifelines: list[Endpoint] = []
        """Where everything goes as well while the client is silent where it was."""
        self._peer = self._make_peer()
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
        self._backend = self._make_backend(request)
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
        return self._ice.remote

    @property
    def audio_stats(self) -> PathStats:
        """Of the audio path; all zero before there is one."""
        return PathStats() if self._path is None else self._path.stats

    @property
    def event_stats(self) -> EventStats:
        """Of its events."""
        return self.events.stats

    def _make_peer(self) -> Peer:
        role: Literal["client", "server"] = "client" if self.answer.setup == "active" else "server"
        terms = None
        if self.offer.sctp_port is not None:
            terms = ChannelTerms(self.offer.sctp_port, self.offer.max_message_bytes)
        return Peer(self._shared.certificate, role, self.offer.fingerprints, self, terms)

    # What the mux brings

    def receive_check_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        """A STUN message that names a ufrag of this session."""
        ice, mux = self._ice, self._shared.mux
        generation = ice.authenticate_untrusted(message)
        if isinstance(generation, IceReason):
            self.refuse(generation)
            return
        objection = ice.find_objection(message, generation)
        if objection is not None:
            self.refuse(objection.reason)
            mux.send(objection.response, source)
            return
        if not mux.claim(source, self, now_ns):
            self.refuse(SessionReason.ADDRESS_IN_USE)
            return
        check = ice.accept(message, generation, source, now_ns)
        if check.forgotten is not None:
            mux.release([check.forgotten], self)
        mux.send(check.response, source)
        if self.state is SessionState.NEW:
            self._arrived(now_ns)

    def receive_answer_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        """A STUN response from an address of this session."""
        if self._spare_checks.is_answer_untrusted(message, source):
            self._ice.hear_answer(source, now_ns)
        else:
            self.refuse(IceReason.UNASKED)

    def receive_dtls_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> None:
        """A DTLS datagram from an address of this session, which is where it is answered: a client may have
        a path on which its checks arrive and our answers do not.
        """
        if self._path is None:
            self._ice.hear_handshake(source, now_ns)
        self._peer.receive_untrusted(datagram)

    def receive_media_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> bool:
        """SRTP or SRTCP from an address of this session, or from any with its SSRC. True if authentic."""
        path = self._path
        if path is None:
            self.refuse(SessionReason.MEDIA_BEFORE_KEYS)
            return False
        if not path.receive_untrusted(datagram, now_ns):
            return False
        if self._ice.hear_media(source, now_ns) and self._shared.mux.claim(source, self, now_ns):
            forgotten = self._ice.move(source, now_ns)
            if forgotten is not None:
                self._shared.mux.release([forgotten], self)
        if datagram[8:12] != self._ssrc and not is_rtcp(datagram):
            self._learn_ssrc(datagram[8:12], now_ns)
        return True

    def is_live_at(self, endpoint: Endpoint, now_ns: int, silence_ns: int) -> bool:
        """Whether the client was heard from that address less than `silence_ns` ago."""
        return self._ice.is_live_at(endpoint, now_ns, silence_ns)

    def lose(self, endpoint: Endpoint) -> None:
        """The address is another session's."""
        self._ice.forget(endpoint)
        self._lifelines = [each for each in self._lifelines if each != endpoint]

    def _learn_ssrc(self, ssrc: bytes, now_ns: int) -> None:
        mux = self._shared.mux
        if self._ssrc is None:
            self._stage("audio", now_ns)
        else:
            mux.forget_ssrc(self._ssrc, self)
        self._ssrc = ssrc
        mux.learn_ssrc(ssrc, self)

    def _arrived(self, now_ns: int) -> None:
        self.state = advance(self.state, SessionEvent.ARRIVED)
        self._stage("ice", now_ns)
        self._peer.start()

    # What the peer brings

    def send_dtls(self, datagram: bytes) -> None:
        """See PeerEvents: to where the client is, once that is known."""
        self._send(datagram)

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
        self._ice.hear(now_ns)

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
        self._lifelines = self._ice.lifelines(now_ns)
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
        if self._ice.remote is not None:
            for endpoint in (self._ice.remote, *self._lifelines):
                self._shared.mux.send(datagram, endpoint)

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
        if self._peer.send_message(text):
            self.events.stats.sent += 1
        else:
            self.events.stats.dropped += 1

    # The end

    def find_end(self, now_ns: int) -> EndReason | None:
        """Why the session is over by the clock; None while it is not. For calling now and then."""
        settings = self._shared.settings
        heard_ns = self._ice.heard_ns
        if heard_ns is None:
            waited_s = (now_ns - self.created_ns) / 1e9
            return EndReason.NEVER_ARRIVED if waited_s >= settings.arrival_timeout_s else None
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
        self._peer.mute()
        if self._tick_handle is not None:
            self._tick_handle.cancel()
            self._tick_handle = None
        mux = self._shared.mux
        mux.release(self._ice.addresses, self)
        if self._ssrc is not None:
            mux.forget_ssrc(self._ssrc, self)
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
        await self._peer.part(self._last, self._end_reason, is_asked=is_asked)

    # ICE restart

    def restart_ice(self, answer: LocalDescription, remote: Credentials) -> list[str]:
        """Take new credentials of both sides. Returns the ufrags that are not answered to any more."""
        self.answer = answer
        self.remote_ufrag = remote.ufrag
        self._spare_checks.restart(remote)
        return self._ice.restart(Credentials(answer.ufrag, answer.password), remote.ufrag)

    def expire(self, now_ns: int) -> list[str]:
        """Keep open what the client may need, and let go of what is out of date. Returns the ufrags that are
        not answered to any more. For calling now and then.
        """
        self._ice.expire_consent(now_ns)
        for spare, check in self._spare_checks.due(
            self.answer.ufrag,
            self._ice.spares(now_ns),
            now_ns,
            lambda: secrets.token_bytes(TRANSACTION_BYTES),
        ):
            self._shared.mux.send(check, spare)
        return self._ice.retire(now_ns)

    @property
    def ufrags(self) -> list[str]:
        """Every ufrag that is answered to."""
        return self._ice.ufrags
