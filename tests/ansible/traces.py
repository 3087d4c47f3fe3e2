"""What the tasks of a role leave on a host, and what its decommission takes away, read out of the YAML.

Templates are not evaluated but spelled out: for a variable all that it may be, by the defaults and vars of
the roles, for an expression all words in it. So a set may be too large, and lacks only what the caller of a
file of tasks names, which is what the caller's own role has made.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import yaml

from tests.ansible.units import ROLES, read, words

Task = Mapping[str, Any]
_EXPRESSION = re.compile(r"\{\{((?:(?!\}\}).)*)\}\}", re.DOTALL)
_NAME = re.compile(r"(?<![\w.'\"/-])([a-z_][a-z0-9_]*)((?:\.[a-z_]+)*)")
_CONDITION = re.compile(r"\bif\b.*?(?=\belse\b)", re.DOTALL)
_ATTRIBUTE = re.compile(r"map\(attribute='(\w+)'\)")
_QUOTED = re.compile(r"'([^']*)'")
_UNITS = "/etc/systemd/system"
DIRECTORIES = {"RuntimeDirectory": "/run", "CacheDirectory": "/var/cache", "StateDirectory": "/var/lib"}
"""What systemd makes for a unit, and where."""


def roles() -> list[str]:
    """By name."""
    return sorted(path.name for path in ROLES.iterdir())


@functools.cache
def scope() -> dict[str, Any]:
    """Variables of all roles."""
    found: dict[str, Any] = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")) + sorted(ROLES.glob("*/vars/main.yml")):
        found |= yaml.safe_load(path.read_text()) or {}
    return found


def tasks(path: Path) -> Iterator[Task]:
    """Those of a file and of the blocks in it."""
    yield from _flat(yaml.safe_load(path.read_text()) or [])


def _flat(found: list[Task]) -> Iterator[Task]:
    for task in found:
        yield task
        for name in ("block", "rescue", "always"):
            yield from _flat(task.get(name, []))


def meanings(value: object, known: Mapping[str, Any]) -> set[str]:
    """Every text that a value may be."""
    if isinstance(value, list):
        return set().union(*(meanings(each, known) for each in value))
    if isinstance(value, dict):
        return set().union(*(meanings(each, known) for each in value.values()))
    text = str(value).strip()
    whole = _EXPRESSION.fullmatch(text)
    if whole:
        return _of_expression(whole[1], known)
    parts = _EXPRESSION.split(text)
    choices = [_of_expression(part, known) if number % 2 else {part} for number, part in enumerate(parts)]
    return {"".join(each) for each in itertools.product(*choices)}


def _of_expression(expression: str, known: Mapping[str, Any]) -> set[str]:
    expression = _CONDITION.sub("", expression)
    attribute = _ATTRIBUTE.search(expression)
    found = set(_QUOTED.findall(_ATTRIBUTE.sub("", expression)))
    for name, fields in _NAME.findall(_QUOTED.sub("", expression)):
        if attribute:
            fields = f".{attribute[1]}"
        if name in known:
            found |= set().union(*(meanings(each, known) for each in _fields(known[name], fields, known)))
    return found


def _fields(value: object, fields: str, known: Mapping[str, Any]) -> list[object]:
    """A variable, or that field of each dict that it may be."""
    if not fields:
        return [value]
    name = fields.rpartition(".")[2]
    return [each[name] for each in _dicts(value, known) if name in each]


def _dicts(value: object, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list):
        return [each for one in value for each in _dicts(one, known)]
    names = [name for name, _ in _NAME.findall(_QUOTED.sub("", str(value)))]
    return [each for name in names if name in known for each in _dicts(known[name], known)]


def _told(task: Task, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a task's templates can see: with its loop's item."""
    item = (task.get("loop_control") or {}).get("loop_var", "item")
    return {**known, **task.get("vars", {}), **({item: task["loop"]} if "loop" in task else {})}


def _paths_made(task: Task, known: Mapping[str, Any]) -> set[str]:
    for module in ("copy", "template", "lineinfile", "file"):
        options = task.get(f"ansible.builtin.{module}")
        if options is not None and options.get("state") != "absent":
            return meanings(options.get("dest") or options.get("path"), known)
    return set()


@functools.cache
def made(role: str) -> frozenset[str]:
    """Paths, `user NAME` and `package NAME` that the tasks of a role leave on a host."""
    found: set[str] = set()
    for path in sorted((ROLES / role / "tasks").glob("*.yml")):
        if path.stem == "decommission":
            continue
        for task in tasks(path):
            known = _told(task, scope())
            found |= _paths_made(task, known)
            if user := task.get("ansible.builtin.user"):
                found |= {f"user {name}" for name in meanings(user["name"], known)}
            packages = (task.get("vars") or {}).get("base_packages", [])
            found |= {f"package {name}" for name in meanings(packages, known)}
    for path in sorted((ROLES / role / "files").glob("*.service")):
        service = read(path)["Service"]
        found |= {f"{place}/{word}" for name, place in DIRECTORIES.items() for word in words(service, name)}
    return frozenset(each for each in found if "{{" not in each)


@functools.cache
def removed(role: str) -> frozenset[str]:
    """The same of what its decommission takes away."""
    found: set[str] = set()
    for task in tasks(ROLES / role / "tasks" / "decommission.yml"):
        known = _told(task, scope())
        given = task.get("vars") or {}
        options = task.get("ansible.builtin.file") or {}
        if options.get("state") == "absent":
            found |= meanings(options["path"], known)
        if user := task.get("ansible.builtin.user"):
            found |= {f"user {name}" for name in meanings(user["name"], known)}
        for name in meanings(given.get("base_units", []), known):
            found |= {f"{_UNITS}/{name}.service", f"{_UNITS}/{name}.service.d"}
        found |= {f"{_UNITS}/{name}.d" for name in meanings(given.get("base_services", []), known)}
        found |= meanings(given.get("base_kept", []), known) | meanings(given.get("base_added", []), known)
        found |= {f"package {name}" for name in meanings(given.get("base_packages", []), known)}
    return frozenset(found)


def forgotten(left: Set[str], taken: Set[str]) -> set[str]:
    """What is neither taken nor in a folder that is."""
    folders = tuple(f"{path}/" for path in taken if path.startswith("/"))
    packages = [name.removeprefix("package ") for name in taken if name.startswith("package ")]
    return {
        each
        for each in left
        if each not in taken
        and not each.startswith(folders)
        and not any(each.startswith("package ") and re.fullmatch(p, each[8:]) for p in packages)
    }
