"""What is in a bundle, as CycloneDX: uv's export of the lock file, cut to what the bundle has.

uv dates its export and numbers it at random. Both follow from the bundle here, so that the same commit gives
the same file.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

NAMESPACE = uuid.UUID("5b1c1f3e-0b7a-5d7c-9f52-6a0a3c1d8e11")
"""Of the serial numbers."""


def cut(exported: dict[str, Any], digests: Mapping[str, str], version: str, epoch_s: int) -> dict[str, Any]:
    """`digests` are file name → SHA-256 in hex of every wheel of the bundle. Components are left that have
    one of them, and of their distributions those. ValueError where a wheel is no component's.
    """
    wanted = set(digests.values())
    found: set[str] = set()
    components = []
    for component in exported["components"]:
        of_it = [each for each in component["externalReferences"] if _digest(each) in wanted]
        if of_it:
            found |= {_digest(each) for each in of_it}
            components.append({**component, "externalReferences": of_it})
    if strangers := sorted(name for name, digest in digests.items() if digest not in found):
        raise ValueError(f"the lock file knows nothing of {', '.join(strangers)}")
    root = {**exported["metadata"]["component"], "version": version, "purl": f"pkg:pypi/voxpop@{version}"}
    refs = {root["bom-ref"], *(component["bom-ref"] for component in components)}
    return {
        **exported,
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, ' '.join([version, *sorted(wanted)]))}",
        "metadata": {
            **exported["metadata"],
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s)),
            "component": root,
        },
        "components": components,
        "dependencies": [_among(each, refs) for each in exported["dependencies"] if each["ref"] in refs],
    }


def _digest(reference: Mapping[str, Any]) -> str:
    hashes: list[dict[str, str]] = reference.get("hashes", [])
    return next((each["content"] for each in hashes if each["alg"] == "SHA-256"), "")


def _among(dependency: dict[str, Any], refs: set[str]) -> dict[str, Any]:
    """The same without what the bundle has not, such as what other systems need."""
    on = [ref for ref in dependency.get("dependsOn", []) if ref in refs]
    return {"ref": dependency["ref"], **({"dependsOn": on} if on else {})}
