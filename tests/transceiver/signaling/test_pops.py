"""What callers are told about PoPs, asked of a real relay."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tests.ports import free_tcp_port
from tests.processes import end
from tests.transceiver.host_kit import Host

Relay = tuple[str, "subprocess.Popen[str]"]
"""Where its status is, and its process."""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay's status endpoint; its keys are of no interest here."""
    status, vip = (f"127.0.0.1:{free_tcp_port()}" for _ in range(2))
    config = tmp_path / "relay.toml"
    command = [sys.executable, "-m", "voxpop"]
    subprocess.run([*command, "keys", "new", tmp_path / "relay-keys.toml"], cwd=ROOT, check=True)
    config.write_text(
        '[token]\nkeys_file = "relay-keys.toml"\n'
        '[[cluster]]\nid = 1\nipv4 = "127.0.0.1/32"\nports = [20000, 20001]\n'
        f'[relay]\npop = "near"\nvips = ["{vip}"]\nmetrics = "{status}"\n'
        'workers = 1\nforwarder = "userspace"\n'
    )
    command += ["relay", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("is ready" in line for line in process.stderr)
            yield status, process
        finally:
            process.kill()


def near(host: Host) -> dict[str, Any]:
    first: dict[str, Any] = json.loads(host.request("GET", "/v1/pops").body)[0]
    return first


def test_forwarder_and_state_are_the_relays_own_words(relay: Relay, tmp_path: Path) -> None:
    address, process = relay
    with Host(tmp_path, processes=1, status=address) as host:
        assert near(host)["forwarder"] == "userspace"
        assert near(host)["state"] == "ready"
        end(process)
        host.wait_until(lambda: near(host)["state"] == "silent", "the relay is gone")
