"""Calls through a real relay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.addr import Endpoint
from tests.edge.kit import (
    MEDIA,
    Peer,
    RelayProcess,
    mint_ufrag,
    request,
)

StartRelay = Callable[..., RelayProcess]
OpenPeer = Callable[..., Peer]
HOST, OTHER_HOST = "127.77.0.1", "127.77.0.2"


def ufrag_for(transceiver: Peer) -> bytes:
    return mint_ufrag(transceiver.address.port, host=int(transceiver.address.host.rpartition(".")[2]))


def call(client: Peer, transceiver: Peer, vip: Endpoint, ufrag: bytes | None = None) -> Endpoint:
    """Make a flow and see it work both ways; where the transceiver sees the client."""
    check = request(ufrag or ufrag_for(transceiver))
    client.send(check, vip)
    data, path = transceiver.receive()
    assert data == check
    echo(client, transceiver, vip, path)
    return path


def echo(client: Peer, transceiver: Peer, vip: Endpoint, path: Endpoint, data: bytes = MEDIA) -> None:
    client.send(data, vip)
    assert transceiver.receive() == (data, path)
    transceiver.send(data[::-1], path)
    assert client.receive() == (data[::-1], vip)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def sockets_of(pids: list[int]) -> list[tuple[str, str]]:
    """(local, remote) of every UDP socket of some processes, as /proc/net/udp spells them."""
    by_inode = {}
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            by_inode[f"socket:[{fields[9]}]"] = (fields[1], fields[2])
    links = [str(fd.readlink()) for pid in pids for fd in Path(f"/proc/{pid}/fd").iterdir()]
    return [by_inode[link] for link in links if link in by_inode]
