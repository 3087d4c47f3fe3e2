"""What is read of what daemons say of themselves."""

from __future__ import annotations

import pytest

from tests.acceptance.daemons import Keys, Status, status, version
from tests.acceptance.errors import UnmetError

SAID = (
    '{"daemon": "relay", "work": "flows", "state": "draining", "left": 1, "drain": {"remaining_s": 599.2}, '
    '"keys": {"ids": [1, 2], "mint_with": 2}}\n'
)
METRICS = """\
# HELP voxpop_build_info The build.
# TYPE voxpop_build_info gauge
voxpop_build_info{commit="31f44b0e4",python="3.11.2",schema="6",version="0.1.0+g31f44b0e4.next"} 1.0
"""


def test_the_status_is_read() -> None:
    assert status(SAID) == Status("draining", 1, Keys((1, 2), 2))


@pytest.mark.parametrize("said", ["", "[]", '{"state": "ready"}'], ids=["nothing", "a list", "a part"])
def test_another_text_is_no_status(said: str) -> None:
    with pytest.raises(UnmetError, match="no status"):
        status(said)


def test_the_version_is_read() -> None:
    assert version(METRICS) == "0.1.0+g31f44b0e4.next"
    with pytest.raises(UnmetError, match="no voxpop_build_info"):
        version(METRICS.replace("build_info", "info"))
