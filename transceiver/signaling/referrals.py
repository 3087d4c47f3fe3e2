"""Referrals: how a region without room sends a caller to another, by 307 (RFC 9725 §4.5, RFC 9110 §15.4.8).

A client that follows a redirection to another origin leaves its API key behind: browsers must (Fetch,
HTTP-redirect fetch), and so do curl, aiohttp and most others. So the region that has checked the key vouches
for its caller in the URL: by name, for one offer, for half a minute. Who finds such a URL can have that very
offer answered again, which is of use to nobody but its author; and one that came by a referral is never sent
on.

    referral = key id . expiry . caller . offer . MAC
    offer    = base64url of 16 bytes of the SHA-256 of the SDP
    MAC      = base64url of 16 bytes of the HMAC-SHA-256, under a key derived from the master key, of the
               digest of the caller's API key, a dot, and what stands before the last dot
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.keyring import Keyring
from core.service.metrics import OTHER, counter
from transceiver.signaling.refusals import HttpReason, Refusal

REFERRALS = counter(
    "voxpop_transceiver_referrals_total",
    "Calls that were sent to another region, by why they were not taken.",
    reason=("full", "overloaded", "draining", "no_pop", OTHER),
)
PARAMETER = "referral"
OPEN = "open"
"""In place of a referral from a host that asks for no API key; it vouches for nothing."""
LIFETIME_S = 30
TOLERANCE_S = 90
"""By how much the clocks of two regions may differ."""
DIGEST_BYTES = 16
_FORM = re.compile(
    r"(([0-9]{1,2})\.([0-9]{1,12})\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{22}))\.([A-Za-z0-9_-]{22})"
)


@dataclass(frozen=True, slots=True)
class Referral:
    """What another region vouches for."""

    caller: str
    """The name of its API key."""
    offer: str
    """The digest of the only offer that it is good for."""

    def covers(self, sdp: str) -> bool:
        """Whether this is the offer."""
        return hmac.compare_digest(self.offer, offer_digest(sdp))


@dataclass(frozen=True, slots=True)
class ReferralKeys:
    """What makes a referral: PoPs have the master keys, and must not be able to make calls; a list of digests
    may be seen by those who must not either. Both are on transceivers alone.
    """

    keyring: Keyring
    digests: Mapping[str, str] = field(repr=False)
    """Of API keys, by name."""

    def mac(self, key_id: int, caller: str, signed: str) -> str | None:
        """22 characters; None where the key or the caller is unknown."""
        digest = self.digests.get(caller)
        if digest is None or key_id not in self.keyring.key_ids:
            return None
        return _text(self.keyring.referral_mac(key_id, f"{digest}.{signed}".encode()))


class Referrer:
    """Where callers are referred to from here. `regions` are those that take calls, best first."""

    def __init__(self) -> None:
        self.keys: ReferralKeys | None = None
        """None for a host that is open, which has nobody to vouch for."""
        self.regions: Sequence[str] = ()

    @property
    def region(self) -> str | None:
        """The first."""
        return self.regions[0] if self.regions else None

    def query(self, caller: str, sdp: str, now_s: int) -> str:
        """Of the URL that a caller is sent to. There is always one, as it also says: once is enough."""
        referral = OPEN if self.keys is None else mint_referral(self.keys, caller, sdp, now_s)
        return f"{PARAMETER}={referral}"


def offer_digest(sdp: str) -> str:
    """22 characters that stand for an offer."""
    return _text(hashlib.sha256(sdp.encode(errors="surrogatepass")).digest())


def mint_referral(keys: ReferralKeys, caller: str, sdp: str, now_s: int) -> str:
    """The value of the parameter. `now_s` is Unix time. KeyError for a caller without an API key."""
    key_id = keys.keyring.mint_with
    signed = f"{key_id}.{now_s + LIFETIME_S}.{caller}.{offer_digest(sdp)}"
    mac = keys.mac(key_id, caller, signed)
    if mac is None:
        raise KeyError(caller)
    return f"{signed}.{mac}"


def read_referral_untrusted(text: str, keys: ReferralKeys, now_s: int) -> Referral:
    """What a referral says. Raises Refusal for one that is none of ours, or is over."""
    match = _FORM.fullmatch(text)
    mac = None if match is None else keys.mac(int(match[2]), match[4], match[1])
    if match is None or mac is None or not hmac.compare_digest(match[6], mac):
        raise _refusal("is not one of ours")
    if not is_current(int(match[3]), now_s):
        raise _refusal("is over; call again where you have called first")
    return Referral(match[4], match[5])


def is_current(expires_s: int, now_s: int) -> bool:
    """Whether what is good for `LIFETIME_S` may still be, by the clock of who has written it. Unix times."""
    return -TOLERANCE_S <= expires_s - now_s <= LIFETIME_S + TOLERANCE_S


def refuse_other_offer() -> Refusal:
    """For a referral that covers another offer than it came with."""
    return _refusal("is for another offer")


def _refusal(what: str) -> Refusal:
    return Refusal(
        401, HttpReason.BAD_REFERRAL, f"The referral in the URL {what}.", {"WWW-Authenticate": "Bearer"}
    )


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data[:DIGEST_BYTES]).rstrip(b"=").decode()
