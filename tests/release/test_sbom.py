"""The bill of materials names what is in the bundle, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from release.sbom import cut

VERSION, EPOCH_S = "0.1.0+gabc", 1_796_000_000


def component(name: str, *digests: str) -> dict[str, Any]:
    files = [
        {"type": "distribution", "url": f"https://x/{each}", "hashes": [{"alg": "SHA-256", "content": each}]}
        for each in digests
    ]
    return {"bom-ref": name, "name": name, "externalReferences": files}


def exported(serial: str, timestamp: str) -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": serial,
        "metadata": {"timestamp": timestamp, "component": {"bom-ref": "voxpop-1", "version": "0.1.0"}},
        "components": [component("numpy", "aa", "bb"), component("pywin", "cc"), component("soxr", "dd")],
        "dependencies": [
            {"ref": "voxpop-1", "dependsOn": ["soxr", "pywin"]},
            {"ref": "soxr", "dependsOn": ["numpy"]},
            {"ref": "pywin", "dependsOn": ["numpy"]},
            {"ref": "numpy"},
        ],
    }


def test_it_is_cut_to_the_wheels_that_are_there() -> None:
    made = cut(exported("x", "y"), {"numpy.whl": "bb", "soxr.whl": "dd"}, VERSION, EPOCH_S)
    assert made["components"] == [component("numpy", "bb"), component("soxr", "dd")]
    assert made["dependencies"] == [
        {"ref": "voxpop-1", "dependsOn": ["soxr"]},
        {"ref": "soxr", "dependsOn": ["numpy"]},
        {"ref": "numpy"},
    ]
    assert made["metadata"]["component"]["version"] == VERSION


def test_neither_chance_nor_the_clock_is_in_it() -> None:
    wheels = {"numpy.whl": "bb"}
    one = cut(exported("urn:uuid:1", "2026-01-01T00:00:00Z"), wheels, VERSION, EPOCH_S)
    two = cut(exported("urn:uuid:2", "2026-02-02T00:00:00Z"), wheels, VERSION, EPOCH_S)
    assert one == two
    assert one["metadata"]["timestamp"] == "2026-11-30T00:53:20Z"
    other = cut(exported("urn:uuid:1", "y"), {"numpy.whl": "aa"}, VERSION, EPOCH_S)
    assert other["serialNumber"] != one["serialNumber"]


def test_a_wheel_that_the_lock_file_does_not_know_is_a_fault() -> None:
    with pytest.raises(ValueError, match=r"knows nothing of evil\.whl"):
        cut(exported("x", "y"), {"numpy.whl": "aa", "evil.whl": "ee"}, VERSION, EPOCH_S)
