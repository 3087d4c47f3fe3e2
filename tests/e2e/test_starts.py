"""What processes bring into themselves at their start: every kind only what it works with."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.reference import example
from tests.imports import heavy_imports, heavy_imports_of_command

SERVED = {"asyncio", "aiohttp", "prometheus_client"}
"""What shows metrics and readiness over HTTP."""
PROCESSES = {
    "edge.host.service": SERVED | {"uvloop"},
    "edge.host.worker": {"asyncio", "uvloop"},
    "edge.health.service": SERVED,
    "edge.host.dataplane": {"asyncio", "numpy", "pyroute2"},
    "transceiver.host.supervisor": SERVED | {"uvloop"},
}


@pytest.mark.parametrize("module", PROCESSES)
def test_a_process_imports_what_it_works_with(module: str) -> None:
    assert heavy_imports(module) == PROCESSES[module]


def test_calls_need_what_calls_are_made_of() -> None:
    """The list is of names that exist: who makes calls has them."""
    made = heavy_imports("transceiver.host.worker", "transceiver.backends.parrot")
    assert made >= {"aioice", "aiortc", "av", "cryptography", "numpy", "OpenSSL", "pylibsrtp", "webrtcvad"}


@pytest.mark.parametrize("verb", ["config check", "keys new", "config reference", "--help"])
def test_commands_that_look_at_files_import_nothing_heavy(tmp_path: Path, verb: str) -> None:
    config = tmp_path / "voxpop.toml"
    config.write_text(example())
    heavy_imports_of_command("keys", "new", tmp_path / "keys.toml")
    more = {"config check": [config], "keys new": [tmp_path / "more.toml"]}
    assert heavy_imports_of_command(*verb.split(), *more.get(verb, [])) - {"asyncio"} == set()
