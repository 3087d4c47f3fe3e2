"""The voxpop.toml of each host of a planet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edge.lab.plan import MAX_LOOP_LAG_MS, table
from edge.lab.planet import addresses
from edge.lab.planet.layout import STORE_TIMEOUT_MS, HostSite, Layout, Site, TransceiverSite

Document = dict[str, Any]
"""As `tomllib` reads it: tables by name, and lists of tables."""

KEYS, API_KEYS, API_KEY, LOCATIONS = "keys.toml", "api-keys.toml", "api-key", "cities.mmdb"
"""Files of the whole planet, in its directory."""
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - in a namespace that this machine has no way into


def of_host(layout: Layout, site: Site) -> Document | None:
    """What is in the file of a place; None where none of our daemons is."""
    if isinstance(site, HostSite):
        return of_relay_host(layout, site)
    if isinstance(site, TransceiverSite):
        return of_transceiver_host(layout, site)
    return None


def of_relay_host(layout: Layout, host: HostSite) -> Document:
    """Relay and fast path."""
    settings = layout.spec.planet
    vips = [str(endpoint) for vip in host.pop.vips for endpoint in vip.endpoints(addresses.VIP_PORT)]
    relay = {
        "pop": host.pop.spec.name,
        "host": host.name.removeprefix("pop-"),
        "vips": vips,
        "forwarder": settings.forwarder,
        "workers": settings.workers,
        "metrics": f"{ANY_ADDRESS}:{addresses.STATUS_PORT}",
        "admin_socket": "relay.sock",
    }
    dataplane = {
        "interfaces": list(host.interfaces),
        "backbone": [address for pair in host.backbones for address in pair.both],
        "pin_dir": str(host.bpffs / "voxpop"),
    }
    document = _shared(layout) | {"relay": relay, "dataplane": dataplane, "announce": {}}
    return _with_passed_on(layout, document | _store(layout, host.pop.spec.redis))


def of_transceiver_host(layout: Layout, host: TransceiverSite) -> Document:
    """A transceiver. All callers of a planet have one key."""
    transceiver = {
        "cluster": host.region.number,
        "host": host.number - 1,
        "http": str(host.signaling),
        "processes": host.region.spec.processes,
        "api_keys_file": str(layout.directory / API_KEYS),
        "page": True,
        "location_database": str(layout.directory / LOCATIONS),
        "max_loop_lag_ms": MAX_LOOP_LAG_MS,
        "metrics": f"{ANY_ADDRESS}:{addresses.TRANSCEIVER_STATUS_PORT}",
        "admin_socket": "transceiver.sock",
    }
    document = _shared(layout) | {"transceiver": transceiver, "quotas": {"requests_per_s": "unlimited"}}
    return _with_passed_on(layout, document | _store(layout, host.region.spec.redis))


def _shared(layout: Layout) -> Document:
    clusters = [
        {
            "id": region.number,
            "ipv4": addresses.region_cluster(region.number).with_lengths[0],
            "ipv6": addresses.region_cluster(region.number).with_lengths[1],
            "ports": [addresses.MEDIA_PORT, addresses.MEDIA_PORT + region.spec.processes - 1],
        }
        for region in layout.regions
    ]
    token = {"keys_file": str(layout.directory / KEYS)}
    return {"token": token, "cluster": clusters, "pop": _pops(layout)}


def _pops(layout: Layout) -> list[Document]:
    return [
        {
            "id": pop.spec.name,
            "vips": [str(endpoint) for vip in pop.vips for endpoint in vip.endpoints(addresses.VIP_PORT)],
            "status": str(pop.status),
            "latitude": pop.spec.latitude,
            "longitude": pop.spec.longitude,
        }
        for pop in layout.pops
    ]


def _store(layout: Layout, name: str | None) -> Document:
    redis = layout.redis_named(name)
    return {} if redis is None else {"store": {"url": redis.url, "timeout_ms": STORE_TIMEOUT_MS}}


def _with_passed_on(layout: Layout, document: Document) -> Document:
    """What the planet's file says of these tables."""
    return {name: _merged(value, layout.spec.passed_on.get(name, {})) for name, value in document.items()}


def _merged(value: Any, over: Mapping[str, object]) -> Any:  # noqa: ANN401 - a table, or a list of some
    return {**value, **over} if over else value


def changed(document: Mapping[str, Any], changes: Mapping[str, Mapping[str, object]]) -> Document:
    """A document with some keys of some tables changed; None removes a key."""
    result = dict(document)
    for name, over in changes.items():
        merged = {**result.get(name, {}), **over}
        result[name] = {key: value for key, value in merged.items() if value is not None}
    return result


def render(document: Mapping[str, Any]) -> str:
    """Its TOML."""
    parts = []
    for name, value in document.items():
        if isinstance(value, Sequence):
            parts += [table(f"[[{name}]]", each) for each in value]
        else:
            parts += _tables(name, value)
    return "\n".join(parts)


def _tables(name: str, values: Mapping[str, Any]) -> list[str]:
    """A table, and those in it, such as [backend.NAME]."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    below = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    own = [table(f"[{name}]", plain)] if plain or not below else []
    return own + [
        each for key, value in below.items() for each in _tables(f"{name}.{json.dumps(key)}", value)
    ]
