"""A daemon in a place: started, told, asked, ended."""

from __future__ import annotations

import pytest

from core.errors import ConfigError, UnavailableError
from edge.lab.planet.planet import Planet
from edge.lab.planet.speaker import until

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_a_relay_is_killed_with_all_of_its_processes_and_started_again(planet: Planet) -> None:
    host = planet.host("tokyo/1")
    relay = host.relay
    first = relay.pid
    assert first is not None
    assert sum("relay" in each.command for each in host.processes()) >= 2
    relay.kill()
    assert relay.pid is None
    assert not [each for each in host.processes() if "relay" in each.command]
    assert relay.is_ready() is False
    with pytest.raises(UnavailableError, match=r"relay in \S+ does not answer"):
        relay.health()
    with pytest.raises(UnavailableError, match=r"no relay runs in"):
        relay.reload()
    relay.start()
    assert relay.pid not in (None, first)
    relay.stop()
    assert relay.pid is None
    relay.start()
    host.until_announced()


def test_another_who_looks_finds_it_too(planet: Planet) -> None:
    pid = planet.host("tokyo/1").relay.pid
    assert pid is not None
    assert Planet(planet.layout).host("tokyo/1").relay.pid == pid


def test_settings_are_changed_and_adopted_or_refused(planet: Planet) -> None:
    relay = planet.host("tokyo/1").relay
    before = relay.config_path.read_text()
    relay.configure(relay={"idle_timeout_s": 21})
    relay.reload()
    with pytest.raises(ConfigError, match=r"relay\.idle_timeout_s must be"):
        relay.configure(relay={"idle_timeout_s": 0})
    assert "idle_timeout_s = 21" in relay.config_path.read_text()
    relay.config_path.write_text("nonsense")
    with pytest.raises(UnavailableError, match=r"refuses:[^$]*reload refused"):
        relay.reload()
    relay.config_path.write_text(before)
    relay.reload()


def test_it_drains_and_takes_that_back(planet: Planet) -> None:
    relay = planet.host("tokyo/1").relay
    assert relay.drain_status()["state"] == "ready"
    assert relay.drain(600)["state"] == "draining"
    assert not relay.is_ready()
    assert relay.undrain()["state"] == "ready"
    assert relay.is_ready()
    planet.host("tokyo/1").until_announced()


def test_a_drain_that_ends_it_can_be_waited_for(planet: Planet) -> None:
    transceiver = planet.transceiver("europe/1").transceiver
    transceiver.terminate()
    transceiver.wait(30)
    assert transceiver.pid is None
    assert "Traceback" not in transceiver.log()
    transceiver.start()
    until(transceiver.is_ready, "it is ready")


def test_metrics_are_numbers_by_name_and_labels(planet: Planet) -> None:
    told = planet.host("tokyo/1").relay.metrics()
    assert told['voxpop_daemon_state{state="ready"}'] == 1
