"""The emergency level of a relay that runs: an operator's word, and everything that tells of it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.edge.kit import DTLS, MEDIA, eventually
from tests.edge.xdp_scene import Call, Pop, verdict

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def level(pop: Pop) -> tuple[int, int]:
    """By an operator, by load."""
    samples = pop.samples()
    return samples["fastpath_emergency", "operator"], samples["fastpath_emergency", "load"]


def test_an_operator_raises_it_and_calls_go_on(pop: Pop) -> None:
    told = pop.scene.directory / "told"
    hook = pop.scene.directory / "hook"
    hook.write_text(f'#!/bin/sh\necho "$1 $VOXPOP_EMERGENCY_BY $VOXPOP_POP" >> {told}\n')
    hook.chmod(0o700)
    pop.dataplane["emergency_hook"] = str(hook)
    pop.write_config()
    assert pop.process is not None
    pop.process.send_signal(signal.SIGHUP)
    pop.wait_for_log("reloaded")

    assert pop.succeed("dataplane", "emergency", "status") == (
        "emergency: auto, not raised; 0 packets/s too many\n"
    )
    call = Call(pop).begin()
    assert pop.succeed("dataplane", "emergency", "on").startswith("emergency: on, raised by operator")
    call.exchange(3)
    other = Call(pop).begin()  # by a valid token
    other.exchange()
    stranger = pop.scene.peer(pop.scene.client, "203.0.113.2")
    before = verdict(pop, "drop_emergency_media")
    for payload in (MEDIA, DTLS):
        stranger.send(payload, call.vip)
    eventually(lambda: verdict(pop, "drop_emergency_media") == before + 2, "the program drops both")
    assert pop.summary()["emergency"] == "operator"
    assert level(pop) == (1, 0)
    doctor = pop.run("doctor")
    assert "note    emergency: raised" in doctor.stdout
    assert "FAILED  packet" not in doctor.stdout
    eventually(lambda: told.exists() and told.read_text() == "raised operator test\n", "the hook is run")

    assert json.loads(pop.succeed("dataplane", "emergency", "off", "--json"))["by"] is None
    assert "emergency" not in pop.summary()
    assert level(pop) == (0, 0)
    eventually(lambda: told.read_text().endswith("lowered operator test\n"), "the hook is run again")
    assert "emergency lowered" in pop.log.read_text()


def test_a_relay_that_is_killed_leaves_it_raised_until_there_was_calm(pop: Pop) -> None:
    pop.succeed("dataplane", "emergency", "on")
    pop.kill()
    (pop.scene.pins / "punt_tokens").unlink()  # as a program has it that is older than the relay
    pop.start()
    assert pop.summary()["forwarder"] == "xdp"
    assert pop.summary()["emergency"] == "load"
    tables = pop.scene.tables()
    assert tables.is_emergency
    tables.close()
    pop.succeed("dataplane", "emergency", "off")
    assert level(pop) == (0, 0)
