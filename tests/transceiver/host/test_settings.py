"""transceiver.host.settings: what goes over the control socket says to the worker what the operator wrote."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.service import keysfile
from core.service.files import load_config
from transceiver.host.settings import decode, load

CONFIG = """\
[token]
keys_file = "keys.toml"
[[cluster]]
id = 1
ipv4 = "127.0.0.1/32"
ports = [40000, 40007]
[[pop]]
id = "here"
vips = ["192.0.2.7:3478"]
[transceiver]
cluster = 1
host = 0
http = "127.0.0.1:8080"
open = true
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    keysfile.new(tmp_path / "keys.toml")
    path = tmp_path / "voxpop.toml"
    path.write_text(CONFIG)
    return path


def test_a_backend_that_nobody_has_is_refused(config: Path) -> None:
    name = f"x{secrets.token_hex(4)}"
    config.write_text(f'{CONFIG}backend = "parot"\n[backend.{name}]\nurl = "x"\n')
    with pytest.raises(ConfigError) as caught:
        load(config)
    assert caught.value.problems == [
        f"{config}: transceiver.backend: there is no backend parot; did you mean parrot?",
        f"{config}: [backend.{name}]: there is no backend {name}; known are parrot, realtime",
    ]


def test_a_pop_without_a_family_of_the_cluster_is_refused(config: Path) -> None:
    config.write_text(CONFIG.replace("192.0.2.7:3478", "[2001:db8::1]:3478"))
    with pytest.raises(ConfigError, match="so no client could get in"):
        load(config)


def test_a_worker_has_the_whole_document(config: Path) -> None:
    """A new setting reaches it by its declaration alone."""
    loaded = load(config)
    settings = decode(json.loads(json.dumps(loaded.message)))
    assert settings.config == loaded.settings.config == load_config(config)
    assert (settings.transceiver, settings.api_keys) == (settings.config.transceiver, None)
