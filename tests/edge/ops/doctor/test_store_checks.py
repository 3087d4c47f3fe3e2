"""edge.ops.doctor.store_checks against real servers, well and not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.ops.doctor.checks import Check, Status
from edge.ops.doctor.store_checks import check
from tests.redis_server import Server, running

CONFIG = '[token]\nkeys_file = "keys.toml"\n'


def checked(folder: Path, table: str) -> list[Check]:
    path = folder / "voxpop.toml"
    path.write_text(CONFIG + table)
    return list(check(path))


def test_without_a_store_nothing_is_said(tmp_path: Path) -> None:
    assert checked(tmp_path, "") == []


def test_one_that_can_be_used(tmp_path: Path) -> None:
    with running(Server(tmp_path / "redis")) as redis:
        table = f'[store]\nurl = "{redis.url}"\ntimeout_ms = 1000\n'
        told, heard = checked(tmp_path, table)
        assert told.status is Status.OK
        assert told.finding.startswith(f"redis at 127.0.0.1:{redis.port}: read and written in ")
        assert (heard.status, heard.finding) == (Status.NOTE, "of 0 PoP hosts and 0 transceiver hosts")
        redis.cli("ZADD", "voxpop:1:pop-hosts", "1", "fra:a", "2", "fra:gone")
        redis.cli("SET", "voxpop:1:pop:fra:a", "whatever it says")
        _, heard = checked(tmp_path, table)
        assert heard.status is Status.OK
        assert heard.finding.startswith("of 1 PoP hosts and 0 transceiver hosts")


def test_rights_from_before_there_were_heartbeats_are_too_few(tmp_path: Path) -> None:
    options = ("--user", "default", "on", "nopass", "~voxpop:1:*", "-@all", "+set", "+getrange", "+ping")
    with running(Server(tmp_path / "redis", options)) as redis:
        told, heard = checked(tmp_path, f'[store]\nurl = "{redis.url}"\ntimeout_ms = 1000\n')
    assert told.status is Status.OK
    assert heard.status is Status.FAILED
    assert "denied" in heard.finding
    assert "docs/redis.md" in heard.fix


@pytest.mark.parametrize(
    ("options", "reason", "fix"),
    [
        (("--requirepass", "secret"), "denied", "store.password_file"),
        (("--maxmemory", "1"), "full", "maxmemory"),
        (("--replicaof", "127.0.0.1", "1"), "read_only", "primary"),
        (("--rename-command", "GETRANGE", ""), "unsupported", "upgrade"),
    ],
    ids=["locked", "full", "replica", "old"],
)
def test_one_that_cannot_is_named_with_the_fix(
    tmp_path: Path, options: tuple[str, ...], reason: str, fix: str
) -> None:
    with running(Server(tmp_path / "redis", options)) as redis:
        (told,) = checked(tmp_path, f'[store]\nurl = "{redis.url}"\ntimeout_ms = 1000\n')
    assert told.status is Status.FAILED
    assert f": {reason}: " in told.finding
    assert fix in told.fix


def test_one_that_is_not_there_and_a_password_that_others_can_read(tmp_path: Path) -> None:
    (told,) = checked(tmp_path, '[store]\nurl = "redis://127.0.0.1:1"\n')
    assert (told.status, told.finding.split(": ")[1]) == (Status.FAILED, "unreachable")
    (tmp_path / "password").write_text("secret")
    (told,) = checked(tmp_path, '[store]\nurl = "redis://127.0.0.1:1"\npassword_file = "password"\n')
    assert told.status is Status.FAILED
    assert "others can read it" in told.finding
