"""A number means one thing as long as a flow may refer to it."""

from __future__ import annotations

import pytest

from ebpf.errors import DataplaneError
from edge.host.identities import assign

NONE, A, B, C = bytes(4), b"aaaa", b"bbbb", b"cccc"


@pytest.mark.parametrize(
    ("wanted", "there", "in_use", "numbers"),
    [
        ([A, B], [NONE, NONE, NONE], set(), [0, 1]),
        ([B, A], [A, B, NONE], {0, 1}, [1, 0]),
        ([C], [A, NONE, B], set(), [1]),
        ([C], [A, B], {0}, [1]),
        ([A, C], [A, B, NONE], {1}, [0, 2]),
    ],
    ids=["fresh", "in another order", "an unused one first", "what no flow needs", "beside one in use"],
)
def test_who_has_a_number_keeps_it(
    wanted: list[bytes], there: list[bytes], in_use: set[int], numbers: list[int]
) -> None:
    assert assign(wanted, there, in_use, "VIPs") == numbers


def test_flows_of_old_ones_are_not_sent_astray_for_a_new_one() -> None:
    with pytest.raises(DataplaneError, match="VIPs have changed while flows still use the old ones"):
        assign([C], [A, B], {0, 1}, "VIPs")
