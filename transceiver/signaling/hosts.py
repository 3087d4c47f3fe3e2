"""Hand-over between the hosts of a cluster, for requests about a session that another host owns.

A balancer gives a request to any host, and forgets hosts that drain while they still have calls. The id of a
session names its host (`transceiver.session.ids`), so the request goes on to that host's address in the
cluster's own prefix, to the port that the configuration says, and nowhere else. It is what the client sent,
API key included, and the owner checks that itself. A voucher goes along: that the request has made its one
hop, and where the client is, which only the host that it has reached can tell.

    voucher = key id . expiry . evidence . MAC
    MAC     = as that of a referral (`transceiver.signaling.referrals`), over method, path and all before it
"""

from __future__ import annotations

import base64
import hmac
import logging
import math
import re
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.keyring import Keyring
from core.service.metrics import OTHER, counter
from transceiver.observer import Observer
from transceiver.session.ids import Owner, is_minted
from transceiver.signaling.referrals import LIFETIME_S, ReferralKeys, is_current
from transceiver.signaling.refusals import no_such_call, owner_is_silent
from transceiver.signaling.siblings import Handed, ask
from transceiver.steering.evidence import Evidence, decode_evidence

logger = logging.getLogger(__name__)

FORWARDED = counter(
    "voxpop_transceiver_forwarded_requests_total",
    "Requests about calls of another host of the cluster, by what came of them: answered; gone, as nothing "
    "listens at its address; silent for too long; too_many under way to ask it; forged, as no host of the "
    "cluster has written the id.",
    result=("answered", "gone", "silent", "too_many", "forged", OTHER),
)
VOUCHER_HEADER = "X-Voxpop-Forwarded"
NO_VOUCHER = "open"
"""From a host that asks for no API key, which has nobody to vouch for: it says only that the hop is made."""
TIMEOUT = aiohttp.ClientTimeout(total=3.0, sock_connect=1.0)
"""A host that is gone says nothing at all; one in the same network that lives is connected to in a
millisecond."""
MAX_UNDER_WAY = 32
SAY_GONE_NS = 60_000_000_000
_VOUCHER = re.compile(r"(([0-9]{1,2})\.([0-9]{1,12})\.([A-Za-z0-9_-]{1,400}))\.([A-Za-z0-9_-]{22})")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host is among those of its cluster."""

    cluster: Cluster
    host: int
    http: Endpoint
    """Where it serves signaling; the others do alike, each at its own address."""
    forward_port: int = 0
    """Where they take each other's requests; 0 is the port of `http`."""

    def signaling_of(self, host: int) -> Endpoint | None:
        """Where another host takes requests; None where the cluster has no such host."""
        families = (self.http.family, *IpFamily)
        found = (self.cluster.address(host, family) for family in families)
        address = next((address for address in found if address is not None), None)
        return None if address is None else Endpoint(address, self.forward_port or self.http.port)


class OtherHosts:
    """The other hosts of the cluster."""

    def __init__(self, place: Place, keyring: Keyring, observer: Observer) -> None:
        self._place = place
        self.keyring = keyring
        """Whose ids are believed; replaced when keys are reloaded."""
        self.keys: ReferralKeys | None = None
        """What vouchers are written and read with; None for a host that is open."""
        self._observer = observer
        self._under_way = 0
        self._quiet_until_ns: float = -math.inf
        self._client: aiohttp.ClientSession | None = None
        """None until there is something to forward, which is seldom."""

    async def close(self) -> None:
        """Give up what is under way."""
        if self._client is not None:
            await self._client.close()

    def is_own(self, owner: Owner) -> bool:
        """Whether a session is of this host."""
        return owner.host == self._place.host

    async def pass_on(self, session_id: str, owner: Owner, handed: Handed, now_ns: int) -> web.Response:
        """The response of a session's host. Raises Refusal where there is none: 404 where nobody is left who
        could have it, 503 where a later try may find its owner. `handed` has all headers.
        """
        there = self.find(session_id, owner)
        if self._under_way >= MAX_UNDER_WAY:
            self._observer.count(FORWARDED, "too_many")
            raise owner_is_silent("host")
        self._under_way += 1
        try:
            response = await ask(self._open(), f"http://{there}", handed)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._observer.count(FORWARDED, "gone")
            self._say_gone(owner, there, error, now_ns)
            raise no_such_call() from None
        except (aiohttp.ClientError, TimeoutError):
            self._observer.count(FORWARDED, "silent")
            raise owner_is_silent("host") from None
        finally:
            self._under_way -= 1
        self._observer.count(FORWARDED, "answered")
        return response

    def find(self, session_id: str, owner: Owner) -> Endpoint:
        """Where the host of a session takes requests. Raises Refusal for an id that no host has written."""
        there = self._place.signaling_of(owner.host)
        if there is None or not is_minted(session_id, self._place.cluster.id, self.keyring):
            self._observer.count(FORWARDED, "forged")
            raise no_such_call()
        return there

    def _open(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_UNDER_WAY, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=TIMEOUT,
                auto_decompress=False,
            )
        return self._client

    def _say_gone(self, owner: Owner, there: Endpoint, error: Exception, now_ns: int) -> None:
        """Once a minute: it may be a host that has died, or a firewall."""
        if now_ns >= self._quiet_until_ns:
            self._quiet_until_ns = now_ns + SAY_GONE_NS
            logger.warning(
                "host %d of the cluster, which owns a call, is not at %s: %s", owner.host, there, error
            )

    # Vouchers

    def voucher(self, handed: Handed, evidence: Evidence, now_s: int) -> str:
        """The value of `VOUCHER_HEADER` for a request. `now_s` is Unix time."""
        if self.keys is None:
            return NO_VOUCHER
        key_id = self.keys.keyring.mint_with
        text = base64.urlsafe_b64encode(evidence.encode().encode()).rstrip(b"=").decode()
        signed = f"{key_id}.{now_s + LIFETIME_S}.{text}"
        mac = self.keys.mac(key_id, handed.caller, _vouched(handed, signed))
        return NO_VOUCHER if mac is None else f"{signed}.{mac}"

    def read_voucher_untrusted(self, text: str, handed: Handed, now_s: int) -> Evidence | None:
        """Where the client is, as the host says that the request came to; None for what is not its voucher.
        `handed` is the request with the caller that its own API key names.
        """
        match = _VOUCHER.fullmatch(text)
        if match is None or self.keys is None:
            return None
        mac = self.keys.mac(int(match[2]), handed.caller, _vouched(handed, match[1]))
        if mac is None or not hmac.compare_digest(mac, match[5]):
            return None
        if not is_current(int(match[3]), now_s):
            return None
        return decode_evidence(base64.urlsafe_b64decode(match[4] + "===").decode())


def _vouched(handed: Handed, signed: str) -> str:
    """No referral begins like this: there is a number where this has a method."""
    return f"{handed.method} {handed.path} {signed}"
