"""Keys files as they are made and changed: what is read back, and what a refusal leaves as it was."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from core.keyring import KEY_IDS, MASTER_BYTES
from core.service import keysfile
from core.service.files import create_secret, load_masters

SOME_MASTERS = st.dictionaries(
    st.sampled_from(list(KEY_IDS)), st.binary(min_size=MASTER_BYTES, max_size=MASTER_BYTES), min_size=1
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    keysfile.new(tmp_path / "keys.toml")
    return tmp_path / "keys.toml"


def test_a_new_file_has_one_random_key_and_is_for_its_owner_alone(path: Path, tmp_path: Path) -> None:
    masters, mint_with = load_masters(path)
    assert masters.keys() == {mint_with} == {keysfile.FIRST_KEY_ID}
    assert len(masters[mint_with]) == MASTER_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keysfile.new(tmp_path / "other.toml")
    assert load_masters(tmp_path / "other.toml")[0] != masters


@given(masters=SOME_MASTERS, data=st.data())
def test_what_is_rendered_reads_back(
    masters: dict[int, bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mint_with = data.draw(st.sampled_from(sorted(masters)))
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    create_secret(path, keysfile.render(masters, mint_with))
    assert load_masters(path) == (masters, mint_with)


def test_ids_go_up_and_around_past_those_in_use(path: Path) -> None:
    ids = [keysfile.rotate(path) for _ in range(len(KEY_IDS) - 1)]
    assert ids == [*range(2, len(KEY_IDS)), 0]
    keysfile.retire(path, 5)
    assert keysfile.rotate(path) == 5, "the one that is free"


def test_a_key_waits_until_it_is_switched_to(path: Path) -> None:
    before, _ = load_masters(path)
    assert [keysfile.add(path), keysfile.add(path)] == [2, 2], "again, one is enough"
    masters, mint_with = load_masters(path)
    assert (masters.keys(), mint_with, masters[1]) == ({1, 2}, 1, before[1])
    assert [keysfile.switch(path), keysfile.switch(path)] == [2, 2]
    assert load_masters(path) == (masters, 2)
    keysfile.retire(path, 1)
    assert keysfile.switch(path) == 2, "none waits"


def test_ids_that_go_around_wait_too(path: Path) -> None:
    for _ in KEY_IDS:
        _, old = load_masters(path)
        assert keysfile.add(path) == (old + 1) % len(KEY_IDS)
        assert keysfile.switch(path) == (old + 1) % len(KEY_IDS)
        keysfile.retire(path, old)


def test_among_many_keys_old_and_new_are_not_told_apart(path: Path) -> None:
    for _ in range(15):
        keysfile.rotate(path)
    for step in (keysfile.add, keysfile.switch):
        with pytest.raises(ConfigError, match=r"has 16 keys, .*retire some first"):
            step(path)


def test_what_is_refused_leaves_the_file_as_it_was(path: Path) -> None:
    refused: list[Callable[[], object]] = [
        lambda: keysfile.new(path),
        lambda: keysfile.retire(path, 1),
        lambda: keysfile.retire(path, 7),
    ]
    before = path.read_bytes()
    for attempt in refused:
        with pytest.raises(ConfigError):
            attempt()
        assert path.read_bytes() == before
