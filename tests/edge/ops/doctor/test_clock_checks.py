"""edge.ops.doctor.clock_checks with a real relay that hosts have asked, and with what is none."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.clocks import http_date
from edge.ops.doctor.checks import Check, Status
from edge.ops.doctor.clock_checks import check
from tests.edge.host.kit import HOST, OTHER_HOST
from tests.edge.kit import RelayProcess

CONFIG = """
[token]
keys_file = "keys.toml"
[[cluster]]
id = 1
ipv4 = "127.77.0.0/24"
ports = [1024, 65535]
"""
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def asks(relay: RelayProcess, host: str, ahead_s: float) -> None:
    """As a transceiver host does whose clock is so far ahead."""
    connection = http.client.HTTPConnection(*relay.metrics, timeout=30, source_address=(host, 0))
    connection.request("GET", "/readyz", headers={"Date": http_date(time.time() + ahead_s)})
    assert connection.getresponse().status == 200
    connection.close()


def the_check(config: Path) -> Check:
    (found,) = check(config)
    return found


def configured(folder: Path, metrics: Endpoint) -> Path:
    path = folder / "voxpop.toml"
    path.write_text(f'{CONFIG}[relay]\npop = "x"\nvips = ["192.0.2.1:3478"]\nmetrics = "{metrics}"\n')
    return path


def test_hosts_whose_clocks_are_off_are_named(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay:
        asks(relay, HOST, 10)
        told = the_check(relay.config)
        assert told.status is Status.OK
        assert "more than 60 s off" in told.finding
        asks(relay, HOST, 90)
        asks(relay, OTHER_HOST, -7200)
        told = the_check(relay.config)
        assert told.status is Status.NOTE
        assert told.finding.startswith("those of transceiver hosts are apart from ours: 127.77.0.")
        for words in ("s ahead of this one", "s behind this one", HOST, OTHER_HOST):
            assert words in told.finding
        assert "NTP" in told.fix
    assert the_check(relay.config).status is Status.SKIPPED, "it has ended"


def test_without_a_relay_there_is_nobody_to_ask(tmp_path: Path) -> None:
    path = tmp_path / "voxpop.toml"
    path.write_text(CONFIG)
    assert list(check(path)) == []


@pytest.mark.parametrize(
    "answer",
    [b"", HEAD + b"hello", b"\0" * 100, HEAD + b"[]", HEAD + b'{"clocks_ahead_s": 3}',
     HEAD + b'{"clocks_ahead_s": {"a": "b"}}'],
    ids=["nothing", "text", "binary", "list", "number", "words"],
)  # fmt: skip
def test_whatever_answers_there_is_no_fault_of_the_doctors(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        told = the_check(configured(tmp_path, Endpoint(*listener.getsockname())))
        thread.join()
    assert told.status is Status.SKIPPED


def test_a_relay_that_listens_everywhere_is_asked_on_loopback(tmp_path: Path) -> None:
    with RelayProcess(tmp_path) as relay:
        everywhere = configured(tmp_path, Endpoint("0.0.0.0", relay.metrics.port))
        assert the_check(everywhere).status is Status.OK
