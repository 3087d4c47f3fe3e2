"""Whether the clocks of transceiver hosts agree with this one's, by what the relay has heard of theirs."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.addr import Endpoint
from core.clocks import TOLERANCE_S, describe
from core.service.files import load_config
from edge.ops.doctor.checks import Check, note, ok, skipped

NAME = "clocks"
TIMEOUT_S = 2.0
MAX_BYTES = 1 << 16
MAX_NAMED = 4


def check(config_path: Path) -> Iterator[Check]:
    """One check; none without a [relay]. Raises ConfigError where the configuration cannot be used."""
    relay = load_config(config_path).relay
    if relay is not None:
        yield _judge(relay.metrics)


def _judge(status: Endpoint) -> Check:
    try:
        ahead_s = _ask(status).get("clocks_ahead_s", {})
        off = {str(host): float(seconds) for host, seconds in ahead_s.items()}
    except (OSError, http.client.HTTPException, ValueError, AttributeError, TypeError):
        return skipped(
            NAME, f"the relay, which hears those of transceiver hosts, does not answer at {status}"
        )
    if not off:
        return ok(NAME, f"no transceiver host that asks this relay is more than {TOLERANCE_S:.0f} s off")
    named = [f"{host} is {describe(seconds)} this one" for host, seconds in list(off.items())[:MAX_NAMED]]
    more = f", and {len(off) - MAX_NAMED} more" if len(off) > MAX_NAMED else ""
    fix = "set all by NTP: a relay judges by its own clock how long tokens are good for"
    return note(NAME, f"those of transceiver hosts are apart from ours: {', '.join(named)}{more}", fix)


def _ask(status: Endpoint) -> Any:  # noqa: ANN401 - JSON
    """/healthz of the relay. Raises OSError, HTTPException, ValueError."""
    connection = http.client.HTTPConnection(*status.from_here, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return json.loads(connection.getresponse().read(MAX_BYTES))
    finally:
        connection.close()
