from __future__ import annotations

import socket

import pytest

from core.addr import Endpoint
from edge.forwarders.userspace_flow import connect
from edge.relay.verdict import RelayReason


def test_a_flow_hears_its_transceiver_and_nobody_else() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as transceiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        transceiver.bind(("127.0.0.1", 0))
        flow = connect(Endpoint(*transceiver.getsockname()))
        assert isinstance(flow, socket.socket)
        with flow:
            stranger.sendto(b"stranger", flow.getsockname())
            transceiver.sendto(b"transceiver", flow.getsockname())
            assert flow.recv(100) == b"transceiver"
            with pytest.raises(BlockingIOError):
                flow.recv(100)


def test_an_address_without_a_route_is_a_reason_and_leaves_no_socket() -> None:
    assert connect(Endpoint("255.255.255.255", 9)) is RelayReason.UNREACHABLE


def test_without_descriptors_it_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    assert connect(Endpoint("127.0.0.1", 9)) is RelayReason.NO_DESCRIPTORS
