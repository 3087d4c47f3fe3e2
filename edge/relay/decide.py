"""The relay's decisions, without I/O: a datagram and what is known of its source in, a verdict out.

Before a stranger's packet makes the relay remember anything, two things are proven. The token's tag
says that whoever minted it holds a key; MESSAGE-INTEGRITY says that whoever sent the packet was told
the password, which signaling gives to one client. Nothing is ever answered, whatever was wrong.

A request that names the flow's own ufrag is forwarded without looking at its integrity. It comes from
the flow's own address, or from someone who spoofs it and could as well send anything that is not STUN;
it goes to the transceiver that the address goes to anyway, and that one checks it.

A proven request that leads to another transceiver than its address takes nothing away: both are served
until one of them is silent (docs/flows.md), since who sends it cannot be told from who is meant to be robbed.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster, resolve_untrusted
from core.demux import PacketKind, classify_untrusted, is_well_formed_untrusted
from core.errors import TokenError, WireError
from core.keyring import Keyring
from core.store.flow_record import decode_untrusted
from core.stun import Attribute, Message, is_binding_request_untrusted, parse_untrusted
from core.token import Token, TokenReason, is_expired, open_untrusted, verify_untrusted
from core.ufrag import split_username_untrusted
from edge.relay.forwarder import Flow
from edge.relay.verdict import (
    DROPS,
    FORWARD,
    FORWARD_BOTH,
    FORWARD_RIVAL,
    Action,
    RelayReason,
    Verdict,
)

_NOT_WEBRTC = DROPS[RelayReason.NOT_WEBRTC]
_UNKNOWN_FLOW = {
    PacketKind.DTLS: DROPS[RelayReason.UNKNOWN_FLOW_DTLS],
    PacketKind.MEDIA: DROPS[RelayReason.UNKNOWN_FLOW_MEDIA],
    PacketKind.OTHER: DROPS[RelayReason.UNKNOWN_FLOW_OTHER],
}


class Relay:
    """Verdicts under one set of keys and clusters; replaced as a whole when those change."""

    def __init__(self, keyring: Keyring, clusters: Mapping[int, Cluster], takeover_silence_ns: int) -> None:
        self._keyring = keyring
        self._clusters = dict(clusters)
        self.takeover_silence_ns = takeover_silence_ns
        """Of a transceiver, after which another call gets an address that cannot be shared."""
        self.is_draining = False

    def decide_untrusted(
        self, datagram: memoryview, family: IpFamily, flow: Flow | None, rival: Flow | None, now_min: int
    ) -> Verdict:
        """The verdict on a datagram that came to a VIP of an address family. Never raises.

        `flow` is that of its client address at that VIP, `rival` the other one if the address is contested,
        `now_min` the wall clock in minutes since the Unix epoch.
        """
        if flow is None:
            return self._decide_stranger(datagram, family, now_min)
        if not is_well_formed_untrusted(datagram):
            return _NOT_WEBRTC
        if not is_binding_request_untrusted(datagram):
            return FORWARD if rival is None else FORWARD_BOTH
        return self._decide_request(bytes(datagram), family, flow, rival, now_min)

    def decide_record_untrusted(self, value: bytes, vip: Endpoint, client: Endpoint, now_s: int) -> Verdict:
        """The verdict on what the store has at the key of a VIP and a client that has no flow. Never raises.

        `now_s` is the wall clock in seconds since the Unix epoch. The token's own expiry does not count: see
        `core.store.flow_record`.
        """
        try:
            record = decode_untrusted(value, vip, client, self._keyring, now_s)
            transceiver = resolve_untrusted(record.token, self._clusters, vip.family)
        except WireError as error:
            return Verdict(Action.DROP, error.reason)
        return self._unless_draining(Verdict(Action.CREATE, None, record.ufrag, transceiver))

    def _decide_stranger(self, datagram: memoryview, family: IpFamily, now_min: int) -> Verdict:
        kind = classify_untrusted(datagram)
        if kind is not PacketKind.STUN:
            return _UNKNOWN_FLOW[kind if is_well_formed_untrusted(datagram) else PacketKind.OTHER]
        try:
            message = parse_untrusted(bytes(datagram))
            if not is_binding_request_untrusted(datagram):
                return DROPS[RelayReason.NOT_BINDING_REQUEST]
            ufrag = _server_ufrag_untrusted(message)
            token = open_untrusted(ufrag, self._keyring, now_min)
            verdict = self._admit(token, message, ufrag, family, Action.CREATE)
        except WireError as error:
            return DROPS[error.reason]
        return self._unless_draining(verdict)

    def _decide_request(
        self, datagram: bytes, family: IpFamily, flow: Flow, rival: Flow | None, now_min: int
    ) -> Verdict:
        """An expired token is good for the flows that there are: the transceiver has the last word on whose
        an address is, and a call that has outlived its token would be lost to whoever renames its flow.
        """
        try:
            message = parse_untrusted(datagram)
            ufrag = _server_ufrag_untrusted(message)
            if flow.matches_ufrag(ufrag):
                return FORWARD
            if rival is not None and rival.matches_ufrag(ufrag):
                return FORWARD_RIVAL
            token = verify_untrusted(ufrag, self._keyring)
            verdict = self._admit(token, message, ufrag, family, Action.CONTEST)
        except WireError as error:
            return DROPS[error.reason]
        if verdict.action is Action.DROP:
            return verdict
        if verdict.transceiver == flow.transceiver:
            return verdict._replace(action=Action.REBIND_UFRAG)
        if rival is not None and verdict.transceiver == rival.transceiver:
            return verdict._replace(action=Action.REBIND_UFRAG, is_of_rival=True)
        if is_expired(token.expiry_min, now_min):
            return DROPS[TokenReason.EXPIRED]
        return self._unless_draining(verdict)

    def _unless_draining(self, verdict: Verdict) -> Verdict:
        if self.is_draining and verdict.action is not Action.DROP:
            return DROPS[RelayReason.DRAINING]
        return verdict

    def _admit(
        self, token: Token, message: Message, ufrag: bytes, family: IpFamily, action: Action
    ) -> Verdict:
        """`action` for a request that proves the password of a token; raises TokenError for one that leads
        nowhere.
        """
        transceiver = resolve_untrusted(token, self._clusters, family)
        if not message.is_authentic(self._keyring.ice_password(token.key_id, ufrag)):
            return DROPS[RelayReason.BAD_INTEGRITY]
        return Verdict(action, None, ufrag, transceiver)


def _server_ufrag_untrusted(message: Message) -> bytes:
    """Our ufrag out of the USERNAME of a request (RFC 8445 §7.2.2). Raises TokenError."""
    username = message.get(Attribute.USERNAME)
    parts = None if username is None else split_username_untrusted(username)
    if parts is None:
        raise TokenError(TokenReason.NO_USERNAME)
    return parts[0]
