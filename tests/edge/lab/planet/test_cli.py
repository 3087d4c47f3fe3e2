"""`voxpop lab` as people type it, where the lab is a planet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.lab.planet import spec
from edge.lab.planet.planet import API_KEY_VARIABLE, Planet
from tests.edge.lab.kit import status, voxpop
from tests.edge.lab.planet.kit import SMALL
from transceiver.caller.limits import KEY_VARIABLE

pytestmark = pytest.mark.netns


def test_the_file_that_is_built_in_is_printed_to_begin_ones_own_with() -> None:
    printed = voxpop("planet")
    assert printed.returncode == 0
    assert spec.parse(printed.stdout) == spec.default()


def test_a_file_that_is_wrong_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(SMALL + "[wan]\nloss = 7\n")
    refused = voxpop("up", "--planet", str(path), "--name", "nowhere")
    assert refused.returncode == 1
    assert f"{path}: wan.loss must be a number, 0–1" in refused.stderr
    missing = voxpop("up", "--planet", str(tmp_path / "missing"), "--name", "nowhere")
    assert "missing: cannot be read: No such file or directory" in missing.stderr


def test_a_planet_is_shown_place_by_place(planet: Planet) -> None:
    found = status(planet.name)
    assert [each["place"] for each in found["places"]] == [*planet.places(), "wan"]
    assert found["urls"] == {"europe/1": planet.city("tokyo").url("europe")}
    host = next(each for each in found["places"] if each["place"] == "pop-frankfurt-1")
    assert host["bgp"] == {"sessions": 2, "established": 2}
    (nic,) = (each for each in host["interfaces"] if each["name"] == "eth0")
    assert (nic["xdp"], nic["is_up"]) == ("native", True)
    shown = voxpop("status", "--name", planet.name)
    assert f"lab {planet.name}, a planet: call europe/1 http://" in shown.stdout


def test_a_command_runs_in_its_place_and_finds_the_key_in_a_city(planet: Planet) -> None:
    name = ["--name", planet.name]
    inside = voxpop("exec", *name, "city-tokyo", "--", "printenv", API_KEY_VARIABLE)
    assert inside.stdout.strip() == planet.api_key
    assert API_KEY_VARIABLE == KEY_VARIABLE, "where `voxpop call` looks"
    address = voxpop("exec", *name, "pop-tokyo-1", "--", "ip", "-j", "addr", "show", "eth0")
    addresses = {each["local"] for each in json.loads(address.stdout)[0]["addr_info"]}
    assert set(planet.host("tokyo/1").uplinks[0]) < addresses
    nowhere = voxpop("exec", *name, "pop-tokio", "--", "true")
    assert (nowhere.returncode, "has no place pop-tokio; did you mean pop-tokyo?" in nowhere.stderr) == (
        1,
        True,
    )


def test_options_of_other_labs_are_refused() -> None:
    for words in (
        ["--client", "host"],
        ["--forwarder", "userspace"],
        ["--family", "6"],
        ["--backbones", "2"],
    ):
        refused = voxpop("up", "--planet", "--name", "nowhere", *words)
        assert refused.returncode == 2
        assert f"{words[0]} is not for planets" in refused.stderr
