"""A host's life: full, reloaded, short of a process, drained."""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from core.errors import UnavailableError
from core.service.http_server import MAX_CONNECTIONS
from tests.exposition import assert_is_catalogue, complaints
from tests.memory import keys_in
from tests.paths import ROOT
from tests.rights import only, rights
from tests.transceiver.descriptions import CHROMIUM, attributes
from tests.transceiver.host_kit import CALLS, FRAGMENT, Host, kill
from transceiver.host import catalogue, supervisor
from transceiver.host.worker import COUNT_CHECK_S
from transceiver.sdp import parse_answer_untrusted
from transceiver.session.ids import owner_of

pytestmark = pytest.mark.slow

Start = Callable[..., Host]

NOBODY = 65534
SDP = {"Content-Type": "application/sdp"}
HELD = (
    b"GET /healthz HTTP/1.1\r\nX-Slow: ",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"",
)
"""A slow header, a request now and then, nothing at all."""


def owner(path: str) -> int:
    found = owner_of(path.removeprefix(CALLS + "/"))
    assert found is not None
    return found.process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    hosts: list[Host] = []

    def start_host(processes: int = 2, **settings: str) -> Host:
        host = Host(tmp_path, settings, processes=processes)
        hosts.append(host)
        return host.__enter__()

    yield start_host
    for host in hosts:
        host.stop()
        assert "Traceback" not in "".join(host.log)


def test_a_full_process_hands_over_until_all_are_full(start: Start) -> None:
    host = start(max_sessions="3")
    owners = [owner(host.call(CHROMIUM)) for _ in range(6)]
    assert sorted(owners) == [0, 0, 0, 1, 1, 1]
    refused = host.request("POST", CALLS, CHROMIUM, SDP)
    assert (refused.status, refused.code) == (503, "full")
    assert int(refused.headers["Retry-After"]) >= 1
    assert host.metrics()["voxpop_transceiver_http_refusals_total{reason=full}"] >= 1
    ready = host.request("GET", "/readyz", key=None)
    assert (ready.status, json.loads(ready.body)["state"]) == (503, "full")


def test_a_call_that_was_handed_over_has_the_caller_who_made_it(start: Start) -> None:
    host = start(max_sessions="2")
    paths = [host.call(CHROMIUM, "bob") for _ in range(4)]
    for path in paths:
        assert host.request("DELETE", path, key="alice").status == 404
        assert host.request("DELETE", path, key="bob").status == 200


def test_a_late_process_takes_no_calls(start: Start) -> None:
    host = start(processes=1, max_loop_lag_ms="1")
    with socket.create_connection(("127.0.0.1", host.http)):
        host.wait_until(
            lambda: host.request("POST", CALLS, CHROMIUM, SDP).status == 503, "it was never 1 ms late"
        )
    assert host.metrics()["voxpop_transceiver_http_refusals_total{reason=overloaded}"] >= 1


