"""Conditions of the collection are strings: one with a colon and a blank in it is a mapping to YAML, which
Ansible refuses, and only when it comes to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.ansible.collection import COLLECTION

CONDITIONS = ("when", "until", "changed_when", "failed_when", "that")
FOLDERS = ("roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/**/*.yml")


def conditions(found: object) -> Iterator[object]:
    """All below a part of a file."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key in CONDITIONS:
                yield from value if isinstance(value, list) else [value]
            yield from conditions(value)
    elif isinstance(found, list):
        for each in found:
            yield from conditions(each)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_condition_is_no_mapping(folder: str) -> None:
    read = {file: list(conditions(yaml.safe_load(file.read_text()))) for file in COLLECTION.glob(folder)}
    assert any(read.values())
    assert [(file, each) for file, found in read.items() for each in found if isinstance(each, dict)] == []
