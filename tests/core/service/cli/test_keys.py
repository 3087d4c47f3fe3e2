"""`voxpop keys`, through the real command."""

from __future__ import annotations

import stat
from pathlib import Path

from core.service.files import load_masters
from tests.core.service.cli.kit import voxpop


def test_keys_new_makes_a_private_file_and_never_overwrites_one(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first = voxpop("keys", "new", path, cwd=tmp_path)
    assert (first.returncode, first.stdout, first.stderr) == (0, f"{path}: made, with key 1\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = voxpop("keys", "new", path, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"voxpop: {path}: exists, and is not overwritten; choose another name\n"
    assert path.read_bytes() == before


def test_two_files_have_different_keys(tmp_path: Path) -> None:
    for name in "ab":
        voxpop("keys", "new", name, cwd=tmp_path)
    assert load_masters(tmp_path / "a") != load_masters(tmp_path / "b")


def test_keys_rotate_adds_and_retires(site: Path) -> None:
    before, _ = load_masters(site / "keys.toml")
    rotated = voxpop("keys", "rotate", "keys.toml", cwd=site)
    assert rotated.returncode == 0
    assert rotated.stdout.startswith("keys.toml: mints with the new key 2; reload relays first")
    masters, mint_with = load_masters(site / "keys.toml")
    assert mint_with == 2
    assert masters.keys() == {1, 2}
    assert masters[1] == before[1]
    refused = voxpop("keys", "rotate", "keys.toml", "--retire", "2", cwd=site)
    assert (refused.returncode, refused.stderr) == (
        1,
        "voxpop: keys.toml: key 2 is the one to mint with; rotate first\n",
    )
    assert voxpop("keys", "rotate", "keys.toml", "--retire", "1", cwd=site).returncode == 0
    assert load_masters(site / "keys.toml") == ({2: masters[2]}, 2)
    unknown = voxpop("keys", "rotate", "keys.toml", "--retire", "1", cwd=site)
    assert unknown.stderr == "voxpop: keys.toml: has no key with id 1; there are: 2\n"
    assert stat.S_IMODE((site / "keys.toml").stat().st_mode) == 0o600


def test_keys_rotate_in_steps(site: Path) -> None:
    added = voxpop("keys", "rotate", "keys.toml", "--add", cwd=site)
    assert added.stdout == "keys.toml: key 2 waits; when all hosts know it: --switch\n"
    assert load_masters(site / "keys.toml")[1] == 1
    switched = voxpop("keys", "rotate", "keys.toml", "--switch", cwd=site)
    assert switched.stdout == "keys.toml: mints with key 2; reload transceivers and relays\n"
    assert load_masters(site / "keys.toml")[1] == 2


def test_key_ids_start_over_and_run_out(site: Path) -> None:
    lines = "\n".join(f'{i} = "{"A" * 43}="' for i in range(1, 32))
    (site / "keys.toml").write_text(f"mint_with = 31\n[master]\n{lines}\n")
    assert "new key 0;" in voxpop("keys", "rotate", "keys.toml", cwd=site).stdout
    full = voxpop("keys", "rotate", "keys.toml", cwd=site)
    assert full.stderr == "voxpop: keys.toml: has 32 keys, as many as there are ids; retire one first\n"
