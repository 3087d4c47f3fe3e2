"""Who has answered at the VIP."""

from __future__ import annotations

import pytest

from tests.acceptance.errors import UnmetError
from tests.acceptance.outage import answerer

SAID = """\
PING 198.51.100.1 (198.51.100.1) 56(84) bytes of data.
64 bytes from 198.51.100.1: icmp_seq=1 ttl=62 time=4.18 ms

--- 198.51.100.1 ping statistics ---
1 packets transmitted, 1 received, 0% packet loss, time 0ms
rtt min/avg/max/mdev = 4.184/4.184/4.184/0.000 ms
"""


def test_who_answers_is_known_by_the_hops_that_are_left() -> None:
    assert answerer(SAID) == "the PoP"
    assert answerer(SAID.replace("ttl=62", "ttl=30")) == "the second"


@pytest.mark.parametrize("said", ["", SAID.replace("ttl=62", "ttl=64")], ids=["nobody", "a stranger"])
def test_others_are_not_taken_for_them(said: str) -> None:
    with pytest.raises(UnmetError, match="nobody that is known"):
        answerer(said)
