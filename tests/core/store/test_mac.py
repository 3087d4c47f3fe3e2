"""The last field of values in the store."""

from __future__ import annotations

import pytest

from core.store.mac import is_right, read_mac_untrusted, seal

DIGEST = bytes(range(32))


def test_what_is_sealed_is_right_and_nothing_else_is() -> None:
    body, _, text = seal(b"1 a b", DIGEST).rpartition(b" ")
    assert (body, len(text)) == (b"1 a b", 22)
    mac = read_mac_untrusted(text)
    assert is_right(mac, DIGEST)
    for other in (b"", mac[:-1], mac + b"\x10", DIGEST, bytes(16)):
        assert not is_right(other, DIGEST)


@pytest.mark.parametrize("text", [b"!" * 22, b"A" * 21, b"A" * 22 + b"==", b"\xff" * 22])
def test_what_is_no_base64_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|data"):
        read_mac_untrusted(text)
