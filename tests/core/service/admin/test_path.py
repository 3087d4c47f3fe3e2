"""Where an admin socket is."""

from __future__ import annotations

from pathlib import Path

from core.service.admin.path import USUAL_FOLDER, admin_path

CONFIG = Path("/etc/voxpop/voxpop.toml")


def test_where_it_is() -> None:
    assert admin_path("relay", None, CONFIG) == USUAL_FOLDER / "relay.sock"
    assert admin_path("relay", "a/b.sock", CONFIG) == Path("/etc/voxpop/a/b.sock")
    assert admin_path("relay", "/srv/b.sock", CONFIG) == Path("/srv/b.sock")
