"""JSON that others have written, as far as we can work with it: bounded in depth, and without what RFC 8259
does not have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

MAX_DEPTH: Final = 64
"""Of objects and arrays in one another, which are merged, copied and written by recursion. A JSON schema of a
tool's parameters may be deep, but not as deep.
"""


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
    if not isinstance(value, Mapping | list):
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return depth > 0 and all(is_shallow(each, depth - 1) for each in inner)


def _refuse_constant(name: str) -> float:
    """NaN and infinities, which Python reads and would write, and RFC 8259 §6 does not have."""
    raise ValueError(name)


def _finite(text: str) -> float:
    """Python reads `1e999` as infinity, which it would write as a word."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
