"""The manifests of docs/kubernetes, as objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.paths import ROOT

FOLDER = ROOT / "docs" / "kubernetes"
BASES = ("transceiver", "relay")
KUSTOMIZATION = "kustomization.yaml"


def load(path: Path) -> list[dict[str, Any]]:
    """Every document of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def kustomization(base: str) -> dict[str, Any]:
    """What a base is made of."""
    (found,) = load(FOLDER / base / KUSTOMIZATION)
    return found


def objects(base: str) -> list[dict[str, Any]]:
    """Every object of a base."""
    return [each for name in kustomization(base)["resources"] for each in load(FOLDER / base / name)]


def one(base: str, kind: str) -> dict[str, Any]:
    """The object of a base that is of that kind."""
    (found,) = [each for each in objects(base) if each["kind"] == kind]
    return found


def pod(base: str) -> dict[str, Any]:
    """The pod that a base makes."""
    kind = "Deployment" if base == "transceiver" else "DaemonSet"
    spec: dict[str, Any] = one(base, kind)["spec"]["template"]["spec"]
    return spec


def container(base: str, name: str) -> dict[str, Any]:
    """A container of its pod, by name."""
    (found,) = [each for each in pod(base)["containers"] if each["name"] == name]
    own: dict[str, Any] = found
    return own
