"""The sockets of a host, opened for real."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.errors import UnavailableError
from tests.ports import free_port, free_tcp_port
from transceiver.host.sockets import ProcessSockets, open_sockets
from transceiver.signaling.siblings import socket_path

Open = Callable[..., list[ProcessSockets]]


@pytest.fixture
def http() -> Endpoint:
    return Endpoint("127.0.0.1", free_tcp_port())


@pytest.fixture
def open_all(tmp_path: Path, http: Endpoint) -> Iterator[Open]:
    """Opens sockets that are closed with the test."""
    opened: list[ProcessSockets] = []

    def open_some(
        first: int, *, at: Endpoint = http, count: int = 2, folder: Path = tmp_path
    ) -> list[ProcessSockets]:
        found = open_sockets(["127.0.0.1"], first, at, folder, count)
        opened.extend(found)
        return found

    yield open_some
    for each in opened:
        for one in (*each.udp, each.http, each.siblings):
            one.close()


def free_run(count: int = 2) -> int:
    return free_port("127.0.0.1", socket.SOCK_DGRAM, count)


def test_each_process_has_its_own_and_a_share_of_http(open_all: Open, tmp_path: Path, http: Endpoint) -> None:
    first = free_run()
    for index, each in enumerate(open_all(first)):
        assert [one.getsockname() for one in each.udp] == [("127.0.0.1", first + index)]
        assert each.http.getsockname() == tuple(http)
        assert each.http.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        assert not each.http.getblocking()
        assert each.siblings.getsockname() == str(socket_path(tmp_path, index))
        assert stat.S_ISSOCK(socket_path(tmp_path, index).stat().st_mode)


def test_connections_reach_any_of_them(open_all: Open, http: Endpoint) -> None:
    processes = open_all(free_run())
    reached: set[int] = set()
    for _ in range(64):
        with socket.create_connection(http):
            for index, each in enumerate(processes):
                each.http.settimeout(0.05)
                try:
                    each.http.accept()[0].close()
                except TimeoutError:
                    continue
                reached.add(index)
                break
        if len(reached) == len(processes):
            break
    assert reached == {0, 1}


def test_a_group_of_another_is_not_joined(open_all: Open, tmp_path: Path, http: Endpoint) -> None:
    open_all(free_run())
    with pytest.raises(
        UnavailableError, match=f"transceiver.http: cannot listen on {re.escape(str(http))}: it is in use"
    ):
        open_all(free_run(), folder=tmp_path / "other")


def test_an_address_of_nobody_is_said(open_all: Open) -> None:
    with pytest.raises(
        UnavailableError, match=r"transceiver.http: .* no interface of this host has that address"
    ):
        open_all(free_run(), at=Endpoint("192.0.2.77", 8080))


def test_a_udp_port_that_is_taken_is_said_with_its_setting(open_all: Open) -> None:
    first = free_run()
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", first + 1))
        with pytest.raises(UnavailableError, match=r"transceiver\.port: .*transceiver\.listen"):
            open_all(first)


def test_a_folder_that_is_not_there_is_said_by_its_path(open_all: Open, tmp_path: Path) -> None:
    with pytest.raises(
        UnavailableError, match=f"{os.fspath(tmp_path)}/none/process-0.sock: cannot listen there"
    ):
        open_all(free_run(), folder=tmp_path / "none")