def test_more_connections_than_the_soft_limit_of_files(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        host = start(processes=1, connections_per_address='"unlimited"')
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with contextlib.ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(socket.create_connection(("127.0.0.1", host.http)))
        assert host.request("GET", "/healthz").status == 200
        assert host.metrics()["voxpop_transceiver_worker_up{}"] == 1


@pytest.mark.parametrize("open_files", [None, 40])
def test_connections_past_the_bound_give_way_counted_and_said_once(
    start: Start, open_files: int | None
) -> None:
    """`open_files` None: the bound is our own. 40: what the limit of open files leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    host = start(processes=1, connections_per_address='"unlimited"')
    [worker] = host.workers
    if open_files is not None:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (open_files, hard))
    closed = "voxpop_transceiver_http_connections_closed_total{reason=gave_way}"
    try:
        with contextlib.ExitStack() as idle:
            for number in range(MAX_CONNECTIONS + 60 if open_files is None else 100):
                held = idle.enter_context(socket.create_connection(("127.0.0.1", host.http)))
                held.sendall(HELD[number % len(HELD)])
            host.wait_until(lambda: host.metrics()[closed] >= 30, "they give way")
            assert {host.request("POST", CALLS, "v=0", SDP).code for _ in range(27)} == {"sdp_no_audio"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    host.stop()
    assert [line for line in host.log if "Traceback" in line or " ERROR " in line] == []
    assert sum("HTTP connections give way" in line for line in host.log) == 1


def test_reload_adopts_keys_and_origins(start: Start) -> None:
    host = start()
    carol = host.new_api_key("carol")
    assert host.request("GET", "/v1/pops", key=carol).status == 401
    path = host.call(CHROMIUM)
    host.write_config(cors_origins='["https://new.example"]', max_sessions="7")
    host.process.send_signal(signal.SIGHUP)
    host.wait_for_log("transceiver.max_sessions has changed, which takes a restart")
    host.wait_for_log("reloaded")
    host.wait_until(
        lambda: all(host.request("GET", "/v1/pops", key=carol).status == 200 for _ in range(8)), "not adopted"
    )
    allowed = host.request("GET", "/v1/pops", headers={"Origin": "https://new.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://new.example"
    assert host.request("DELETE", path).status == 200, "calls go on"


def key_ids(host: Host, path: str) -> list[int]:
    """Of the tokens in the answers to a PATCH and to a new call."""
    restart = {"Content-Type": FRAGMENT, "If-Match": "*"}
    fragment = host.request("PATCH", path, "a=ice-ufrag:NEWU\na=ice-pwd:aNewPasswordOfTheClient0\n", restart)
    answer = host.request("POST", CALLS, CHROMIUM, SDP)
    return [b64decode(attributes(text.text, "ice-ufrag")[0])[0] & 31 for text in (fragment, answer)]


def test_a_new_master_key_signs_what_follows(start: Start) -> None:
    host = start(processes=1)
    path = host.call(CHROMIUM)
    rotated = host.verb("keys", "rotate", host.folder / "keys.toml")
    assert rotated.returncode == 0, rotated.stderr
    host.process.send_signal(signal.SIGHUP)
    host.wait_for_log("reloaded: keys 1, 2")
    host.wait_until(lambda: key_ids(host, path)[1] == 2, "not adopted")
    path = host.call(CHROMIUM)
    assert key_ids(host, path) == [2, 2]
    if os.geteuid() == 0:
        (worker,) = host.workers
        purposes = {"token", "ice-pwd", "referral", "session id", "client secret"}
        assert keys_in(worker, host.folder / "keys.toml") == {1: purposes, 2: purposes}
        assert [rights(pid) for pid in (host.process.pid, worker)] == [only(), only()]


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def test_a_faulty_reload_changes_nothing(start: Start) -> None:
    host = start(processes=1)
    files = [host.config, host.folder / "api-keys.toml", host.folder / "keys.toml"]
    intact = {file: file.read_text() for file in files}
    faults: list[tuple[Path, Callable[[], object], str]]
    faults = [(file, partial(file.write_text, "[[["), "is not TOML") for file in files]
    faults.append((files[1], partial(files[1].write_text, ""), "has no key, so nobody could call"))
    faults.append((files[2], partial(become_fifo, files[2]), "is a FIFO"))
    if os.geteuid() == 0:
        faults.append((files[2], partial(os.chown, files[2], NOBODY, 0), "belongs to nobody"))
    for refused, (file, spoil, complaint) in enumerate(faults, 1):
        spoil()
        host.process.send_signal(signal.SIGHUP)
        host.wait_for_log(f"reload refused, the old configuration stays: {file}: {complaint}")
        host.call(CHROMIUM)
        assert host.metrics()["voxpop_daemon_reloads_total{outcome=refused}"] == refused
        file.unlink()
        file.write_text(intact[file])
        file.chmod(0o600)
    for file in files:
        file.write_text("[[[")
    [worker] = host.workers
    kill(worker)
    host.wait_until(lambda: host.has_replaced([worker]), "not restarted")
    assert host.metrics()["voxpop_transceiver_worker_up{}"] == 1
    host.call(CHROMIUM)


def test_a_process_that_dies_is_replaced_on_its_sockets(start: Start) -> None:
    host = start()
    paths: dict[int, str] = {}
    while set(paths) != {0, 1}:
        path = host.call(CHROMIUM)
        paths[owner(path)] = path
    first, second = host.workers
    kill(second)
    host.wait_for_log("transceiver-1 ended")
    host.wait_until(lambda: host.has_replaced([second]), "not restarted")
    assert host.workers[0] == first
    assert host.metrics()["voxpop_transceiver_worker_up{}"] == 2
    assert host.metrics()["voxpop_daemon_worker_restarts_total{}"] == 1
    assert host.request("DELETE", paths[1]).status == 404, "its calls are gone"
    assert host.request("DELETE", paths[0]).status == 200
    host.wait_until(lambda: owner(host.call(CHROMIUM)) == 1, "the new process takes calls")


def test_drain_carries_calls_to_their_end(start: Start) -> None:
    host = start(drain_timeout_s="600")
    kept, other = host.call(CHROMIUM), host.call(CHROMIUM)
    host.process.send_signal(signal.SIGTERM)
    host.wait_for_log("draining")
    while (refused := host.request("POST", CALLS, CHROMIUM, SDP)).status == 201:
        host.request("DELETE", refused.headers["Location"])  # it came before the word did
    assert refused.code == "draining"
    assert "Retry-After" in refused.headers
    assert host.request("PATCH", kept, "a=end-of-candidates\n", {"Content-Type": FRAGMENT}).status == 204
    assert host.request("DELETE", other).status == 200
    assert host.process.poll() is None
    assert host.request("DELETE", kept).status == 200
    assert host.process.wait(30) == 0


def test_a_process_that_dies_in_a_drain_comes_back_draining(start: Start) -> None:
    host = start(drain_timeout_s="600")
    while owner(kept := host.call(CHROMIUM)) != 0:
        pass
    host.process.send_signal(signal.SIGTERM)
    host.wait_for_log("draining")
    killed = host.workers[1]
    kill(killed)
    host.wait_for_log("transceiver-1 ended")
    host.wait_until(lambda: host.has_replaced([killed]), "not ready")
    assert host.metrics()["voxpop_transceiver_worker_up{}"] == 2
    for _ in range(8):
        assert host.request("POST", CALLS, CHROMIUM, SDP).status == 503
    assert host.request("DELETE", kept).status == 200
    assert host.process.wait(30) == 0


def test_drain_ends_when_its_time_is_up(start: Start) -> None:
    host = start(processes=1, drain_timeout_s="0")
    host.call(CHROMIUM)
    assert host.stop(signal.SIGTERM) == 0
    assert "ended: drained" in "".join(host.log)


def test_ctrl_c_hangs_up_and_ends(start: Start) -> None:
    host = start(processes=1)
    host.call(CHROMIUM)
    assert host.stop(signal.SIGINT) == 130
    assert "ended: drained" in "".join(host.log)


def test_a_client_of_a_killed_worker_hears_of_it_with_its_next_check(tmp_path: Path) -> None:
    """Consent would last for 30 s."""
    settings = {"api_keys_file": "", "open": "true"}
    with Host(tmp_path, settings, processes=1, is_reachable=True, has_far=False) as host:
        hear_of_it(host)


def hear_of_it(host: Host) -> None:
    command = [sys.executable, "-m", "voxpop", "call", f"http://127.0.0.1:{host.http}", "--seconds", "60"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as caller:
        host.wait_until(
            lambda: host.metrics()["voxpop_transceiver_sessions{state=connected}"] == 1, "they talk"
        )
        time.sleep(5 * COUNT_CHECK_S)
        killed_s = time.monotonic()
        kill(host.workers[0])
        said = caller.communicate(timeout=60.0)[0].decode()
        took_s = time.monotonic() - killed_s
    assert "the transceiver does not have this call any more" in said
    assert caller.returncode == 1
    assert took_s < 20.0, "by its own count it would be 30 s"
    metrics = host.metrics()
    assert metrics["voxpop_transceiver_calls_lost_total{}"] == 1
    assert metrics["voxpop_transceiver_refusals_total{reason=call_gone}"] >= 1


def test_calls_that_die_with_their_worker_are_counted(start: Start) -> None:
    host = start()
    calls = [host.call(CHROMIUM) for _ in range(6)]
    host.request("DELETE", calls.pop())
    time.sleep(5 * COUNT_CHECK_S)  # nothing tells when the supervisor has been told
    killed = host.workers
    for pid in killed:
        kill(pid)
    host.wait_until(lambda: host.has_replaced(killed), "both are replaced")
    assert host.metrics()["voxpop_transceiver_worker_up{}"] == 2
    assert host.metrics()["voxpop_transceiver_calls_lost_total{}"] == 5
    assert sum("calls were lost with transceiver-" in line for line in host.log) >= 1


@pytest.mark.parametrize("names", ["{0}/a", "{0}/a:{0}/b"])
def test_the_first_runtime_directory_will_do(
    names: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", names.format(tmp_path))
    with supervisor.runtime_folder() as folder:
        assert Path(folder).parent == tmp_path / "a"
        shutil.rmtree(tmp_path / "a")  # whoever tidies up there: the end is no traceback


def test_a_runtime_directory_that_is_not_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/gone")
    with pytest.raises(UnavailableError, match=r"/gone: no directory .*: No such file or directory"):
        supervisor.runtime_folder()


def test_a_runtime_directory_that_is_removed_is_said(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    host = start(processes=1)
    [folder] = tmp_path.glob("voxpop-*")
    shutil.rmtree(folder)
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://127.0.0.1:{host.metrics_port}/readyz", timeout=30.0)
    assert str(folder) in host.wait_for_log("is gone: processes cannot reach each other")
    assert host.stop(signal.SIGTERM) == 0
    assert "Traceback" not in "".join(host.log)


def test_what_a_host_opens_is_its_own_and_gone_with_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    host = start()
    [folder] = runtime.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["process-0.sock", "process-1.sock"]
    rows = Path("/proc/net/udp").read_text().splitlines()[1:]
    ports = [int(row.split()[1].split(":")[1], 16) for row in rows]
    assert sorted(port for port in ports if port in range(host.udp, host.udp + 2)) == [host.udp, host.udp + 1]
    second = host.verb("transceiver", "--config", host.config)
    assert second.returncode == 1
    assert f"voxpop: transceiver.http: cannot listen on 127.0.0.1:{host.http}: it is in use" in second.stderr
    host.call(CHROMIUM)
    host.stop()
    assert list(runtime.iterdir()) == []
    for port in (host.http, host.metrics_port):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_ipv6(tmp_path: Path) -> None:
    with Host(tmp_path, has_ipv6=True) as host:
        answer = host.request("POST", CALLS, CHROMIUM, SDP)
        candidates = parse_answer_untrusted(answer.text).candidates
        assert [c.host for c in candidates] == ["192.0.2.7", "2001:db8::7", "198.51.100.7"]
        rows = Path("/proc/net/udp6").read_text().splitlines()[1:]
        ports = [int(row.split()[1].split(":")[1], 16) for row in rows]
        assert {host.udp, host.udp + 1} <= set(ports)
        assert host.request("DELETE", answer.headers["Location"]).status == 200
        assert host.stop() == 130


def test_a_scrape_is_what_the_catalogue_says_before_anything_happens_and_after(start: Start) -> None:
    host = start(other_regions='["http://127.0.0.1:1"]')
    assert_nothing_has_happened(host)
    host.request("DELETE", host.call(CHROMIUM))
    host.request("POST", CALLS, "no description", SDP)
    text = host.scrape()
    assert_is_catalogue(text, catalogue.ALL)
    assert complaints(text) == ""
    metrics = host.metrics()
    assert metrics["voxpop_transceiver_sessions_ended_total{reason=hangup}"] == 1
    assert metrics["voxpop_transceiver_http_refusals_total{reason=sdp_not_sdp}"] == 1
    assert metrics["voxpop_transceiver_session_setup_seconds_count{stage=signaling}"] == 1
    unknown = [name for name, value in metrics.items() if "=other}" in name and value]
    assert unknown == [], "every reason is among those that were declared"


def assert_nothing_has_happened(host: Host) -> None:
    metrics = host.metrics()
    expected = [
        "voxpop_transceiver_sessions{state=new}",
        "voxpop_transceiver_sessions{state=connected}",
        "voxpop_transceiver_session_setup_seconds_count{stage=signaling}",
        "voxpop_transceiver_session_setup_seconds_count{stage=audio}",
        "voxpop_transceiver_turn_latency_seconds_count{}",
        "voxpop_transceiver_sessions_ended_total{reason=never_arrived}",
        "voxpop_transceiver_refusals_total{reason=unknown_ufrag}",
        "voxpop_transceiver_refusals_total{reason=ice_bad_integrity}",
        "voxpop_transceiver_http_refusals_total{reason=sdp_no_audio}",
        "voxpop_transceiver_http_refusals_total{reason=full}",
        "voxpop_transceiver_audio_frames_total{treatment=concealed}",
        "voxpop_transceiver_jitter_buffer_seconds{statistic=mean}",
        "voxpop_transceiver_events_total{outcome=dropped}",
        "voxpop_transceiver_sessions_ended_total{reason=crashed}",
        "voxpop_transceiver_send_failures_total{error=EAGAIN}",
        "voxpop_transceiver_kernel_drops_total{}",
        "voxpop_daemon_worker_restarts_total{}",
        "voxpop_daemon_reloads_total{outcome=refused}",
    ]
    assert {name: metrics.get(name) for name in expected} == dict.fromkeys(expected, 0)
    assert "voxpop_transceiver_missed_ticks_total{outcome=skipped}" in metrics, (
        "a loaded machine skips some while starting"
    )
    assert metrics["voxpop_daemon_state{state=ready}"] == 1
    assert metrics["voxpop_transceiver_worker_up{}"] == 2
