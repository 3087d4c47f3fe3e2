"""core.cluster: where a token leads, and where none may."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import IpFamily
from core.cluster import Cluster, resolve_untrusted
from core.errors import TokenError
from core.token import Token, TokenReason

CLUSTERS = {
    1: Cluster(1, IPv4Network("10.0.0.0/24"), IPv6Network("2001:db8::/64"), 40000, 40009),
    2: Cluster(2, IPv4Network("10.1.0.0/16"), None, 1, 65535),
    3: Cluster(3, None, IPv6Network("2001:db8:3::/112"), 5000, 5000),
}


def token(cluster: int, host: int, port: int) -> Token:
    return Token(0, cluster, host, port, 0, 0)


@pytest.mark.parametrize(
    ("cluster", "host", "port", "family", "expected"),
    [
        (1, 7, 40000, IpFamily.V4, ("10.0.0.7", 40000)),
        (1, 7, 40009, IpFamily.V6, ("2001:db8::7", 40009)),
        (1, 255, 40001, IpFamily.V4, ("10.0.0.255", 40001)),
        (2, 0x1234, 1, IpFamily.V4, ("10.1.18.52", 1)),
        (3, 0xFFFF, 5000, IpFamily.V6, ("2001:db8:3::ffff", 5000)),
    ],
)
def test_a_token_leads_to_an_endpoint_in_the_family_of_the_client(
    cluster: int, host: int, port: int, family: IpFamily, expected: tuple[str, int]
) -> None:
    assert resolve_untrusted(token(cluster, host, port), CLUSTERS, family) == expected


@pytest.mark.parametrize(
    ("cluster", "host", "port", "family", "reason"),
    [
        (9, 7, 40000, IpFamily.V4, TokenReason.UNKNOWN_CLUSTER),
        (1, 7, 39999, IpFamily.V4, TokenReason.PORT_OUT_OF_RANGE),
        (1, 7, 40010, IpFamily.V4, TokenReason.PORT_OUT_OF_RANGE),
        (2, 7, 0, IpFamily.V4, TokenReason.PORT_OUT_OF_RANGE),
        (1, 256, 40000, IpFamily.V4, TokenReason.HOST_OUT_OF_RANGE),
        (1, 0xFFFFFFFF, 40000, IpFamily.V4, TokenReason.HOST_OUT_OF_RANGE),
        (3, 0x10000, 5000, IpFamily.V6, TokenReason.HOST_OUT_OF_RANGE),
        (2, 7, 9, IpFamily.V6, TokenReason.NO_PREFIX_IN_FAMILY),
        (3, 7, 5000, IpFamily.V4, TokenReason.NO_PREFIX_IN_FAMILY),
    ],
)
def test_a_token_that_leads_nowhere_says_why(
    cluster: int, host: int, port: int, family: IpFamily, reason: TokenReason
) -> None:
    with pytest.raises(TokenError) as caught:
        resolve_untrusted(token(cluster, host, port), CLUSTERS, family)
    assert caught.value.reason is reason


@given(
    st.builds(
        token, st.integers(0, 4), st.integers(0, 0xFFFFFFFF) | st.integers(0, 0xFFFF), st.integers(0, 65535)
    ),
    st.sampled_from([IpFamily.V4, IpFamily.V6]),
)
def test_no_token_leads_out_of_the_configured_prefixes(some: Token, family: IpFamily) -> None:
    try:
        endpoint = resolve_untrusted(some, CLUSTERS, family)
    except TokenError:
        return
    cluster = CLUSTERS[some.cluster]
    prefix = cluster.ipv4 if family == IpFamily.V4 else cluster.ipv6
    assert prefix is not None
    assert ip_address(endpoint.host) in prefix
    assert cluster.port_first <= endpoint.port <= cluster.port_last
    assert endpoint.family == family
