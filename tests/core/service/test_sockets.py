"""What the kernel says of sockets."""

from __future__ import annotations

import socket

from core.service.sockets import kernel_drops


def test_what_does_not_fit_into_the_buffer_is_counted() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as full,
        socket.socket(type=socket.SOCK_DGRAM) as to,
    ):
        full.bind(("127.0.0.1", 0))
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert kernel_drops(full) == 0
        sent = 64
        for _ in range(sent):
            to.sendto(bytes(1000), full.getsockname())
        full.setblocking(False)
        received = 0
        while True:
            try:
                full.recv(2000)
            except BlockingIOError:
                break
            received += 1
        assert 0 < received < sent
        assert kernel_drops(full) == sent - received
