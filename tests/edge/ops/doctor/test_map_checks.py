"""What `voxpop doctor` says of a PoP that works, of one where nothing is loaded, and of wrong keys."""

from __future__ import annotations

import json
import os

import pytest

from tests.edge.xdp_scene import CLIENTS, VIPS, Pop

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_the_doctor_finds_nothing_at_a_pop_that_works(pop: Pop) -> None:
    told = json.loads(pop.succeed("doctor", "--json"))
    assert told["ok"]
    checks = {check["name"]: check for check in told["checks"]}
    packets = {name: check["finding"] for name, check in checks.items() if name.startswith("packet: ")}
    assert len(packets) == 13
    assert packets["packet: IPv6, a forged token is dropped"] == "DROP"
    assert packets["packet: IPv4, a valid token goes to the relay"] == "PASS"
    assert {check["status"] for check in checks.values()} <= {"ok", "note"}


def test_the_doctor_before_anything_is_loaded(stopped: Pop) -> None:
    result = stopped.run("doctor", "--json")
    assert result.returncode == 5
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks["interface pub"]["fix"] == "`voxpop dataplane run`"
    assert checks["maps"]["status"] == "failed"
    assert checks["kernel"]["status"] == checks["bcc"]["status"] == "ok"


def test_the_doctor_finds_keys_that_differ_and_an_address_that_is_nowhere(pop: Pop) -> None:
    tables = pop.scene.tables()
    tables.config["token_key"][1]["k0"] ^= 1
    tables.close()
    pop.scene.ip(pop.scene.pop, "address", "del", f"{VIPS[0].host}/32", "dev", "pub")
    result = pop.run("doctor")
    assert result.returncode == 5
    assert "FAILED  keys: the fast path has another key under id 1, unlike token.keys_file" in result.stdout
    assert f"FAILED  vips: {VIPS[0].host}: no interface has it" in result.stdout
    assert CLIENTS[0] not in result.stdout
