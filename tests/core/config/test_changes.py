"""core.config.changes: of what has changed, what a daemon that runs does not take."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from core.config import parse, restarts
from tests.core.config.test_parse import WHOLE

DATAPLANE = {"interfaces": ["eth0"], "backbone": ["10.9.0.1", "2001:db8:9::1"]}


def with_(changes: dict[str, dict[str, Any] | None]) -> Any:
    document = copy.deepcopy(WHOLE) | {"dataplane": DATAPLANE}
    for table, values in changes.items():
        if values is None:
            del document[table]
        else:
            document[table] = document[table] | values
    return parse(document)


@pytest.mark.parametrize(
    ("daemon", "tables", "changes", "expected"),
    [
        ("relay", ("relay",), {}, []),
        ("relay", ("relay",), {"relay": {"idle_timeout_s": 5, "takeover_silence_s": 6}}, []),
        ("relay", ("relay",), {"relay": {"drain_timeout_s": 7, "max_flows": 8}}, ["relay.max_flows"]),
        ("relay", ("relay",), {"dataplane": {"mode": "native"}}, []),
        ("relay", ("relay", "dataplane"), {"dataplane": {"mode": "native"}}, ["dataplane.mode"]),
        ("relay", ("relay", "dataplane"), {"dataplane": {"dscp_upstream": 46, "punt_total_pps": 5}}, []),
        ("relay", ("relay", "dataplane"), {"dataplane": None}, ["[dataplane]"]),
        ("transceiver", ("transceiver",), {"transceiver": {"cors_origins": ["*"]}}, []),
        (
            "transceiver",
            ("transceiver",),
            {"transceiver": {"page": True, "max_sessions": 7}},
            ["transceiver.page", "transceiver.max_sessions"],
        ),
    ],
)
def test_restarts(daemon: str, tables: tuple[str, ...], changes: Any, expected: list[str]) -> None:
    found = restarts(daemon, tables, with_({}), with_(changes))
    assert sorted(found) == sorted(expected)
    assert restarts(daemon, tables, with_(changes), with_({})) == found, "there and back"
