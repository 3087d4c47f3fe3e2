"""core.service.daemon: a real daemon of two real workers, from start to end, by signals and over HTTP."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from core.service import keysfile
from tests.core.service.tiny_kit import Tiny, eventually, is_running

pytestmark = pytest.mark.slow


def test_it_is_ready_when_every_worker_is(tiny: Tiny) -> None:
    hold = tiny.mark("hold")
    tiny.spawn()
    eventually(lambda: tiny.state() == "starting", "it listens")
    assert tiny.get("/readyz")[0] == 503
    assert tiny.get("/healthz")[0] == 200
    hold.unlink()
    eventually(lambda: tiny.state() == "ready", "it is ready")
    status, body, header = tiny.get("/readyz")
    assert (status, header) == (200, "yes")
    assert '"ready": 2' in body
    assert tiny.get("/healthz")[2] == "yes"
    assert tiny.get("/metrics") == (200, "done 0 refused 0\n", None)
    assert "tiny is ready, pid" in tiny.log


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_can_be_ended_before_it_is_ready(tiny: Tiny, number: signal.Signals, status: int) -> None:
    tiny.mark("hold")
    tiny.spawn()
    eventually(lambda: tiny.state() == "starting" and len(tiny.summary()["workers"]) == 2, "workers run")
    workers = tiny.summary()["workers"]
    tiny.signal(number)
    assert tiny.wait() == status
    eventually(lambda: not any(map(is_running, workers)), "no worker is left")
    assert ("ended before it was ready" in tiny.log) == (number == signal.SIGTERM)


def test_a_reload_reaches_workers_and_names_what_takes_a_restart(tiny: Tiny) -> None:
    tiny.start()
    tiny.configure(idle_timeout_s=7, max_flows=9, workers=1)
    keysfile.rotate(tiny.folder / "keys.toml")
    tiny.signal(signal.SIGHUP)
    eventually(lambda: tiny.log.count("worker: idle_timeout_s 7, keys [1, 2]") == 2, "both are told")
    assert "relay.max_flows has changed, which takes a restart" in tiny.log
    assert "relay.workers has changed, which takes a restart" in tiny.log
    assert "relay.idle_timeout_s has changed" not in tiny.log
    assert "reloaded: keys 1, 2, clusters 7" in tiny.log
    assert tiny.get("/metrics")[1] == "done 1 refused 0\n"
    tiny.signal(signal.SIGHUP)
    eventually(lambda: tiny.get("/metrics")[1] == "done 2 refused 0\n", "again")
    assert tiny.log.count("relay.max_flows has changed") == 2, "compared with the start, not the last reload"


def test_a_faulty_reload_changes_nothing_and_names_every_fault(tiny: Tiny) -> None:
    tiny.start()
    tiny.configure(idle_timeout_s=0, max_flow=9)
    tiny.signal(signal.SIGHUP)
    eventually(lambda: tiny.get("/metrics")[1] == "done 0 refused 1\n", "refused")
    refused = [
        line for line in tiny.log.splitlines() if "reload refused, the old configuration stays" in line
    ]
    assert len(refused) == 2
    assert "relay.max_flow is not a setting; did you mean max_flows?" in refused[0]
    assert "relay.idle_timeout_s must be a number, 1–3600 s" in refused[1]
    said = tiny.log.count("worker: ")
    os.kill(tiny.summary()["workers"][0], signal.SIGKILL)
    eventually(lambda: tiny.log.count("worker: ") > said, "another is there")
    assert tiny.log.count("worker: idle_timeout_s 30, keys [1]") == tiny.log.count("worker: ") == 3


def test_a_drain_waits_for_the_last_work(tiny: Tiny) -> None:
    busy = tiny.mark("busy")
    tiny.start()
    tiny.signal(signal.SIGTERM)
    eventually(lambda: tiny.state() == "draining", "it drains")
    assert tiny.get("/readyz")[0] == 503
    assert "draining: no new things, existing ones are carried for up to 60 s; a second" in tiny.log
    assert "goodbye" not in tiny.log
    busy.unlink()
    assert tiny.wait() == 0
    assert tiny.log.count("goodbye") == 2


def test_signals_to_every_process_of_the_service_are_the_supervisors_to_act_on(tiny: Tiny) -> None:
    """systemd sends SIGTERM to the whole control group, and people use pkill."""
    busy = tiny.mark("busy")
    tiny.start()
    workers = tiny.summary()["workers"]
    for number in (signal.SIGHUP, signal.SIGTERM):
        for pid in workers:
            os.kill(pid, number)
        tiny.signal(number)
    eventually(lambda: tiny.state() == "draining", "it drains")
    eventually(lambda: tiny.log.count("worker: idle_timeout_s") == 4, "both have been told of the reload")
    assert tiny.summary()["workers"] == workers
    assert all(map(is_running, workers))
    busy.unlink()
    assert tiny.wait() == 0
    assert tiny.log.count("goodbye") == 2


def test_a_drain_ends_at_its_limit_which_a_reload_may_change(tiny: Tiny) -> None:
    tiny.mark("busy")
    tiny.start()
    tiny.configure(drain_timeout_s=0.2)
    tiny.signal(signal.SIGHUP)
    eventually(lambda: "reloaded" in tiny.log, "reloaded")
    tiny.signal(signal.SIGTERM)
    assert tiny.wait() == 0
    assert "carried for up to 0.2 s" in tiny.log
    assert tiny.log.count("goodbye") == 2


@pytest.mark.parametrize(("second", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_second_signal_ends_a_drain(tiny: Tiny, second: signal.Signals, status: int) -> None:
    tiny.mark("busy")
    tiny.start()
    tiny.signal(signal.SIGTERM)
    eventually(lambda: tiny.state() == "draining", "it drains")
    tiny.signal(second)
    assert tiny.wait() == status
    assert tiny.log.count("goodbye") == 2
    assert ("ended before the drain was over" in tiny.log) == (second == signal.SIGTERM)


def test_a_signal_that_ends_it_at_once(tiny: Tiny) -> None:
    tiny.mark("busy")
    tiny.start()
    workers = tiny.summary()["workers"]
    tiny.signal(signal.SIGINT)
    assert tiny.wait() == 130
    assert not any(map(is_running, workers))


def test_one_that_ends_at_once_is_not_fit_and_does_not_drain(tiny: Tiny) -> None:
    """So a checker bears it, as long as it is back soon; a drain withdraws at once."""
    tiny.start()
    for worker in tiny.summary()["workers"]:
        os.kill(worker, signal.SIGSTOP)  # so that it takes a moment
    tiny.signal(signal.SIGINT)
    said: list[tuple[int, str, str | None]] = []

    def is_unfit() -> bool:
        said.append(tiny.get("/readyz"))
        return said[-1][0] == 503

    eventually(is_unfit, "it is not fit")
    assert '"state": "ready"' in said[-1][1]
    assert tiny.wait() == 130


def test_workers_that_cannot_start_end_it(tiny: Tiny) -> None:
    tiny.mark("broken")
    tiny.spawn()
    assert tiny.wait() == 1
    assert "ended while the workers were starting (exit status 1)" in tiny.log


def test_a_status_port_that_is_taken_is_named_with_its_setting(tiny: Tiny) -> None:
    with socket.create_server(tiny.status):
        tiny.spawn()
        assert tiny.wait() == 1
    assert tiny.log == f"relay.metrics: cannot listen on {tiny.status}: Address already in use\n"
