"""core.service.daemon: drains by an operator's word, with the real verbs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.core.service.tiny_kit import PATIENCE_S, Tiny, eventually
from tests.paths import ROOT

pytestmark = pytest.mark.slow


def told(tiny: Tiny, *arguments: str) -> Any:
    """What a verb prints as JSON."""
    done = tiny.verb(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_drained_daemon_stays_and_can_be_undrained(tiny: Tiny) -> None:
    tiny.mark("busy")
    tiny.start()
    status = told(tiny, "drain", "relay")
    assert (status["state"], status["left"], status["work"]) == ("draining", 1, "things")
    assert 0 < status["drain"]["remaining_s"] <= 60
    assert status["keys"] == {"ids": [1], "mint_with": 1}
    code, body, _ = tiny.get("/readyz")
    assert (code, json.loads(body)["state"]) == (503, "draining")
    assert tiny.summary()["drain"]["left"] == 1
    assert "draining, as told: no new things, existing ones (1) are carried for up to 60 s" in tiny.log
    said = tiny.verb("drain", "status").stdout
    assert said.startswith("relay: draining, 1 things left; 5")
    status = told(tiny, "undrain", "relay")
    assert (status["state"], status["drain"]) == ("ready", None)
    assert tiny.get("/readyz")[0] == 200
    assert "drain" not in tiny.summary()
    eventually(lambda: tiny.log.count("drains no more") == 2, "the workers are told")
    assert told(tiny, "undrain", "relay")["state"] == "ready", "again"
    assert tiny.verb("drain", "status").stdout == "relay: ready, 1 things\n"


def test_what_is_said_in_an_earlier_drain_is_not_taken_for_this_one(tiny: Tiny) -> None:
    busy = tiny.mark("busy")
    tiny.start()
    told(tiny, "drain", "relay")
    told(tiny, "undrain", "relay")
    told(tiny, "drain", "relay")
    busy.unlink()
    eventually(lambda: tiny.summary()["drain"]["is_done"], "both say so of the second")
    assert tiny.log.count("drained: no things are left") == 1


def test_waiting_ends_when_nothing_is_left(tiny: Tiny) -> None:
    busy = tiny.mark("busy")
    tiny.start()
    command = [sys.executable, "-m", "voxpop", "drain", "relay", "--wait", "--config", str(tiny.config)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith("relay: draining, 1 things left; ")
        assert waiting.poll() is None
        busy.unlink()
        assert waiting.stdout.read().splitlines()[-1] == "relay: drained, no things left"
        assert waiting.wait(PATIENCE_S) == 0
    assert tiny.state() == "draining", "and the daemon stays"
    tiny.signal(signal.SIGTERM)
    assert tiny.wait() == 0, "with nothing left it ends at once"


def test_what_is_left_when_the_time_is_over_is_ended_and_the_daemon_stays(tiny: Tiny) -> None:
    busy = tiny.mark("busy")
    tiny.start()
    done = tiny.verb("drain", "relay", "--for", "0.2", "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "relay: drained, no things left"
    assert not busy.exists()
    assert "the drain's time is over: what is left is ended (1 things)" in tiny.log
    assert "goodbye" not in tiny.log
    assert told(tiny, "undrain", "relay")["state"] == "ready"


def test_given_again_it_has_another_time(tiny: Tiny) -> None:
    tiny.mark("busy")
    tiny.start()
    assert 7100 < told(tiny, "drain", "relay", "--for", "2h")["drain"]["remaining_s"] <= 7200
    assert told(tiny, "drain", "relay", "--for", "20")["drain"]["remaining_s"] <= 20
    assert tiny.verb("drain", "relay", "--for", "0", "--wait").returncode == 0


def test_a_worker_that_dies_in_a_drain_comes_back_draining(tiny: Tiny) -> None:
    busy = tiny.mark("busy")
    tiny.start()
    told(tiny, "drain", "relay")
    os.kill(tiny.summary()["workers"][0], signal.SIGKILL)
    eventually(lambda: "worker: begins in a drain" in tiny.log, "another is there")
    eventually(lambda: tiny.summary()["ready"] == 2, "it is ready")
    busy.unlink()
    eventually(lambda: tiny.summary()["drain"]["is_done"], "both are done")


def test_a_reload_keeps_a_drain_and_a_restart_ends_it(tiny: Tiny) -> None:
    tiny.start()
    told(tiny, "drain", "relay")
    tiny.signal(signal.SIGHUP)
    eventually(lambda: "reloaded" in tiny.log, "reloaded")
    assert tiny.state() == "draining"
    tiny.signal(signal.SIGTERM)
    assert tiny.wait() == 0
    tiny.start()
    assert tiny.state() == "ready"


def test_sigterm_after_a_drain_does_not_wait_longer_than_it_would_have(tiny: Tiny) -> None:
    tiny.configure(drain_timeout_s=0.5)
    tiny.mark("busy")
    tiny.start()
    told(tiny, "drain", "relay", "--for", "24h")
    tiny.signal(signal.SIGTERM)
    assert tiny.wait() == 0
    assert "carried for up to 0.5 s; a second signal ends at once" in tiny.log


def test_while_it_ends_by_a_signal_nothing_can_be_taken_back(tiny: Tiny) -> None:
    busy = tiny.mark("busy")
    tiny.start()
    tiny.signal(signal.SIGTERM)
    eventually(lambda: tiny.state() == "draining", "it drains")
    for arguments in (("undrain", "relay"), ("drain", "relay", "--for", "1h")):
        done = tiny.verb(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("voxpop: the relay is ending")
    assert ", and the daemon with them" in tiny.verb("drain", "status").stdout
    busy.unlink()
    assert tiny.wait() == 0


def test_one_that_ends_while_it_is_waited_for_is_said(tiny: Tiny) -> None:
    tiny.mark("busy")
    tiny.start()
    command = [sys.executable, "-m", "voxpop", "drain", "relay", "--wait", "--config", str(tiny.config)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        waiting.stdout.readline()
        tiny.signal(signal.SIGINT)
        assert waiting.stderr.read() == "voxpop: the relay has ended with 1 things left\n"
        assert waiting.wait(PATIENCE_S) == 1
    assert tiny.wait() == 130


def test_one_that_starts_cannot_be_drained_yet(tiny: Tiny) -> None:
    hold = tiny.mark("hold")
    tiny.spawn()
    eventually(lambda: tiny.state() == "starting", "it listens")
    done = tiny.verb("drain", "relay")
    assert done.returncode == 1
    assert done.stderr == "voxpop: the relay is starting: try again when it is ready\n"
    hold.unlink()
    eventually(lambda: tiny.state() == "ready", "it is ready")
