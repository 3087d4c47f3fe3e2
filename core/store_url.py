"""Where a store is, as an operator writes it: `redis://…`, `rediss://…`, `unix://…` and their relatives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
MAX_NODES = 16
WORDS = (
    "redis://HOST:PORT/DB, rediss:// (TLS), unix:///PATH, redis+sentinel://HOST:PORT,…/SERVICE/DB, "
    "redis+cluster://HOST:PORT,… or memory://"
)
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class StoreKind(StrEnum):
    """How many servers there are, and how they are found."""

    MEMORY = "memory"
    SINGLE = "redis"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A URL taken apart. It holds no secret: user and password have keys of their own."""

    kind: StoreKind
    nodes: tuple[tuple[str, int], ...] = ()
    """(host, TCP port) of the server, of the Sentinels, or of some nodes of the Cluster."""
    path: str | None = None
    """Of a Unix socket, in place of nodes."""
    tls: bool = False
    service: str | None = None
    """What the Sentinels call the primary."""
    database: int = 0

    def __str__(self) -> str:
        if self.kind is StoreKind.MEMORY:
            return "memory"
        where = self.path or ", ".join(f"{host}:{port}" for host, port in self.nodes)
        return f"{self.kind} at {where}{' with TLS' if self.tls else ''}"


class StoreSecrets(NamedTuple):
    """What the files say that [store] names."""

    password: str | None = None
    ca_pem: str | None = None
    """Certificates to trust, in place of the system's."""

    def __repr__(self) -> str:
        return "StoreSecrets(…)"


_SCHEMES: dict[str, tuple[StoreKind, bool]] = {
    "memory": (StoreKind.MEMORY, False),
    "unix": (StoreKind.SINGLE, False),
    "redis": (StoreKind.SINGLE, False),
    "rediss": (StoreKind.SINGLE, True),
    "redis+sentinel": (StoreKind.SENTINEL, False),
    "rediss+sentinel": (StoreKind.SENTINEL, True),
    "redis+cluster": (StoreKind.CLUSTER, False),
    "rediss+cluster": (StoreKind.CLUSTER, True),
}


def parse_store_url(value: object) -> StoreUrl:
    """Take a URL apart. Raises ValueError with the rest of a sentence.

    User and password in it are refused, as the file that it stands in may be read by others.
    """
    if not isinstance(value, str):
        raise ValueError(f"must be {WORDS}, in quotes")
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"must be {WORDS}")
    kind, tls = _SCHEMES[scheme]
    if kind is StoreKind.MEMORY and rest:
        raise ValueError("must be memory:// and nothing behind it")
    if kind is StoreKind.MEMORY:
        return StoreUrl(kind)
    if scheme == "unix":
        return StoreUrl(kind, path=_path(rest))
    if "@" in rest:
        raise ValueError("must not hold a user or a password: they are store.user and store.password_file")
    return _remote(kind, tls, *rest.split("/"))


def _remote(kind: StoreKind, tls: bool, hosts: str, *rest: str) -> StoreUrl:
    nodes = _nodes(hosts, DEFAULT_SENTINEL_PORT if kind is StoreKind.SENTINEL else DEFAULT_PORT)
    if kind is StoreKind.SINGLE and len(nodes) > 1:
        raise ValueError("names several servers: say redis+sentinel:// or redis+cluster://")
    service, parts = None, list(rest)
    if kind is StoreKind.SENTINEL:
        service = parts.pop(0) if parts else ""
        if not _NAME.fullmatch(service):
            raise ValueError("must name the service of the Sentinels behind their addresses: …/SERVICE")
    database = _database(parts)
    if database and kind is StoreKind.CLUSTER:
        raise ValueError("must not name a database: a Cluster has number 0 alone")
    return StoreUrl(kind, nodes, None, tls, service, database)


def _path(text: str) -> str:
    if not re.fullmatch(r"/[^\x00-\x1f\x7f?#]+", text):
        raise ValueError("must have an absolute path behind unix://")
    return text


def _nodes(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for part in text.split(","):
        match = _NODE.fullmatch(part)
        port = default_port if match is None or match[3] is None else int(match[3])
        if match is None or not 0 < port < 65536:
            raise ValueError(f"must have HOST:PORT where it has {part!r}")
        nodes.append((match[1] or match[2], port))
    if len(nodes) > MAX_NODES:
        raise ValueError(f"names more than {MAX_NODES} servers")
    return tuple(nodes)


def _database(parts: list[str]) -> int:
    match parts:
        case [] | [""]:
            return 0
        case [number] if number.isascii() and number.isdigit() and len(number) < 5:
            return int(number)
    raise ValueError("must end with the number of a database, or with nothing")
