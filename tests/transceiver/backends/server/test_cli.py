"""`voxpop backend` as it is typed."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.core.service.cli.kit import voxpop
from tests.paths import ROOT
from voxpop import build_parser


def parrot(*options: str) -> subprocess.CompletedProcess[str]:
    """As a process of its own: it gives up the rights of the one that it runs in."""
    return voxpop("backend", "parrot", *options, cwd=ROOT)


def test_strangers_need_keys() -> None:
    ended = parrot("--listen", "0.0.0.0:0")
    assert ended.returncode == 1
    assert "--api-keys FILE" in ended.stderr


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = parrot("--listen", f"127.0.0.1:{port}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"voxpop: --listen: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_keys_that_cannot_be_read_end_it(tmp_path: Path) -> None:
    ended = parrot("--listen", "127.0.0.1:0", "--api-keys", str(tmp_path / "none"))
    assert ended.returncode == 1
    assert "cannot be read" in ended.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--listen", "here"),
        ("--max-sessions", "0"),
        ("--drain-timeout", "-1"),
        ("--speed", "0"),
        ("--speed", "x"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(options: tuple[str, str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["backend", "parrot", *options])
