"""Processes that are started without standard files, or with ones that take nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.service.files import load_masters
from tests.paths import ROOT

PATIENCE_S = 60.0


def sh(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run by a shell, which can close descriptors; `voxpop` is $0."""
    command = ["bash", "-c", script, f"{sys.executable} -m voxpop", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"])
def test_what_is_closed_at_the_start_is_dev_null(closed: str, tmp_path: Path) -> None:
    """The first file that is opened must not become standard error."""
    code = (
        "import os, sys; from core.service import standard_files; standard_files.ensure_open();"
        "opened = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT);"
        "print('out'); print('a traceback', file=sys.stderr); sys.stdout.flush(); sys.stderr.flush();"
        "assert opened > 2; assert sys.stdin is not None; os._exit(7)"
    )
    script = f'exec {sys.executable} -c "$1" "$2" {closed}'
    done = sh(script, code, tmp_path / "counters")
    assert done.returncode == 7, done.stderr
    assert (tmp_path / "counters").read_bytes() == b""


def test_a_failure_without_standard_error_goes_nowhere(tmp_path: Path) -> None:
    done = sh("exec $0 config check /no/such/file 2>&-")
    assert (done.returncode, done.stdout) == (1, "")


def test_keys_that_were_rotated_are_told_even_when_the_disk_is_full(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    assert sh("exec $0 keys new $1", keys).returncode == 0
    done = sh("exec $0 keys rotate $1 > /dev/full", keys)
    assert done.returncode == 1
    assert done.stderr == (
        "voxpop: standard output cannot be written to: No space left on device; "
        f"done nonetheless: {keys}: mints with the new key 2; reload relays first, then transceivers\n"
    )
    masters, mint_with = load_masters(keys)
    assert (sorted(masters), mint_with) == ([1, 2], 2)
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]


def test_a_page_that_cannot_be_printed_is_a_sentence() -> None:
    done = sh("exec $0 config reference > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("voxpop: No space left on device; `df` shows")
    assert done.stderr.count("\n") == 1


def test_an_api_key_that_could_not_be_told_is_not_kept(tmp_path: Path) -> None:
    keys = tmp_path / "api-keys.toml"
    for is_first in (True, False):
        before = keys.read_text() if keys.exists() else None
        done = sh("exec $0 api-key new $1 shop > /dev/full", keys)
        assert done.returncode == 1
        assert done.stderr == (
            "voxpop: the key cannot be told, so it was not kept: No space left on device\n"
        )
        assert (keys.read_text() if keys.exists() else None) == before
        if is_first:
            assert sh("exec $0 api-key new $1 other", keys).returncode == 0
