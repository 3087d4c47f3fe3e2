"""Where an admin socket is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from core.service.admin.path import USUAL_FOLDER, address, admin_path
from core.service.admin.server import listen

CONFIG = Path("/etc/voxpop/voxpop.toml")


def test_where_it_is() -> None:
    assert admin_path("relay", None, CONFIG) == USUAL_FOLDER / "relay.sock"
    assert admin_path("relay", "a/b.sock", CONFIG) == Path("/etc/voxpop/a/b.sock")
    assert admin_path("relay", "/srv/b.sock", CONFIG) == Path("/srv/b.sock")


def test_a_path_of_any_length_can_be_had(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    path = folder / "relay.sock"
    with listen(path) as listener, socket.socket(socket.AF_UNIX) as client:
        with address(path) as name:
            client.connect(name)
        accepted, _ = listener.accept()
        accepted.close()
        assert path.is_socket()


def test_a_short_path_is_its_own_address(tmp_path: Path) -> None:
    with address(Path("/run/voxpop/relay.sock")) as name:
        assert name == "/run/voxpop/relay.sock"
    with pytest.raises(FileNotFoundError), address(tmp_path / ("x" * 120) / "relay.sock"):
        pass
