"""The name of a disk, by what it is made of."""

from __future__ import annotations

import dataclasses

import pytest

from tests.acceptance.recipe import HOST, KERNEL_TESTS, Recipe


def test_the_same_recipe_has_the_same_key_in_every_process() -> None:
    recipe = Recipe("host", "bookworm", ("a", "b"), files=(("/etc/x", "y\n"),), units=("ssh",), size_mib=100)
    assert recipe.key == "host-bookworm-e2a69feb7f50"


@pytest.mark.parametrize(
    "change",
    [
        {"packages": (*HOST.packages, "more")},
        {"suite": "trixie"},
        {"files": HOST.files[1:]},
        {"size_mib": 1},
        {"base": KERNEL_TESTS},
    ],
    ids=["packages", "suite", "files", "size", "base"],
)
def test_whatever_differs_makes_another_disk(change: dict[str, object]) -> None:
    assert dataclasses.replace(HOST, **change).key != HOST.key  # type: ignore[arg-type]


def test_a_host_comes_without_anything_that_the_roles_install() -> None:
    assert not {"python3-bpfcc", "bpftool", "bird2", "haproxy", "python3-venv"} & set(HOST.packages)
    assert KERNEL_TESTS.base == HOST
