"""`voxpop pops`: which hosts live, by their heartbeats in the store."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UnavailableError
from core.service.cli.options import add_config, add_json

if TYPE_CHECKING:
    from core.config import Config
    from core.keyring import Keyring
    from core.service.cli.options import Verbs
    from core.store.keys import HostKind

COLUMNS = {
    "pop": ("POP", "HOST", "STATE", "LOAD", "FLOWS", "FORWARDER", "AGE", "VERSION", "VIPS"),
    "transceiver": ("CLUSTER", "HOST", "STATE", "LOAD", "CALLS", "AGE", "VERSION"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """One host, as it is shown; `fault` says why its heartbeat is not believed, and then nothing else is
    known of it.
    """

    kind: str
    name: tuple[str, ...]
    """(pop, host), or (cluster, host, port)."""
    said: dict[str, Any]
    fault: str | None = None


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `pops` to the command line."""
    parser = verbs.add_parser(
        "pops",
        help="list the hosts that have heartbeats in the store",
        description="Lists the hosts of PoPs and of transceivers that live, with their load and whether they "
        "drain, by what they leave in the [store] every two seconds. Heartbeats that are not signed with a "
        "key of this configuration, or are otherwise not to be believed, are named. Exit status 1 where "
        "there is one of these, or where no host lives.",
    )
    add_config(parser, "[store], [token]")
    parser.add_argument(
        "--near",
        type=_place,
        metavar="LATITUDE,LONGITUDE",
        help="PoPs by their distance from there, as the store has their places",
    )
    add_json(parser, "one JSON object")
    parser.set_defaults(run=_pops)


def _place(text: str) -> tuple[float, float]:
    from core.geo import Position

    try:
        latitude, longitude = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LATITUDE,LONGITUDE, such as 50.11,8.68") from None
    if not Position(latitude, longitude).is_on_globe:
        raise argparse.ArgumentTypeError(f"{text!r} is nowhere: degrees, north and east positive")
    return latitude, longitude


def _pops(arguments: argparse.Namespace) -> int:
    from core.service.files import load_config, load_keyring

    config = load_config(arguments.config)
    if config.store is None:
        raise UnavailableError(f"{arguments.config} has no [store], and heartbeats are nowhere else")
    keyring = load_keyring(config, arguments.config)
    found, kms = asyncio.run(_look(config, arguments.config, keyring, arguments.near))
    if arguments.json:
        print(json.dumps(_as_json(found, kms)))
    else:
        print(_as_text(found, kms))
    return 0 if found and not any(each.fault for each in found) else 1


async def _look(
    config: Config, path: Path, keyring: Keyring, near: tuple[float, float] | None
) -> tuple[list[Found], dict[str, float]]:
    """All hosts, and how far the PoPs are from a place. Raises UnavailableError."""
    from core.geo import Position, distance_km
    from core.service.handover import load_store_secrets
    from core.store.base import StoreError
    from core.store.keys import HostKind
    from core.store.open import open_guarded
    from core.store.registry import Registry

    registry = Registry(open_guarded(config.store, load_store_secrets(config, path)))
    now_ms = int(time.time() * 1000)
    kms = dict[str, float]()
    try:
        found = [
            _judge(kind, name, value, keyring, now_ms)
            for kind in HostKind
            for name, value in await registry.read(kind)
        ]
        if near is not None:
            for place in await registry.nearest(*near):
                kms[place.member.decode(errors="replace")] = distance_km(Position(*near), place.position)
    except StoreError as error:
        raise UnavailableError(f"the store, {config.store and config.store.url}: {error}") from None
    finally:
        await registry.store.close()
    far = len(kms)
    order = {pop: index for index, pop in enumerate(kms)}
    found.sort(key=lambda each: (each.kind, order.get(each.name[0], far), each.name))
    return found, kms


def _judge(kind: HostKind, name: bytes, value: bytes, keyring: Keyring, now_ms: int) -> Found:
    from core.store.heartbeat import HeartbeatError, decode_pop_untrusted, decode_transceiver_untrusted
    from core.store.keys import HostKind

    decode = decode_pop_untrusted if kind is HostKind.POP else decode_transceiver_untrusted
    parts = tuple(name.decode(errors="replace").split(":"))
    try:
        said = decode(value, kind.heartbeat_key(name), keyring, now_ms)
    except HeartbeatError as error:
        shown = name[:64].decode("ascii", "backslashreplace")
        return Found(kind.value, (repr(shown)[1:-1],), {}, str(error.reason))
    about = {
        "state": str(said.state),
        "load": round(said.load, 3),
        "taken": said.taken,
        "room": said.room,
        "age_s": round((now_ms - said.at_ms) / 1e3, 1),
        "version": said.version,
    }
    if kind is HostKind.TRANSCEIVER:
        return Found(kind.value, parts, about)
    return Found(kind.value, parts, {**about, **_of_pop(said)})


def _of_pop(said: Any) -> dict[str, Any]:  # noqa: ANN401 - PopHeartbeat, which is imported where it is used
    return {"forwarder": said.forwarder, "place": said.place, "vips": [str(vip) for vip in said.vips]}


def _as_json(found: Sequence[Found], kms: dict[str, float]) -> dict[str, Any]:
    def of(kind: str, *names: str) -> list[dict[str, Any]]:
        return [
            dict(zip(names, each.name, strict=True)) | each.said
            for each in found
            if each.kind == kind and each.fault is None
        ]

    return {
        "pops": [
            each | ({"km": round(kms[each["pop"]])} if each["pop"] in kms else {})
            for each in of("pop", "pop", "host")
        ],
        "transceivers": of("transceiver", "cluster", "host", "port"),
        "ignored": [
            {"kind": each.kind, "name": ":".join(each.name), "reason": each.fault}
            for each in found
            if each.fault is not None
        ],
    }


def _as_text(found: Sequence[Found], kms: dict[str, float]) -> str:
    from core.service.cli.render import table

    parts = []
    for kind, columns in COLUMNS.items():
        rows = [_row(each, kms) for each in found if each.kind == kind and each.fault is None]
        header = (*columns, "KM") if kms and kind == "pop" else columns
        parts.append(table(header, rows, frozenset({3, 4})) if rows else f"no {kind} host lives")
    ignored = [
        f"ignored: {each.kind} host {':'.join(each.name)}: {each.fault}" for each in found if each.fault
    ]
    return "\n\n".join(parts + (["\n".join(ignored)] if ignored else []))


def _row(each: Found, kms: dict[str, float]) -> list[str]:
    said = each.said
    common = [said["state"], f"{said['load']:.0%}", f"{said['taken']}/{said['room']}"]
    ending = [f"{said['age_s']:.1f}s", said["version"]]
    if each.kind == "transceiver":
        cluster, *rest = each.name
        return [cluster, ":".join(rest), *common, *ending]
    km = [f"{kms[each.name[0]]:.0f}" if each.name[0] in kms else "?"] if kms else []
    return [*each.name, *common, said["forwarder"], *ending, ", ".join(said["vips"]), *km]
