"""core.store_url: what may be written, and what it means."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.store_url import StoreKind, StoreUrl, parse_store_url

HERE = (("127.0.0.1", 6379),)
GOOD = {
    "memory://": StoreUrl(StoreKind.MEMORY),
    "redis://127.0.0.1": StoreUrl(StoreKind.SINGLE, HERE),
    "redis://127.0.0.1/": StoreUrl(StoreKind.SINGLE, HERE),
    "redis://store.example:7000/3": StoreUrl(StoreKind.SINGLE, (("store.example", 7000),), database=3),
    "redis://[2001:db8::1]:7000": StoreUrl(StoreKind.SINGLE, (("2001:db8::1", 7000),)),
    "rediss://store.example": StoreUrl(StoreKind.SINGLE, (("store.example", 6379),), tls=True),
    "unix:///run/redis/redis.sock": StoreUrl(StoreKind.SINGLE, path="/run/redis/redis.sock"),
    "redis+sentinel://a,b:1/main/2": StoreUrl(
        StoreKind.SENTINEL, (("a", 26379), ("b", 1)), service="main", database=2
    ),
    "rediss+sentinel://a/main": StoreUrl(StoreKind.SENTINEL, (("a", 26379),), tls=True, service="main"),
    "redis+cluster://a:1,b": StoreUrl(StoreKind.CLUSTER, (("a", 1), ("b", 6379))),
    "rediss+cluster://a": StoreUrl(StoreKind.CLUSTER, (("a", 6379),), tls=True),
}
BAD = {
    "no text": (6379, "in quotes"),
    "no scheme": ("127.0.0.1:6379", "redis://"),
    "another scheme": ("http://127.0.0.1", "redis://"),
    "no host": ("redis://", "HOST:PORT"),
    "no port": ("redis://a:", "HOST:PORT"),
    "port zero": ("redis://a:0", "HOST:PORT"),
    "port too large": ("redis://a:65536", "HOST:PORT"),
    "IPv6 without brackets": ("redis://2001:db8::1", "HOST:PORT"),
    "a password": ("redis://:secret@a", "store.password_file"),
    "several servers": ("redis://a,b", "redis+cluster"),
    "no service": ("redis+sentinel://a,b", "SERVICE"),
    "an empty service": ("redis+sentinel://a/", "SERVICE"),
    "a word for a database": ("redis://a/main", "number of a database"),
    "two databases": ("redis://a/1/2", "number of a database"),
    "a database of a Cluster": ("redis+cluster://a/1", "number 0 alone"),
    "a query": ("redis://a?db=1", "HOST:PORT"),
    "a relative socket": ("unix://run/redis.sock", "absolute path"),
    "memory somewhere": ("memory://here", "nothing behind"),
    "too many": ("redis+cluster://" + ",".join(["a"] * 17), "more than 16"),
}


@pytest.mark.parametrize(("text", "wanted"), GOOD.items(), ids=GOOD)
def test_what_may_be_written(text: str, wanted: StoreUrl) -> None:
    assert parse_store_url(text) == wanted


@pytest.mark.parametrize(("value", "hint"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_told_with_the_fix_and_without_secrets(value: object, hint: str) -> None:
    with pytest.raises(ValueError, match=r"must|names") as refused:
        parse_store_url(value)
    assert hint in str(refused.value)
    assert "secret" not in str(refused.value)


def test_how_it_is_shown() -> None:
    assert str(parse_store_url("memory://")) == "memory"
    assert str(parse_store_url("rediss+sentinel://a,b:1/main")) == "sentinel at a:26379, b:1 with TLS"
    assert str(parse_store_url("unix:///run/x")) == "redis at /run/x"


@given(st.sampled_from(["", *GOOD]), st.text(max_size=8))
def test_nothing_but_a_value_error_is_raised(url: str, more: str) -> None:
    with contextlib.suppress(ValueError):
        parse_store_url(url + more)
