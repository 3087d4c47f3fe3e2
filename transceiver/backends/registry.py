"""Which backends there are, and what the configuration says to each: `transceiver.backend`, [backend.NAME].

A backend is an entry point of the group `voxpop.backends`. Those of others are found in the metadata of
installed packages (https://packaging.python.org/en/latest/specifications/entry-points/), our own in
`BUILT_IN`: they do not depend on how Voxpop was installed, and a package that takes one of their names is
noticed. Only what the configuration names is imported. docs/decisions/0109-backends.md says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from core.errors import ConfigError, UnavailableError
from core.schema import read_table, suggest
from core.service.exhausted import lack
from transceiver.backends.base import AnyBackendType, BackendFactory, BackendType

GROUP = "voxpop.backends"
BUILT_IN = (
    EntryPoint("parrot", "transceiver.backends.built_in:PARROT", GROUP),
    EntryPoint("realtime", "transceiver.backends.built_in:REALTIME", GROUP),
)


@dataclass(frozen=True, slots=True)
class ChosenBackend:
    """A backend and its settings, checked and not yet built."""

    name: str
    type: AnyBackendType
    settings: Any
    """An instance of `type.settings`."""

    def build(self) -> BackendFactory:
        """What one process has of it."""
        return self.type.build(self.settings)

    def changes(self, other: ChosenBackend) -> list[str]:
        """The keys of [backend.NAME] that differ in `other`, such as `backend.parrot.threshold`. None where
        that is another backend: its settings cannot be compared, and `transceiver.backend` says it all.
        """
        if other.name != self.name:
            return []
        return [
            f"backend.{self.name}.{field.name}"
            for field in dataclasses.fields(self.settings)
            if getattr(self.settings, field.name) != getattr(other.settings, field.name)
        ]


def choose(name: str, tables: Mapping[str, Mapping[str, object]]) -> ChosenBackend:
    """The backend that `transceiver.backend` names, with the settings that its table has.

    The tables of other backends are checked as well, so that a fault shows before its backend is chosen.
    Raises ConfigError with every fault.
    """
    known = _find()
    problems: list[str] = []
    chosen = None
    for named in dict.fromkeys((name, *tables)):
        key = "transceiver.backend" if named == name else f"[backend.{named}]"
        loaded = _load(named, known, key, problems)
        if loaded is not None:
            settings = read_table(loaded.settings, tables.get(named, {}), f"backend.{named}", problems)
            if named == name and settings is not None:
                chosen = ChosenBackend(name, loaded, settings)
    if problems or chosen is None:
        raise ConfigError(problems)
    return chosen


def _find() -> dict[str, list[EntryPoint]]:
    """Who offers each name. A package can be seen twice where its path is searched twice."""
    found: dict[str, list[EntryPoint]] = {own.name: [own] for own in BUILT_IN}
    for offered in entry_points(group=GROUP):
        places = found.setdefault(offered.name, [])
        if all(offered.value != place.value for place in places):
            places.append(offered)
    return found


def _load(
    name: str, known: Mapping[str, list[EntryPoint]], key: str, problems: list[str]
) -> AnyBackendType | None:
    """The type behind a name; None, and a sentence among `problems`, where there is none. Raises
    UnavailableError where it is only memory that lacks.
    """
    offers = known.get(name, [])
    if not offers:
        problems.append(f"{key}: there is no backend {name}; {suggest(name, known)}")
        return None
    if len(offers) > 1:
        problems.append(f"{key}: backend {name} is offered by {_makers(offers)}; uninstall all but one")
        return None
    try:
        loaded = offers[0].load()
    except Exception as error:  # noqa: BLE001  a package of somebody else's raises what it likes
        lacking = lack(error)
        if lacking is not None:
            raise UnavailableError(f"{key}: {_makers(offers)} cannot be imported: {lacking}") from None
        problems.append(
            f"{key}: {_makers(offers)} cannot be imported ({type(error).__name__}: {error}); reinstall it"
        )
        return None
    if not isinstance(loaded, BackendType) or not dataclasses.is_dataclass(loaded.settings):
        problems.append(
            f"{key}: {_makers(offers)} is no BackendType with a dataclass of settings; ask its maker"
        )
        return None
    return loaded


def _makers(offers: Iterable[EntryPoint]) -> str:
    """`module:object of package version` of each, for an error."""
    return " and ".join(
        offer.value if offer.dist is None else f"{offer.value} of {offer.dist.name} {offer.dist.version}"
        for offer in offers
    )
