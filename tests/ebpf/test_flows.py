"""The mark by which a flow tells its own ufrag from another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ebpf.flows import ufrag_mark
from ebpf.layout import FOLD_MULTIPLIER
from tests.ebpf.rig import OTHER_UFRAG, UFRAG

UFRAGS = st.binary(min_size=28, max_size=28)


@given(UFRAGS)
def test_a_mark_is_the_upper_half_of_a_product(ufrag: bytes) -> None:
    mark = ufrag_mark(ufrag)
    assert 0 <= mark < 1 << 32
    tail = sum(byte << 8 * place for place, byte in enumerate(ufrag[20:]))
    assert mark == tail * FOLD_MULTIPLIER % (1 << 64) >> 32


@given(UFRAGS, UFRAGS)
def test_only_the_tag_decides(ufrag: bytes, other: bytes) -> None:
    assert ufrag_mark(other[:20] + ufrag[20:]) == ufrag_mark(ufrag)


def test_two_tokens_have_two_marks() -> None:
    assert ufrag_mark(UFRAG) != ufrag_mark(OTHER_UFRAG)
