"""Loaded programs by descriptor and by id."""

from __future__ import annotations

import os

import pytest

from ebpf.errors import MapError
from ebpf.kernel.programs import open_program, program_info
from ebpf.loader import Program
from tests.ebpf.rig import Rig


def test_a_program_is_found_again_by_its_id(rig: Rig) -> None:
    told = {program: program_info(fd) for program, fd in rig.loaded.fds.items()}
    assert len({info.id for info in told.values()}) == len(told)
    for info in told.values():
        again = open_program(info.id)
        assert program_info(again) == info
        os.close(again)
    assert told[Program.BACKBONE].name.startswith("voxpop_")


def test_what_is_no_program_is_refused(rig: Rig) -> None:
    with pytest.raises(MapError, match="cannot open program 4294967295"):
        open_program(0xFFFFFFFF)
    with pytest.raises(MapError, match="cannot ask what a program is"):
        program_info(-1)
