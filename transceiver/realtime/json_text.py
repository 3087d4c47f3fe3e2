"""JSON that others have written, as far as we can work with it: bounded in depth, and without what RFC 8259
does not have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

MAX_DEPTH: Final = 64
"""Of objects and arrays in one another, which are merged, copied and written by recursion. A JSON schema of a
tool's parameters may be deep, but not as deep.
"""
_PLAIN: Final = (str, int, float, type(None))
_CONTAINERS: Final = (dict, list, Mapping)


def decode_object_untrusted(text: str | bytes) -> dict[str, object]:
    """The object in a text. Raises ValueError for anything else, and where it is nested deeper than
    `MAX_DEPTH`: whoever reads less deep than the interpreter's limit could still not write it again.
    """
    try:
        parsed = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(parsed, dict) or not is_shallow(parsed, MAX_DEPTH):
        raise ValueError("no object, or nested too deep")
    return parsed


def is_shallow(value: object, depth: int) -> bool:
    """Whether JSON is nested less deep than `depth`. Walks no deeper than that itself."""
    level = _containers([value])
    for _ in range(depth):
        if not level:
            return True
        inner = (each if isinstance(each, list) else each.values() for each in level)
        level = _containers(chain.from_iterable(inner))
    return not level


def _containers(values: Iterable[object]) -> list[Mapping[str, object] | list[object]]:
    """Those of values that have others in them. An event may have 100 000 that have not, which all calls of
    the process wait for: that is why each costs no call, and no look at an abstract class.
    """
    return [each for each in values if not isinstance(each, _PLAIN) and isinstance(each, _CONTAINERS)]


def _refuse_constant(name: str) -> float:
    """NaN and infinities, which Python reads and would write, and RFC 8259 §6 does not have."""
    raise ValueError(name)


def _finite(text: str) -> float:
    """Python reads `1e999` as infinity, which it would write as a word."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
