"""`voxpop pops`, asked of a real store."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.addr import parse_endpoint
from core.config import StoreSettings
from core.keyring import Keyring
from core.store.base import Place
from core.store.heartbeat import Heartbeat, HostState, PopHeartbeat, encode
from core.store.keys import HostKind
from core.store.open import open_guarded
from core.store.registry import Beat, Registry
from core.store_url import parse_store_url
from edge.ops.pops import _place
from tests.edge.kit import KEYRING, MASTERS, write_keys
from tests.redis_server import Server, running
from voxpop import main

PLACES = {"fra": (50.11, 8.68), "nrt": (35.68, 139.69)}
VIP = parse_endpoint("192.0.2.1:3478")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path / "redis")) as started:
        yield started


@pytest.fixture
def config(tmp_path: Path, server: Server) -> Path:
    write_keys(tmp_path / "keys.toml", {1: MASTERS[1]}, 1)
    path = tmp_path / "voxpop.toml"
    path.write_text(f'[token]\nkeys_file = "keys.toml"\n[store]\nurl = "{server.url}"\ntimeout_ms = 1000\n')
    return path


def fleet(server: Server, keyring: Keyring = KEYRING) -> None:
    """Two hosts in Frankfurt, one in Tokyo, and a transceiver."""

    async def write() -> None:
        registry = Registry(open_guarded(StoreSettings(url=parse_store_url(server.url), timeout_ms=1000)))
        now_s = time.time()
        for name, taken in (("fra:a", 100), ("fra:b", 900), ("nrt:a", 0)):
            pop = name.partition(":")[0]
            place = PLACES[pop]
            said = PopHeartbeat(
                int(now_s * 1000), HostState.READY, taken, 1000, "0.1.0", "xdp", place, (VIP,)
            )
            value = encode(said, HostKind.POP.heartbeat_key(name.encode()), keyring)
            where = Place(pop.encode(), place[1], place[0])
            await registry.write(HostKind.POP, Beat(name.encode(), value, now_s, where))
        draining = Heartbeat(int(now_s * 1000), HostState.DRAINING, 12, 800, "0.1.0")
        value = encode(draining, HostKind.TRANSCEIVER.heartbeat_key(b"1:7:40000"), keyring)
        await registry.write(HostKind.TRANSCEIVER, Beat(b"1:7:40000", value, now_s))
        await registry.store.close()

    asyncio.run(write())


def test_hosts_are_listed_with_load_and_state(
    server: Server, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet(server)
    assert main(["pops", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "POP", "HOST", "STATE", "LOAD", "FLOWS", "FORWARDER", "AGE", "VERSION", "VIPS",
    ]  # fmt: skip
    assert lines[2].split()[:6] == ["fra", "b", "ready", "90%", "900/1000", "xdp"]
    assert [line.split()[0] for line in lines[1:4]] == ["fra", "fra", "nrt"]
    assert lines[6].split()[:5] == ["1", "7:40000", "draining", "2%", "12/800"]


def test_pops_are_listed_by_their_distance_as_the_store_has_their_places(
    server: Server, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet(server)
    assert main(["pops", "--config", str(config), "--near", "34.69,135.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["nrt", "fra", "fra"]
    assert 390 < int(lines[1].split()[-1]) < 400, "Tokyo is as far from Osaka"
    assert main(["pops", "--config", str(config), "--near=34.69,135.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["pop"], each["host"], each["load"]) for each in told["pops"]] == [
        ("nrt", "a", 0.0), ("fra", "a", 0.1), ("fra", "b", 0.9),
    ]  # fmt: skip
    assert 390 < told["pops"][0]["km"] < 400
    [transceiver] = told["transceivers"]
    assert (transceiver["cluster"], transceiver["host"], transceiver["port"]) == ("1", "7", "40000")
    assert told["ignored"] == []


def test_what_is_not_to_be_believed_is_named_and_not_listed(
    server: Server, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet(server, Keyring({1: b"x" * 32}, 1))
    server.cli("SET", "voxpop:1:pop:evil:\x1b[31m", "1 1 x")
    server.cli("ZADD", "voxpop:1:pop-hosts", "1", "evil:\x1b[31m")
    assert main(["pops", "--config", str(config)]) == 1
    out = capsys.readouterr().out
    assert "no pop host lives" in out
    assert "ignored: pop host fra:a: bad_mac" in out
    assert "ignored: pop host evil:\\x1b[31m: malformed" in out
    assert "\x1b" not in out
    assert main(["pops", "--config", str(config), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {"kind": "pop", "name": "nrt:a", "reason": "bad_mac"} in told["ignored"]


def test_where_nobody_lives_or_nobody_can_be_asked_it_fails(
    server: Server, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pops", "--config", str(config)]) == 1
    assert capsys.readouterr().out.split("\n\n") == ["no pop host lives", "no transceiver host lives\n"]
    server.stop()
    assert main(["pops", "--config", str(config)]) == 1
    assert "unreachable" in capsys.readouterr().err
    config.write_text('[token]\nkeys_file = "keys.toml"\n')
    assert main(["pops", "--config", str(config)]) == 1
    assert "has no [store]" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["999,0", "0,181", "nan,0", "here", "1,2,3", ""])
def test_a_place_is_on_the_globe(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        _place(text)
