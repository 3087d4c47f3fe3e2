"""Configurations, by BIRD's own word for them; what they do is in test_control.py."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.bird.config import Bfd, Host, Peer, Router, render_host, render_router
from tests.edge.lab.bird.kit import CITY, VIPS, host, router

needs_bird = pytest.mark.skipif(shutil.which("bird") is None, reason="needs BIRD: parses its configuration")


def parse(tmp_path: Path, text: str) -> str:
    """What BIRD says to a configuration; nothing where it takes it."""
    (tmp_path / "bird.conf").write_text(text)
    done = subprocess.run(["bird", "-p", "-c", tmp_path / "bird.conf"], capture_output=True, text=True)
    return done.stderr + ("" if done.returncode == 0 else f"status {done.returncode}")


REGION = Router("10.2.1.1", 65010, ("10.2.1.0/24", "fd00:2:1::/48"), (), sources=("10.2.1.1", "fd00:2:1::1"))
V4_ALONE = Router("192.0.2.1", 4_200_000_000, ("192.0.2.0/24",), (Peer("b", "192.0.2.9", 65000),))


@needs_bird
@pytest.mark.parametrize(
    "text",
    [
        render_router(router(hosts=2)),
        render_router(router(hosts=2, withheld=VIPS)),
        render_router(CITY),
        render_router(REGION),
        render_router(V4_ALONE),
        render_router(replace(CITY, bfd=Bfd(100, 5))),
        render_host(host(1)),
        render_host(replace(host(2), sources=("10.1.1.3", "fd00:1:1::3"), while_up=())),
    ],
    ids=["pop", "withheld", "city", "region", "v4", "bfd", "host", "host-without-vips"],
)
def test_bird_takes_every_role(text: str, tmp_path: Path) -> None:
    assert parse(tmp_path, text) == ""


@needs_bird
def test_bird_would_say_what_is_wrong(tmp_path: Path) -> None:
    assert "syntax error" in parse(tmp_path, render_host(host(1)).replace("protocol device", "protocol"))


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(
    lambda address: not address.is_link_local and not address.is_multicast and not address.is_unspecified
)


@needs_bird
@given(
    hosts=st.lists(ADDRESSES, max_size=4, unique=True),
    vips=st.lists(ADDRESSES, max_size=4),
    preference=st.integers(0, 2**32 - 1),
    asn=st.integers(1, 2**32 - 2),
)
def test_bird_takes_whatever_a_planet_may_be(
    tmp_path_factory: pytest.TempPathFactory,
    hosts: list[object],
    vips: list[object],
    preference: int,
    asn: int,
) -> None:
    peers = tuple(Peer(f"host{number}", str(address), asn) for number, address in enumerate(hosts))
    wan = (Peer("wan", "fe80::1", 65000, "p-x", preference),)
    made = Router("192.0.2.1", asn, ("10.0.0.0/8",), wan, tuple(map(str, vips)), peers)
    assert parse(tmp_path_factory.mktemp("bird"), render_router(made)) == ""


@pytest.mark.parametrize(
    ("name", "address", "interface"),
    [
        ("two words", "192.0.2.1", None),
        ("", "192.0.2.1", None),
        ("a", "fe80::1", None),
        ("a", "192.0.2.1", "eth0"),
        ("a", "fe80::1", 'eth0"; x'),
        ("a", "nowhere", None),
    ],
    ids=["blank", "empty", "no-interface", "interface", "quote", "address"],
)
def test_peers_that_cannot_be_are_refused(name: str, address: str, interface: str | None) -> None:
    with pytest.raises(ValueError, match=r"interface|session|address"):
        Peer(name, address, 65000, interface)


@pytest.mark.parametrize(
    "made",
    [
        replace(host(1), interface='x"; y'),
        replace(host(1), while_up=("198.51.100.1/24",)),
        replace(host(1), router_id="me"),
    ],
    ids=["interface", "prefix", "id"],
)
def test_hosts_that_cannot_be_are_refused(made: Host) -> None:
    with pytest.raises(ValueError, match=r"interface|host bits|address"):
        render_host(made)
