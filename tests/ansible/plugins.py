"""Plugins of the collection, as Ansible loads them: by their paths."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.paths import ROOT


def module(kind: str, name: str) -> ModuleType:
    """A plugin of the collection, as Ansible loads it: by its path."""
    path = ROOT / "ansible" / "plugins" / kind / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
