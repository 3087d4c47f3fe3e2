"""How a session's client is reached: its ICE, its handshakes and then its DTLS peer, at the port.

A contact does no I/O of its own and reads no clock: the port brings datagrams and takes them, and the session
says when time has passed. docs/paths.md has what goes where.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Literal, Protocol

from core.addr import Endpoint
from core.stun import Message
from transceiver.media.keys import SrtpKeys
from transceiver.observer import DATAGRAMS_WITHHELD, PATH_CHECKS, Observer, PathCheck, Withheld
from transceiver.sdp import LocalDescription, Offer
from transceiver.session.state import SessionReason
from transceiver.transport.agent import KEY_BYTES, IceAgent
from transceiver.transport.certificate import Certificate
from transceiver.transport.credentials import Credentials
from transceiver.transport.handshakes import Handshakes
from transceiver.transport.mux import Mux
from transceiver.transport.peer import HANDSHAKE_TIMEOUT_S, ChannelTerms, Peer, PeerEvents

HELLO_BYTES = 200
"""Our ClientHello has 181; it goes before checks of ours, as it tells no less."""


class ContactEvents(PeerEvents, Protocol):
    """Whoever has a contact, as it sees it; `PeerEvents` of the peer whose handshake has made it."""

    def arrived(self, now_ns: int) -> None:
        """The client was heard for the first time."""

    def receive_audio_untrusted(self, datagram: bytes, now_ns: int) -> bool | None:
        """SRTP or SRTCP. True if it is authentic and fresh; None before there are keys."""


class Contact:
    """Of one session: a `Receiver` to its port, `HandshakeEvents` to its handshakes."""

    def __init__(
        self,
        offer: Offer,
        answer: LocalDescription,
        port: Mux,
        certificate: Certificate,
        observer: Observer,
        events: ContactEvents,
    ) -> None:
        self._offer = offer
        self._port = port
        self._certificate = certificate
        self._observer = observer
        self._events: ContactEvents | None = events
        self._ice = IceAgent(
            Credentials(answer.ufrag, answer.password),
            Credentials(offer.ufrag, offer.password),
            port.locate(self),
            secrets.token_bytes(KEY_BYTES),
        )
        self._paths = self._ice.paths
        self._lifelines: list[Endpoint] = []
        """Where everything goes as well while the client is silent where it was."""
        self._role: Literal["client", "server"] = "client" if answer.setup == "active" else "server"
        self._handshakes: Handshakes | None = Handshakes(self._role, self._make_peer, self)
        if self._role == "client":
            self._ice.reserve_bytes = HELLO_BYTES
        self._arrived_ns: int | None = None
        self.peer: Peer | None = None
        """Of the handshake that has made it."""

    def _make_peer(self, events: PeerEvents) -> Peer:
        offer, terms = self._offer, None
        if offer.sctp_port is not None:
            terms = ChannelTerms(offer.sctp_port, offer.max_message_bytes)
        return Peer(self._certificate, self._role, offer.fingerprints, events, terms)

    @property
    def remote(self) -> Endpoint | None:
        """Where the client is, as we see it: behind a relay, the relay's address."""
        return self._paths.remote

    @property
    def heard_ns(self) -> int | None:
        """When anything authentic and fresh last came; None before the first."""
        return self._paths.heard_ns

    @property
    def ufrags(self) -> list[str]:
        """Every ufrag that is answered to."""
        return self._ice.ufrags

    def has_failed(self, now_ns: int) -> bool:
        """Whether no handshake has made it in its time."""
        if self.peer is not None or self._arrived_ns is None:
            return False
        return now_ns - self._arrived_ns >= HANDSHAKE_TIMEOUT_S * 1e9

    # What the port brings

    def receive_check_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        """A STUN message that names a ufrag of this session."""
        reaction = self._ice.receive_check_untrusted(message, source, self._claim(now_ns), now_ns)
        self._tidy()
        if reaction.refused is not None:
            self.refuse(reaction.refused)
        for reply in reaction.replies[:1]:
            self._port.send(reply, source)
        for check in reaction.replies[1:]:
            self._send_check(check, source)
        if self._arrived_ns is None and self._paths.remote is not None:
            self._arrive(now_ns)

    def _arrive(self, now_ns: int) -> None:
        self._arrived_ns = now_ns
        if self._events is not None and self._handshakes is not None:
            self._events.arrived(now_ns)
            self._handshakes.begin(now_ns)

    def receive_answer_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        """A STUN response that names this session's locator."""
        refused = self._ice.receive_answer_untrusted(message, source, self._claim(now_ns), now_ns)
        self._tidy()
        if refused is not None:
            self.refuse(refused)
            return
        self._observer.count(PATH_CHECKS, PathCheck.ANSWERED)
        if self._handshakes is not None:
            self._handshakes.proven(source)

    def receive_dtls_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> None:
        """A DTLS datagram from an address of this session."""
        self._paths.hear_dtls(source, len(datagram))
        if self.peer is not None:
            self.peer.receive_untrusted(datagram)
        elif self._handshakes is not None:
            self._handshakes.receive_untrusted(datagram, source, now_ns)

    def receive_media_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> bool:
        """SRTP or SRTCP from an address of this session, or from any with its SSRC. True if authentic."""
        is_fresh = None if self._events is None else self._events.receive_audio_untrusted(datagram, now_ns)
        if is_fresh is None:
            self.refuse(SessionReason.MEDIA_BEFORE_KEYS)
            return False
        if is_fresh:
            check = self._ice.hear_media(datagram, source, self._claim(now_ns), now_ns)
            self._tidy()
        elif self._ice.is_copy_untrusted(datagram):
            check = self._ice.hear_copy(datagram, source, now_ns)
        else:
            return False
        if check is not None:
            self._send_check(check, source)
        return True

    def holds(self, endpoint: Endpoint, now_ns: int) -> bool:
        """Whether the client is at that address, which another session's claims; it may be asked."""
        is_held, check = self._ice.contest(endpoint, now_ns)
        if check is not None:
            self._send_check(check, endpoint)
        return is_held

    def lose(self, endpoint: Endpoint) -> None:
        """The address is another session's."""
        self._paths.forget(endpoint)
        self._lifelines = [each for each in self._lifelines if each != endpoint]

    def _claim(self, now_ns: int) -> Callable[[Endpoint], bool]:
        return lambda endpoint: self._port.claim(endpoint, self, now_ns)

    def _tidy(self) -> None:
        """Addresses that had to make room are nobody's."""
        forgotten = self._paths.forgotten
        if forgotten:
            self._port.release(forgotten, self)
            forgotten.clear()

    def refuse(self, reason: StrEnum) -> None:
        """See HandshakeEvents; and whatever else was dropped."""
        if self._events is not None:
            self._events.refuse(reason)

    # What handshakes bring

    def send_handshake(self, datagram: bytes, to: Endpoint | None) -> bool:
        """See HandshakeEvents."""
        self._ice.reserve_bytes = 0
        endpoint = to or self._paths.remote
        if endpoint is not None and self._ice.pay(endpoint, len(datagram), is_media=False):
            self._port.send(datagram, endpoint)
            return True
        self._observer.count(DATAGRAMS_WITHHELD, Withheld.HANDSHAKE)
        return False

    def is_proven(self, endpoint: Endpoint) -> bool:
        """See HandshakeEvents."""
        return self._paths.is_proven(endpoint)

    def is_only_way(self, endpoint: Endpoint) -> bool:
        """See HandshakeEvents."""
        return self._paths.remote == endpoint and not self._paths.has_proof

    def handshake_finished(self, peer: Peer, source: Endpoint | None, now_ns: int, *, is_sole: bool) -> None:
        """See HandshakeEvents."""
        assert self._events is not None, "handshakes are muted before they are let go of"
        peer.hand_over(self._events)
        self.peer = peer
        if source is not None:
            self._paths.finish_handshake(source, now_ns, is_sole=is_sole)

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        """See HandshakeEvents."""
        assert self._events is not None, "handshakes are muted before they are let go of"
        self._events.receive_keys(keys, now_ns)

    def hear(self, now_ns: int) -> None:
        """The client lives, wherever it is."""
        self._paths.hear(now_ns)

    # What goes out

    def send(self, datagram: bytes, *, is_media: bool) -> None:
        """To wherever the client is, or may be."""
        for endpoint in (*self._paths.ways, *self._lifelines):
            if self._ice.pay(endpoint, len(datagram), is_media=is_media):
                self._port.send(datagram, endpoint)
            else:
                self._observer.count(DATAGRAMS_WITHHELD, Withheld.CALL)

    def _send_check(self, check: bytes, to: Endpoint) -> None:
        self._port.send(check, to)
        self._observer.count(PATH_CHECKS, PathCheck.SENT)

    # Time

    def tick(self, now_ns: int) -> None:
        """20 ms have passed, in a call with keys."""
        self._paths.expire(now_ns)
        self._lifelines = self._paths.lifelines(now_ns)

    def sweep(self, now_ns: int) -> list[str]:
        """Keep open what the client may need, and let go of what is out of date. Returns the ufrags that are
        not answered to any more. For calling every half a second.
        """
        self._paths.expire(now_ns)
        if self._handshakes is not None:
            self._handshakes.expire(now_ns)
        for endpoint, check in self._ice.due_checks(now_ns):
            self._send_check(check, endpoint)
        return self._ice.retire(now_ns)

    def restart(self, local: Credentials, remote: Credentials) -> list[str]:
        """An ICE restart. Returns the ufrags that are not answered to any more."""
        return self._ice.restart(local, remote)

    # The end

    def end(self) -> None:
        """Give the addresses back, and hear nothing any more. Goodbyes can be sent."""
        self._port.release(self._paths.addresses, self)
        self._port.forget_locator(self._ice.locator)
        if self._handshakes is not None:
            self._handshakes.mute()
        if self.peer is not None:
            self.peer.mute()

    async def free(self, last_words: str | None, cause: str, *, is_asked: bool) -> None:
        """After `end`: say goodbye, as `Peer.part` does, and wait until nothing is left."""
        if self.peer is not None:
            await self.peer.part(last_words, cause, is_asked=is_asked)
        if self._handshakes is not None:
            await self._handshakes.close()
        self._handshakes = self._events = None
