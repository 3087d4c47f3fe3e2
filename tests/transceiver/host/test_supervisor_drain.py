"""`voxpop drain transceiver` with a real one: old calls are served, new ones sent away; then taken back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, FRAGMENT, TIMEOUT_S, Host, kill

pytestmark = pytest.mark.slow

SDP = {"Content-Type": "application/sdp"}
RESTART = {"Content-Type": FRAGMENT, "If-Match": "*"}
NEW_UFRAG = "a=ice-ufrag:NEWU\na=ice-pwd:aNewPasswordOfTheClient0\n"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path) as started:
        yield started
    assert "Traceback" not in "".join(started.log)


def verb(host: Host, *arguments: str) -> Any:
    """What a verb of the operator's says, as JSON; the last of its lines."""
    done = host.verb(*arguments, "--json", "--config", host.config)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def refuses(host: Host) -> bool:
    """Workers hear of a drain a moment after the verb has returned."""
    answer = host.request("POST", CALLS, CHROMIUM, SDP)
    if answer.status == 201:
        host.request("DELETE", answer.headers["Location"])
        return False
    return answer.code == "draining" and int(answer.headers["Retry-After"]) >= 1


def test_old_calls_are_served_and_new_ones_sent_away_until_it_is_taken_back(host: Host) -> None:
    kept, other = host.call(CHROMIUM), host.call(CHROMIUM)
    host.wait_until(lambda: verb(host, "drain", "status")["left"] == 2, "both are known")
    status = verb(host, "drain", "transceiver", "--for", "10m")
    assert (status["state"], status["left"]) == ("draining", 2)
    assert status["drain"]["oldest_s"] > 0
    host.wait_until(lambda: all(refuses(host) for _ in range(6)), "new calls are refused by both processes")
    ready = host.request("GET", "/readyz", key=None)
    assert (ready.status, json.loads(ready.body)["state"]) == (503, "draining")
    assert host.metrics()["voxpop_daemon_state{state=draining}"] == 1
    assert host.metrics()["voxpop_daemon_drain_deadline_timestamp_seconds{}"] > 0
    assert host.request("PATCH", kept, "a=end-of-candidates\n", {"Content-Type": FRAGMENT}).status == 204
    assert host.request("PATCH", kept, NEW_UFRAG, RESTART).status == 200
    assert host.request("DELETE", other).status == 200
    host.wait_until(lambda: verb(host, "drain", "status")["left"] == 1, "one has hung up")
    assert verb(host, "undrain", "transceiver")["state"] == "ready"
    host.wait_until(lambda: not any(refuses(host) for _ in range(6)), "new calls are welcome again")
    assert host.request("DELETE", kept).status == 200


def test_a_process_that_dies_in_a_drain_comes_back_draining_and_is_undrained_too(host: Host) -> None:
    verb(host, "drain", "transceiver")
    kill(host.workers[1])
    host.wait_for_log("transceiver-1 ended")
    host.wait_until(lambda: host.metrics()["voxpop_transceiver_worker_up{}"] == 2, "it is back")
    host.wait_until(lambda: all(refuses(host) for _ in range(6)), "both refuse")
    assert verb(host, "drain", "transceiver", "--wait")["drain"]["is_done"], "the new one too says so"
    verb(host, "undrain", "transceiver")
    host.wait_until(lambda: not any(refuses(host) for _ in range(6)), "both take calls")


def test_a_reload_keeps_the_drain(host: Host) -> None:
    verb(host, "drain", "transceiver")
    host.process.send_signal(signal.SIGHUP)
    host.wait_for_log("reloaded")
    host.wait_until(lambda: all(refuses(host) for _ in range(6)), "both refuse")
    assert verb(host, "drain", "status")["state"] == "draining"


def test_calls_that_are_left_when_the_time_is_over_are_hung_up_and_the_host_stays(host: Host) -> None:
    for _ in range(5):
        host.call(CHROMIUM)
    host.wait_until(lambda: verb(host, "drain", "status")["left"] == 5, "all are known")
    assert verb(host, "drain", "transceiver", "--for", "0.5", "--wait")["left"] == 0
    assert host.metrics()["voxpop_transceiver_sessions_ended_total{reason=drained}"] == 5
    assert host.process.poll() is None
    verb(host, "undrain", "transceiver")
    host.wait_until(lambda: not refuses(host), "it takes calls")
    path = host.call(CHROMIUM)
    assert host.request("DELETE", path).status == 200


def test_what_a_pod_does_before_it_ends(host: Host) -> None:
    """preStop waits for the last call, SIGTERM comes after it."""
    kept = host.call(CHROMIUM)
    host.wait_until(lambda: verb(host, "drain", "status")["left"] == 1, "it is known")
    command = [sys.executable, "-m", "voxpop", "drain", "transceiver", "--wait", "--for", "1h"]
    with subprocess.Popen(
        [*command, "--config", str(host.config)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as hook:
        assert hook.stdout is not None
        assert "draining, 1 calls left, the oldest of " in hook.stdout.readline()
        assert hook.poll() is None
        assert host.request("DELETE", kept).status == 200
        assert hook.stdout.read().splitlines()[-1] == "transceiver: drained, no calls left"
        assert hook.wait(TIMEOUT_S) == 0
    assert host.process.poll() is None
    assert host.stop(signal.SIGTERM) == 0
