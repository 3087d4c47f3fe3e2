"""`voxpop backend` as it is typed."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from voxpop import build_parser, main


def test_strangers_need_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backend", "parrot", "--listen", "0.0.0.0:0"]) == 1
    assert "--api-keys FILE" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "voxpop", "backend", "parrot", "--listen", f"127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"voxpop: --listen: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_keys_that_cannot_be_read_end_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backend", "parrot", "--listen", "127.0.0.1:0", "--api-keys", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err


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
