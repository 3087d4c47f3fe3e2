"""Writes token-v1.json: `python -m tests.vectors.token_v1 > tests/vectors/token-v1.json`.

A test compares the file with what this writes, so a change of the token's format cannot pass unseen.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from ipaddress import IPv4Network, IPv6Network

from core.addr import IpFamily
from core.cluster import Cluster, resolve_untrusted
from core.errors import TokenError
from core.keyring import Keyring, Purpose, hkdf_sha256
from core.token import TAG_OFFSET, Token, TokenReason, mint, open_untrusted

MASTERS = {0: bytes(range(32)), 1: bytes(range(32, 64)), 31: bytes(range(224, 256))}
KEYRING = Keyring(MASTERS, mint_with=1)
STRANGER = Keyring({2: bytes(range(64, 96)), 1: bytes(32)}, mint_with=2)
CLUSTERS = {
    0: Cluster(0, IPv4Network("192.0.2.77/32"), None, 1, 1),
    1: Cluster(1, IPv4Network("10.20.0.0/16"), IPv6Network("2001:db8:1::/64"), 40000, 40063),
    2: Cluster(2, None, IPv6Network("2001:db8:2::/112"), 5000, 5000),
    65535: Cluster(65535, IPv4Network("0.0.0.0/1"), IPv6Network("2001:db8:ffff::/64"), 1, 65535),
}
FAMILIES = {"ipv4": IpFamily.V4, "ipv6": IpFamily.V6}
NOW = 29_900_000
"""Minutes since the Unix epoch, in November 2026; mod 2^16 it is 15584."""
NOW_FIELD = NOW & 0xFFFF
PLAIN = Token(1, 1, 258, 40007, NOW_FIELD + 90, 4660)

VALID = {
    "a plain token": (PLAIN, NOW),
    "key id 0, every field at its least": (Token(0, 0, 0, 1, 0, 0), 456 << 16),
    "key id 31, every field at its most": (
        Token(31, 65535, 0x7FFFFFFF, 65535, 65535, 65535),
        (457 << 16) - 1,
    ),
    "valid in its last minute": (Token(1, 1, 1, 40000, NOW_FIELD, 1), NOW),
    "expiry wrapped past 2^16": (Token(1, 1, 1, 40000, 59, 2), (456 << 16) + 65530),
    "the longest life that may be minted, 2^15 - 1 minutes": (
        Token(1, 1, 1, 40000, (NOW_FIELD + 32767) & 0xFFFF, 3),
        NOW,
    ),
    "only IPv6": (Token(0, 2, 0xFFFF, 5000, NOW_FIELD + 1, 4), NOW),
    "2^15 minutes apart, which RFC 1982 leaves open, is not expired": (
        Token(1, 1, 1, 40000, (NOW_FIELD + 32768) & 0xFFFF, 5),
        NOW,
    ),
}


def flip(ufrag: str, bit: int) -> str:
    """The ufrag with one bit of its 21 bytes the other way round; bit 0 is the first byte's highest."""
    raw = bytearray(base64.b64decode(ufrag))
    raw[bit // 8] ^= 0x80 >> bit % 8
    return base64.b64encode(raw).decode()


def invalid() -> list[tuple[str, str, int, str]]:
    """(name, ufrag, now in minutes, family) of what must be refused."""
    good = mint(PLAIN, KEYRING)

    def but(keyring: Keyring = KEYRING, **changes: int) -> str:
        return mint(dataclasses.replace(PLAIN, **changes), keyring)

    return [
        ("empty", "", NOW, "ipv4"),
        ("one character short", good[:-1], NOW, "ipv4"),
        ("one character long", good + "A", NOW, "ipv4"),
        ("padded", good + "====", NOW, "ipv4"),
        ("URL-safe alphabet", "-" + good[1:], NOW, "ipv4"),
        ("a space inside", good[:9] + " " + good[10:], NOW, "ipv4"),
        ("a line end inside", good[:27] + "\n", NOW, "ipv4"),
        ("padding in place of the last character", good[:-1] + "=", NOW, "ipv4"),
        ("padding in place of the last two characters", good[:-2] + "==", NOW, "ipv4"),
        ("version 0", flip(good, 2), NOW, "ipv4"),
        ("version 3", flip(good, 1), NOW, "ipv4"),
        ("version 5", flip(good, 0), NOW, "ipv4"),
        ("unknown key id", but(STRANGER, key_id=2), NOW, "ipv4"),
        ("a known key id with another master", but(STRANGER), NOW, "ipv4"),
        ("another valid key id written over it", flip(good, 7), NOW, "ipv4"),
        ("cluster off by one bit", flip(good, 23), NOW, "ipv4"),
        ("host off by one bit", flip(good, 55), NOW, "ipv4"),
        ("port off by one bit", flip(good, 71), NOW, "ipv4"),
        ("expiry off by one bit", flip(good, 72), NOW, "ipv4"),
        ("session off by one bit", flip(good, 103), NOW, "ipv4"),
        ("tag off by its first bit", flip(good, 104), NOW, "ipv4"),
        ("tag off by its last bit", flip(good, 167), NOW, "ipv4"),
        ("expired a minute ago", but(expiry_min=NOW_FIELD - 1), NOW, "ipv4"),
        ("expired 2^15 - 1 minutes ago", but(expiry_min=(NOW_FIELD - 32767) & 0xFFFF), NOW, "ipv4"),
        ("expired across the wrap", but(expiry_min=65535), 457 << 16, "ipv4"),
        ("unknown cluster", but(cluster=3), NOW, "ipv4"),
        ("port below the cluster's", but(port=39999), NOW, "ipv4"),
        ("port above the cluster's", but(port=40064), NOW, "ipv4"),
        ("port 0", but(cluster=65535, port=0), NOW, "ipv4"),
        ("host needs more bits than the IPv4 prefix leaves", but(host=65536), NOW, "ipv4"),
        ("host needs more bits than a /32 leaves", but(cluster=0, host=1, port=1), NOW, "ipv4"),
        ("IPv6 client, cluster without IPv6", but(cluster=0, host=0, port=1), NOW, "ipv6"),
        ("IPv4 client, cluster without IPv4", but(cluster=2, port=5000), NOW, "ipv4"),
    ]


def resolve(token: Token, family: IpFamily) -> str | None:
    """The endpoint as text; None where the token leads nowhere in that family."""
    try:
        return str(resolve_untrusted(token, CLUSTERS, family))
    except TokenError:
        return None


def refusal(ufrag: str, now_min: int, family: str) -> TokenReason:
    """Why the code refuses. ValueError when it does not."""
    try:
        resolve_untrusted(open_untrusted(ufrag.encode(), KEYRING, now_min), CLUSTERS, FAMILIES[family])
    except TokenError as error:
        return TokenReason(error.reason)
    raise ValueError(f"{ufrag} is accepted")


def build() -> dict[str, object]:
    """The whole document."""
    return {
        "about": "Voxpop token, version 1. Meaning of every field: docs/token.md",
        "keys": {
            str(key_id): {
                "master": base64.b64encode(master).decode(),
                "tag_key_hex": hkdf_sha256(master, Purpose.TAG.info, 16).hex(),
                "password_key_hex": hkdf_sha256(master, Purpose.PASSWORD.info, 32).hex(),
            }
            for key_id, master in MASTERS.items()
        },
        "clusters": [
            {
                "id": c.id,
                "ipv4": c.ipv4 and str(c.ipv4),
                "ipv6": c.ipv6 and str(c.ipv6),
                "ports": [c.port_first, c.port_last],
            }
            for c in CLUSTERS.values()
        ],
        "valid": [_describe(name, token, now_min) for name, (token, now_min) in VALID.items()],
        "invalid": [
            {
                "name": name,
                "ufrag": ufrag,
                "now_min": now,
                "family": family,
                "reason": refusal(ufrag, now, family),
            }
            for name, ufrag, now, family in invalid()
        ],
    }


def _describe(name: str, token: Token, now_min: int) -> dict[str, object]:
    ufrag = mint(token, KEYRING)
    raw = base64.b64decode(ufrag)
    return {
        "name": name,
        "now_min": now_min,
        "key_id": token.key_id,
        "cluster": token.cluster,
        "host": token.host,
        "port": token.port,
        "expiry_min": token.expiry_min,
        "session": token.session,
        "fields_hex": raw[:TAG_OFFSET].hex(),
        "tag_hex": raw[TAG_OFFSET:].hex(),
        "ufrag": ufrag,
        "ice_password": KEYRING.ice_password(token.key_id, ufrag.encode()).decode(),
    } | {family: resolve(token, number) for family, number in FAMILIES.items()}


def dump() -> str:
    """The file's text."""
    return json.dumps(build(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(dump())
