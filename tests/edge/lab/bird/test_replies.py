"""What BIRD 2.0.12 has said, and what it might."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.bird.replies import (
    MAX_REPLY_BYTES,
    BfdSession,
    BirdError,
    Line,
    NextHop,
    Protocol,
    ReplyReader,
    Route,
    check,
    read_bfd_untrusted,
    read_protocols_untrusted,
    read_routes_untrusted,
)

PROTOCOLS = b"""\
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     16:00:38.270  
 bfd1       BFD        ---        up     16:00:38.270  
 own4       Static     master4    up     16:00:38.270  
 while_up4  Static     master4    down   16:02:11.102  
 tokyo      BGP        ---        up     16:00:39.143  Established   
 host1_4    BGP        ---        start  16:00:39.174  Connect       Socket: Connection refused
0000 
"""  # noqa: W291 - BIRD's own blanks
BFD = b"""\
1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 10.1.1.2                  lan0       Up         16:00:38.504    0.300    0.900
 fe80::2                   p-tokyo    Down       16:00:38.504    0.300    0.000
0000 
"""  # noqa: W291
ROUTES = b"""\
1007-Table master4:
 0.0.0.0/0            unreachable [default4 16:00:38.270] * (200)
 198.19.1.0/24        unicast [host1_4 16:00:39.215] * (100) [i]
 \tvia 10.1.1.2 on lan0
                      unicast [host2_4 16:00:39.320] (100) [i]
 \tvia 10.1.1.3 on lan0
 10.1.1.0/24          unicast [frankfurt 16:00:39.173 from fe80::1] * (100) [AS65001i]
 \tvia fe80::80cd:35ff:fe50:a9f4 on wan0
 
 Table master6:
 2001:db8:f01::/48    unicast [while_up6 2026-11-29] * (200)
 \tdev voxpop-up
 2001:db8:c01::/48    unicast [kernel6 16:00:39.173] * (10)
 \tvia fd00::1 on eth0 weight 1
 \tvia fd00::2 on eth1 weight 1
0000 
"""  # noqa: W291, W293


def lines(data: bytes) -> list[Line]:
    (reply,) = ReplyReader().feed_untrusted(data)
    return reply


def test_protocols_are_read() -> None:
    found = read_protocols_untrusted(lines(PROTOCOLS))
    assert found["tokyo"] == Protocol("tokyo", "BGP", True, "Established")
    assert found["host1_4"] == Protocol("host1_4", "BGP", False, "Connect       Socket: Connection refused")
    assert not found["while_up4"].is_up
    assert len(found) == 6


def test_bfd_sessions_are_read() -> None:
    assert read_bfd_untrusted(lines(BFD)) == [
        BfdSession("10.1.1.2", "lan0", True),
        BfdSession("fe80::2", "p-tokyo", False),
    ]


def test_routes_are_read_with_all_of_a_prefix() -> None:
    assert read_routes_untrusted(lines(ROUTES)) == [
        Route("0.0.0.0/0", "default4", True, ()),
        Route("198.19.1.0/24", "host1_4", True, (NextHop("10.1.1.2", "lan0"),)),
        Route("198.19.1.0/24", "host2_4", False, (NextHop("10.1.1.3", "lan0"),)),
        Route("10.1.1.0/24", "frankfurt", True, (NextHop("fe80::80cd:35ff:fe50:a9f4", "wan0"),)),
        Route("2001:db8:f01::/48", "while_up6", True, (NextHop(None, "voxpop-up"),)),
        Route("2001:db8:c01::/48", "kernel6", True, (NextHop("fd00::1", "eth0"), NextHop("fd00::2", "eth1"))),
    ]


def test_nothing_is_read_of_empty_tables() -> None:
    empty = lines(b"0000 \n")
    assert read_routes_untrusted(empty) == read_bfd_untrusted(empty) == []
    assert read_protocols_untrusted(empty) == {}


@pytest.mark.parametrize(
    "reply", [b"8003-No protocols match\n0000 \n", b"9001 syntax error\n"], ids=["8003", "9001"]
)
def test_refusals_are_told(reply: bytes) -> None:
    with pytest.raises(BirdError, match=r"BIRD: (No protocols match|syntax error)"):
        check(lines(reply))


@given(
    st.lists(st.sampled_from([PROTOCOLS, BFD, ROUTES, b"0001 BIRD 2.0.12 ready.\n"]), max_size=4), st.data()
)
def test_replies_are_the_same_however_the_stream_is_cut(replies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(replies)
    reader, at = ReplyReader(), 0
    found: list[list[Line]] = []
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        found += reader.feed_untrusted(stream[at : at + size])
        at += size
    assert found == [lines(reply) for reply in replies]


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_protocols_untrusted, b"1002-tokyo BGP up\n0000 \n"),
        (read_bfd_untrusted, b"1020-nowhere lan0 Up\n0000 \n"),
        (read_routes_untrusted, b"1007-\tvia 10.1.1.2 on lan0\n0000 \n"),
        (read_routes_untrusted, b"1007-                 unicast [a 1] * (1)\n0000 \n"),
        (read_routes_untrusted, b"1007-nowhere/9        unicast [a 1] * (1)\n0000 \n"),
        (read_routes_untrusted, b"1007-10.0.0.0/8 leads somewhere\n0000 \n"),
    ],
    ids=["protocol", "bfd", "hop-of-none", "prefix-of-none", "prefix", "route"],
)
def test_what_is_not_understood_is_an_error(read: object, row: bytes) -> None:
    with pytest.raises(BirdError, match="which is not understood"):
        read(lines(row))  # type: ignore[operator]


def test_a_reply_without_an_end_is_given_up() -> None:
    reader = ReplyReader()
    line = b"1007-" + b"x" * 994 + b"\n"
    for _ in range(MAX_REPLY_BYTES // len(line)):
        assert list(reader.feed_untrusted(line)) == []
    with pytest.raises(BirdError, match="longer than"):
        list(reader.feed_untrusted(line))
