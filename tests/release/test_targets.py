"""Which locked packages a Python wants, and by which platforms its wheels go."""

from __future__ import annotations

import pytest
from packaging.tags import cpython_tags
from packaging.utils import parse_wheel_filename

from release.targets import Target, pinned

DEBIAN_12, DEBIAN_13 = Target("3.11", "x86_64"), Target("3.13", "x86_64")
EXPORT = """\
# Made by uv.
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via redis
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:cc
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
uvloop==0.23.0 \\
    --hash=sha256:ee
win-inet-pton==1.1.0 ; sys_platform == 'win32' \\
    --hash=sha256:ff
"""


def test_each_python_gets_what_its_markers_say() -> None:
    assert [each.line() for each in pinned(EXPORT, DEBIAN_12)] == [
        "async-timeout==5.0.1 --hash=sha256:aa --hash=sha256:bb",
        "numpy==2.4.6 --hash=sha256:cc",
        "uvloop==0.23.0 --hash=sha256:ee",
    ]
    assert [each.line() for each in pinned(EXPORT, DEBIAN_13)] == [
        "numpy==2.5.5 --hash=sha256:dd",
        "uvloop==0.23.0 --hash=sha256:ee",
    ]


@pytest.mark.parametrize("line", ["numpy>=2 --hash=sha256:aa", "numpy==2.4.6"])
def test_what_is_not_pinned_by_version_and_hash_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="numpy is not pinned"):
        list(pinned(line, DEBIAN_12))


@pytest.mark.parametrize(
    ("wheel", "is_taken"),
    [
        ("av-18.1.0-cp311-abi3-manylinux_2_28_x86_64.whl", True),
        ("siphashc-2.9.1-cp310-abi3-manylinux1_x86_64.manylinux_2_5_x86_64.whl", True),
        ("x-1-cp311-cp311-manylinux_2_36_x86_64.whl", True),
        ("x-1-cp311-cp311-manylinux_2_37_x86_64.whl", False),
        ("x-1-cp311-cp311-musllinux_1_2_x86_64.whl", False),
        ("x-1-cp311-cp311-manylinux_2_28_aarch64.whl", False),
        ("x-1-cp313-cp313-manylinux_2_28_x86_64.whl", False),
    ],
)
def test_wheels_are_those_that_debian_12_can_run(wheel: str, is_taken: bool) -> None:
    taken = set(cpython_tags((3, 11), ["cp311"], DEBIAN_12.platforms))
    assert bool(taken & parse_wheel_filename(wheel)[3]) == is_taken
