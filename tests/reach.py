"""Whether a datagram from one network namespace arrives in another."""

from __future__ import annotations

import socket

from core.addr import family_of
from ebpf.net import netns

PATIENCE_S = 5.0


def reaches(sender: str | None, receiver: str | None, host: str) -> bool:
    """Whether one that is sent to `host`, an address of the receiver, gets there. A namespace that is None is
    this machine's own.
    """
    af = family_of(host).af
    with netns.inside(receiver):
        to = socket.socket(af, socket.SOCK_DGRAM)
    with netns.inside(sender):
        at = socket.socket(af, socket.SOCK_DGRAM)
    with to, at:
        to.bind((host, 0))
        to.settimeout(PATIENCE_S)
        try:
            at.sendto(b"x", to.getsockname())
            return to.recv(2) == b"x"
        except OSError:
            return False
