"""`voxpop drain` and `undrain`, where no daemon is: usage, words, and whom the configuration names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.service.cli.drain import in_words
from tests.core.service.admin.kit import answering_once
from tests.core.service.cli.kit import voxpop

STATUS = {"daemon": "transceiver", "work": "calls", "state": "draining", "left": 12}
DRAIN = {"oldest_s": 310.4, "remaining_s": 3125.0, "since_s": 5.0, "is_done": False, "is_last": False}


@pytest.mark.parametrize(
    ("drain", "words"),
    [
        (None, "transceiver: draining, 12 calls"),
        ({}, "transceiver: draining, 12 calls left, the oldest of 5m10s; 52m05s until they are ended"),
        ({"oldest_s": None}, "transceiver: draining, 12 calls left; 52m05s until they are ended"),
        (
            {"oldest_s": None, "is_last": True},
            "transceiver: draining, 12 calls left; 52m05s until they are ended, and the daemon with them",
        ),
        ({"oldest_s": None, "remaining_s": 0}, "transceiver: draining, 12 calls left; they are being ended"),
        ({"is_done": True}, "transceiver: drained, no calls left"),
    ],
    ids=["none", "whole", "no age", "last", "over", "done"],
)
def test_in_words(drain: dict[str, object] | None, words: str) -> None:
    assert in_words(STATUS | {"drain": None if drain is None else DRAIN | drain}) == words


@pytest.fixture
def addressed(site: Path) -> Path:
    """A site whose daemons have their admin sockets beside the configuration."""
    config = site / "voxpop.toml"
    text = config.read_text()
    for daemon in ("relay", "transceiver"):
        text = text.replace(f"[{daemon}]\n", f'[{daemon}]\nadmin_socket = "{daemon}.sock"\n')
    config.write_text(text)
    return site


@pytest.mark.parametrize("verb", ["drain", "undrain"])
@pytest.mark.parametrize("daemon", ["relay", "transceiver"])
def test_a_daemon_that_does_not_run_is_a_sentence(addressed: Path, verb: str, daemon: str) -> None:
    done = voxpop(verb, daemon, "--config", "voxpop.toml", cwd=addressed)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"voxpop: nobody listens at {daemon}.sock: no {daemon} runs with this configuration, or it has no "
        f"admin socket; its log says why ({daemon}.admin_socket)\n"
    )


def test_the_status_of_all_that_the_configuration_has(addressed: Path) -> None:
    done = voxpop("drain", "status", "--config", "voxpop.toml", cwd=addressed)
    assert done.returncode == 1
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [
        " nobody listens at relay.sock",
        " nobody listens at transceiver.sock",
    ]


def test_a_configuration_without_the_daemon_is_named(addressed: Path) -> None:
    config = addressed / "voxpop.toml"
    config.write_text(config.read_text().partition("[relay]")[0])
    done = voxpop("drain", "relay", "--config", "voxpop.toml", cwd=addressed)
    assert done.returncode == 1
    assert "voxpop.toml: [relay] is missing: which daemon is meant is said there" in done.stderr


@pytest.mark.parametrize(
    ("time", "says"), [("soon", "'soon' is no duration: write 90, 90s, 5m or 1h"), ("25h", "at most 24h00m")]
)
def test_wrong_usage(addressed: Path, time: str, says: str) -> None:
    done = voxpop("drain", "relay", "--for", time, "--config", "voxpop.toml", cwd=addressed)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize(("left", "status"), [(0, 0), (3, 1)])
def test_a_daemon_that_ends_while_it_is_waited_for(addressed: Path, left: int, status: int) -> None:
    """With nothing left it had nothing to wait for."""
    told = STATUS | {"daemon": "relay", "work": "flows", "left": left, "drain": DRAIN}
    body = json.dumps(told).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with answering_once(addressed / "relay.sock", answer):
        done = voxpop("drain", "relay", "--wait", "--config", "voxpop.toml", cwd=addressed)
    assert done.returncode == status
    assert done.stderr == ("" if left == 0 else "voxpop: the relay has ended with 3 flows left\n")
