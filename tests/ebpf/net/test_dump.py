"""Dumps of rtnetlink, as bytes and as the kernel gives them."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.errors import DataplaneError
from ebpf.net.dump import attributes, dump, request, split


def test_a_request_is_what_the_kernel_wants() -> None:
    """nlmsghdr of linux/netlink.h: length, type, NLM_F_REQUEST | NLM_F_DUMP, sequence, port."""
    header = "1c0000001a0001030100000000000000"
    assert request(26, b"\x02" + bytes(11)).hex() == header + "02" + "00" * 11


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20), max_size=8))
def test_attributes_come_out_as_they_went_in(rows: dict[int, bytes]) -> None:
    """Padded to four bytes each, with flags above their types."""
    packed = b"head"
    for kind, value in rows.items():
        packed += (4 + len(value)).to_bytes(2, "little") + (kind | 0x8000).to_bytes(2, "little") + value
        packed += bytes(-len(packed) % 4)
    assert attributes(packed, 4) == rows


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=20)), max_size=8))
def test_messages_come_out_as_they_went_in(rows: list[tuple[int, bytes]]) -> None:
    packed = b""
    for kind, body in rows:
        packed += (16 + len(body)).to_bytes(4, "little") + kind.to_bytes(2, "little") + bytes(10) + body
        packed += bytes(-len(packed) % 4)
    assert list(split(packed)) == rows


@pytest.mark.parametrize("length", [0, 3, 15])
def test_lengths_without_sense_are_refused(length: int) -> None:
    """They would be gone through for ever."""
    with pytest.raises(DataplaneError, match="without sense"):
        list(split(length.to_bytes(4, "little") + bytes(16)))
    with pytest.raises(DataplaneError, match="without sense"):
        attributes(min(length, 3).to_bytes(2, "little") + bytes(6), 0)


def test_what_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
        list(dump(0x7FF0, bytes(8)))
