"""A store in Redis or Valkey: the sole importer of the client library.

The library's own patience is 5 s a call and ten retries. Here a call has one deadline over all that it
takes, connecting included, and one retry, which is for a connection that the server has closed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import asyncio as client
from redis import exceptions as errors
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from core.store.base import (
    MAX_BATCH,
    NOT_A_STRING,
    READ_BYTES,
    Announcement,
    Entry,
    Place,
    StoreError,
    StoreReason,
)
from core.store_url import StoreKind, StoreUrl

MAX_CONNECTIONS = 4
"""Of one process to one server: one that writes, one that reads, and room for who was cancelled."""
RETRIES = 1
WHOLE_EARTH_KM = 22_000


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """How to get in."""

    timeout_s: float
    user: str | None = None
    password: str | None = None
    ca_pem: str | None = None
    """Certificates to trust, in place of the system's."""

    def __repr__(self) -> str:
        return f"RedisAccess(timeout_s={self.timeout_s}, user={self.user!r})"


class RedisStore:
    """See `core.store.base.Store`. Connects with the first call; to be used on one event loop."""

    def __init__(self, url: StoreUrl, access: RedisAccess) -> None:
        self._timeout_s = access.timeout_s
        self._sentinel: Sentinel | None = None
        self._client: Any = self._open(url, access)

    def _open(self, url: StoreUrl, access: RedisAccess) -> Any:  # noqa: ANN401 - one of three classes
        options: dict[str, Any] = {
            "username": access.user,
            "password": access.password,
            # The deadline of a call is ours. The library's own would be set for each answer of a pipeline,
            # which costs as much as the answer.
            "socket_timeout": None,
            "socket_connect_timeout": access.timeout_s,
            "retry": Retry(NoBackoff(), RETRIES),
            "protocol": 2,  # no HELLO: known to every version, and a round trip less
            "driver_info": None,
        }
        if url.tls:
            options |= {"ssl": True, "ssl_ca_data": access.ca_pem, "ssl_check_hostname": True}
        if url.kind is StoreKind.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in url.nodes]
            # Nodes that are down make theirs of the keys fail, and no others.
            return RedisCluster(
                startup_nodes=nodes, require_full_coverage=False, max_connections=MAX_CONNECTIONS, **options
            )
        options |= {"max_connections": MAX_CONNECTIONS, "db": url.database}
        if url.kind is StoreKind.SENTINEL:
            tls = {"ssl": True, "ssl_ca_data": access.ca_pem} if url.tls else {}
            patience = {"socket_timeout": access.timeout_s, "retry": Retry(NoBackoff(), 0), "protocol": 2}
            self._sentinel = Sentinel(url.nodes, sentinel_kwargs={**patience, **tls}, **options)  # type: ignore[no-untyped-call]
            return self._sentinel.master_for(url.service or "")
        if url.path is not None:
            return client.Redis(unix_socket_path=url.path, **options)
        host, port = url.nodes[0]
        return client.Redis(host=host, port=port, **options)

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes]:
        """See Store. GETRANGE and not MGET: what somebody else has put there may be large, or no string, and
        keys of a Cluster may lie on several nodes.
        """
        pipeline = self._pipeline(len(keys))
        for key in keys:
            pipeline.getrange(key, 0, READ_BYTES - 1)
        return [_value(answer) for answer in await self._execute(pipeline)]

    async def set_many(self, entries: Sequence[Entry]) -> None:
        """See Store."""
        pipeline = self._pipeline(len(entries))
        for key, value, ttl_ms in entries:
            pipeline.set(key, value, px=ttl_ms)
        _raise_first(await self._execute(pipeline))

    async def agree(self, key: bytes, proposal: bytes) -> bytes:
        """See Store. Two commands, as SET with NX and GET together takes Redis 7."""
        pipeline = self._pipeline(2)
        pipeline.set(key, proposal, nx=True)
        pipeline.getrange(key, 0, READ_BYTES - 1)
        answers = await self._execute(pipeline)
        _raise_first(answers)
        return _value(answers[1])

    async def announce(self, announcement: Announcement) -> bytes:
        """See Store. The list is a sorted set; whom nobody hears of goes down its ranks, and out at last.
        GETRANGE and SET, as SET with GET leaves a key alone that is no string.
        """
        entry, list_key, name, score, keep, places_key, place = announcement
        pipeline = self._pipeline(5)
        pipeline.getrange(entry.key, 0, READ_BYTES - 1)
        pipeline.set(entry.key, entry.value, px=entry.ttl_ms)
        pipeline.zadd(list_key, {name: score})
        pipeline.zremrangebyrank(list_key, 0, -keep - 1)
        if place is not None:
            pipeline.geoadd(places_key, (place.longitude, place.latitude, place.member))
        before, *answers = await self._execute(pipeline)
        _raise_first(answers)
        return _value(before)

    async def listed(self, key: bytes, limit: int) -> list[bytes]:
        """See Store."""
        pipeline = self._pipeline(1)
        pipeline.zrevrange(key, 0, limit - 1)
        answers = await self._execute(pipeline)
        _raise_first(answers)
        return [bytes(name) for name in answers[0]]

    async def places(self, key: bytes, longitude: float, latitude: float, limit: int) -> list[Place]:
        """See Store. GEORADIUS is older than GEOSEARCH (6.2), but writes, which a replica refuses."""
        pipeline = self._pipeline(1)
        pipeline.geosearch(
            key, longitude=longitude, latitude=latitude, radius=WHOLE_EARTH_KM, unit="km",
            sort="ASC", count=limit, withcoord=True,
        )  # fmt: skip
        answers = await self._execute(pipeline)
        _raise_first(answers)
        return [Place(bytes(member), float(where[0]), float(where[1])) for member, where in answers[0]]

    async def close(self) -> None:
        """See Store."""
        await self._client.aclose()
        for sentinel in self._sentinel.sentinels if self._sentinel is not None else ():
            await sentinel.aclose()

    def _pipeline(self, size: int) -> Any:  # noqa: ANN401 - of one of two classes
        assert size <= MAX_BATCH, "callers take parts"
        return self._client.pipeline(transaction=False)

    async def _execute(self, pipeline: Any) -> list[Any]:  # noqa: ANN401
        """The answers, an exception of the library for each command that was refused."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except TimeoutError:
            raise StoreError(StoreReason.SLOW, f"no answer within {self._timeout_s * 1e3:.0f} ms") from None
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            raise _explain(error) from None
        for answer in answers:
            if isinstance(answer, Exception):
                # Its frames hold the answers and so itself: a cycle each, in workers that collect none.
                answer.__traceback__ = answer.__context__ = None
        return answers


def _value(answer: object) -> bytes:
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer, errors.ResponseError) and str(answer).startswith("WRONGTYPE"):
        return NOT_A_STRING
    raise _explain(answer)


def _raise_first(answers: Sequence[object]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise _explain(answer)


_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], StoreReason], ...] = (
    (
        (
            errors.AuthenticationError,
            errors.AuthorizationError,
            errors.NoPermissionError,
            errors.AuthenticationWrongNumberOfArgsError,
        ),
        StoreReason.DENIED,
    ),
    ((errors.BusyLoadingError, errors.ClusterError), StoreReason.NOT_READY),
    (errors.OutOfMemoryError, StoreReason.FULL),
    (errors.ReadOnlyError, StoreReason.READ_ONLY),
    ((errors.TimeoutError, TimeoutError), StoreReason.SLOW),
    ((errors.ConnectionError, OSError, errors.RedisClusterException), StoreReason.UNREACHABLE),
)
"""The first that fits: exceptions of the library are of each other's kinds."""
_REASON_BY_CODE = {
    "NOAUTH": StoreReason.DENIED,
    "WRONGPASS": StoreReason.DENIED,
    "NOPERM": StoreReason.DENIED,
    "OOM": StoreReason.FULL,
    "MISCONF": StoreReason.READ_ONLY,
    "NOREPLICAS": StoreReason.READ_ONLY,
    "READONLY": StoreReason.READ_ONLY,
    "LOADING": StoreReason.NOT_READY,
    "MASTERDOWN": StoreReason.NOT_READY,
    "CLUSTERDOWN": StoreReason.NOT_READY,
    "TRYAGAIN": StoreReason.NOT_READY,
    "BUSY": StoreReason.NOT_READY,
}


def _explain(error: object) -> StoreError:
    """What an exception of the library comes to. What a command's refusal says may repeat the command, so no
    more than its beginning is told.
    """
    text = str(error)
    code = text.partition(" ")[0]
    reason = _REASON_BY_CODE.get(code)
    if reason is None and "unknown command" in text:
        reason = StoreReason.UNSUPPORTED
    for kinds, named in _REASONS if reason is None else ():
        if isinstance(error, kinds):
            reason = named
            break
    is_of_command = isinstance(error, errors.ResponseError)
    return StoreError(reason or StoreReason.OTHER, (code if is_of_command else text)[:200])
