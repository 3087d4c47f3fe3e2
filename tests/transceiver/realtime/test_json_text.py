"""transceiver.realtime.json_text: what is taken can be written again, merged and copied."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.realtime.json_text import MAX_DEPTH, decode_object_untrusted

BAD = {
    "nothing": "",
    "array": "[]",
    "number": "1",
    "NaN": '{"a": NaN}',
    "infinity": '{"a": -Infinity}',
    "infinity by its exponent": '{"a": [1e999]}',
    "huge number": '{"a": ' + "9" * 5_000 + "}",
    "no UTF-8": b'{"a": "\xff"}',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - that it is one is all there is to it
        decode_object_untrusted(text)


@pytest.mark.parametrize(("begin", "end"), [('{"a":', "}"), ("[", "]")], ids=["objects", "arrays"])
def test_the_bound_of_depth_is_kept_up_to_where_the_interpreter_gives_up(begin: str, end: str) -> None:
    def nested(depth: int) -> str:
        return f'{{"x": {begin * depth}1{end * depth}}}'

    assert json.dumps(decode_object_untrusted(nested(MAX_DEPTH - 1)))
    for depth in (MAX_DEPTH, *range(850, 1050), 10_000, 50_000):
        with pytest.raises(ValueError):  # noqa: PT011
            decode_object_untrusted(nested(depth))


plain = st.none() | st.booleans() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(max_size=5), plain | st.lists(plain, max_size=3), max_size=3))
def test_what_is_taken_is_whole(value: dict[str, object]) -> None:
    assert decode_object_untrusted(json.dumps(value)) == value
