"""The configuration of every Voxpop process: one TOML file, of which each reads its own tables.

`parse` takes the decoded TOML and returns a `Config`, or raises `ConfigError` with all faults at
once. Reading files, the key files among them, is `core.service.files`.
"""

from core.config.changes import restarts
from core.config.parse import Config, parse
from core.config.quotas import UNLIMITED, QuotaSettings
from core.config.tables import (
    BACKEND,
    HOST_FROM_ADDRESS,
    LOCATION_HEADERS,
    MAX_SESSION_S,
    TABLES,
    AnnounceSettings,
    ClusterSettings,
    DataplaneSettings,
    PopSettings,
    RelaySettings,
    StoreSettings,
    TokenSettings,
    TransceiverSettings,
)

__all__ = [
    "BACKEND",
    "HOST_FROM_ADDRESS",
    "LOCATION_HEADERS",
    "MAX_SESSION_S",
    "TABLES",
    "UNLIMITED",
    "AnnounceSettings",
    "ClusterSettings",
    "Config",
    "DataplaneSettings",
    "PopSettings",
    "QuotaSettings",
    "RelaySettings",
    "StoreSettings",
    "TokenSettings",
    "TransceiverSettings",
    "parse",
    "restarts",
]
