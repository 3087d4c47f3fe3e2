"""What a ufrag says, for people: `voxpop token explain`."""

from __future__ import annotations

import datetime

from core.addr import IpFamily
from core.cluster import Cluster, resolve_untrusted
from core.errors import TokenError
from core.keyring import Keyring
from core.token import Token, TokenReason, minutes_left, open_untrusted, peek_untrusted

FAMILIES = {"ipv4": IpFamily.V4, "ipv6": IpFamily.V6}

WHY = {
    TokenReason.NO_USERNAME: "there is nothing before the colon",
    TokenReason.BAD_LENGTH: "a token has 28 characters",
    TokenReason.BAD_ALPHABET: "a token has only letters, digits, + and /",
    TokenReason.BAD_VERSION: "it is not a token of version 1: perhaps the ufrag of another server",
    TokenReason.UNKNOWN_KEY: "the keys file has no key with this id: retired, or not yet copied here",
    TokenReason.BAD_TAG: "the tag is wrong: made up, altered, or minted with another key of the same id",
    TokenReason.EXPIRED: "its time is over",
    TokenReason.UNKNOWN_CLUSTER: "the configuration has no [[cluster]] with this id",
    TokenReason.HOST_OUT_OF_RANGE: "the host number does not fit into the cluster's prefix",
    TokenReason.PORT_OUT_OF_RANGE: "the port is not one of the cluster's",
    TokenReason.NO_PREFIX_IN_FAMILY: "the cluster has no prefix in either family",
}


def explain_untrusted(
    ufrag: str, keyring: Keyring, clusters: dict[int, Cluster], now_min: int
) -> dict[str, object]:
    """Everything that can be told about a ufrag, as a JSON object without secrets.

    `valid` is what a relay with this configuration would decide; `reason` and `why` are null when it
    is. Fields of a token that is not valid are what it claims.
    """
    encoded = ufrag.encode(errors="replace")
    reason: TokenReason | None = None
    leads_to: dict[str, str | None] = dict.fromkeys(FAMILIES)
    try:
        token = open_untrusted(encoded, keyring, now_min)
        leads_to = _resolve(token, clusters)
    except TokenError as error:
        reason = TokenReason(error.reason)
    return {
        "valid": reason is None,
        "reason": reason,
        "why": None if reason is None else WHY[reason],
        "claims": _claims(encoded, now_min),
        "leads_to": leads_to,
    }


def _resolve(token: Token, clusters: dict[int, Cluster]) -> dict[str, str | None]:
    """Where the token leads in each family. Raises TokenError when it is nowhere in both."""
    found: dict[str, str | None] = dict.fromkeys(FAMILIES)
    failures = []
    for name, family in FAMILIES.items():
        try:
            found[name] = str(resolve_untrusted(token, clusters, family))
        except TokenError as error:
            failures.append(error)
    if len(failures) == len(FAMILIES):
        missing = TokenReason.NO_PREFIX_IN_FAMILY
        raise next((f for f in failures if f.reason != missing), failures[0])
    return found


def _claims(ufrag: bytes, now_min: int) -> dict[str, object] | None:
    try:
        token = peek_untrusted(ufrag)
    except TokenError:
        return None
    left = minutes_left(token.expiry_min, now_min)
    last = datetime.datetime.fromtimestamp((now_min + left) * 60, datetime.UTC)
    return {
        "key_id": token.key_id,
        "cluster": token.cluster,
        "host": token.host,
        "port": token.port,
        "expires": last.strftime("%Y-%m-%dT%H:%MZ"),
        "minutes_left": left,
        "session": token.session,
    }


def render(explanation: dict[str, object]) -> str:
    """The same as lines for a terminal."""
    lines = ["valid" if explanation["valid"] else f"refused: {explanation['why']} ({explanation['reason']})"]
    for part in ("claims", "leads_to"):
        fields = explanation[part]
        if isinstance(fields, dict):
            lines += [f"  {name:13} {value}" for name, value in fields.items() if value is not None]
    return "\n".join(lines)
