"""What was measured, each figure with its unit and the benchmark that measures it.

Without anything else the figures are those of docs/scale.md, of a small virtual machine. `from_bench` takes
those of a file that `make bench` has written.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.schema import number


class Source(NamedTuple):
    """Where a figure is in bench.json."""

    part: str
    """`make bench ONLY=part`"""
    name: str
    factor: float = 1.0
    """From its unit there to ours."""


def measured(default: float, unit: str, help_text: str, source: Source) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A dataclass field for one figure; `default` is what docs/scale.md has."""
    metadata = {"kind": number(1e-9, 1e12, unit), "help": help_text, "unit": unit, "source": source}
    return dataclasses.field(default=default, metadata=metadata)


MIB = float(1 << 20)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one core, process, worker or server."""

    packets_per_core_s: float = measured(
        2_950_000.0, "packets/s", "packets that one core of a PoP host carries, at 50,000 flows",
        Source("lab", "packets that one CPU of the PoP carries, 50,000 flows"),
    )  # fmt: skip
    packet_ns_100k: float = measured(
        131.0, "ns", "the program's own time for a packet at 100,000 flows, either way",
        Source("fastpath", "either way, 100,000 flows"),
    )  # fmt: skip
    packet_ns_1m: float = measured(
        266.0, "ns", "the same at 1,000,000 flows: records are cold by then",
        Source("fastpath", "either way, 1,000,000 flows"),
    )  # fmt: skip
    new_flow_us: float = measured(
        112.0, "µs", "a relay worker's time for a first packet, as many flows ending",
        Source("firstpacket", "CPU of the worker for a new flow"),
    )  # fmt: skip
    restore_us: float = measured(
        160.0, "µs", "a relay worker's time for a flow restored from the store",
        Source("recall", "CPU of the worker for a flow restored"),
    )  # fmt: skip
    stranger_us: float = measured(
        34.0, "µs", "a worker's time for a packet of a client that waits, or is unknown",
        Source("recall", "CPU of the worker for a stranger's next packet"),
    )  # fmt: skip
    map_bytes_per_flow: float = measured(
        81.0, "bytes", "of maps, for a flow", Source("flows", "maps for a million flows", MIB / 1e6)
    )
    worker_bytes_per_flow: float = measured(
        217.0, "bytes", "of a relay's workers, for a flow",
        Source("flows", "memory of the worker's process", MIB / 1e6),
    )  # fmt: skip
    record_us: float = measured(
        31.0, "µs", "a worker's time for a record written to the store",
        Source("store", "CPU of the worker for one written"),
    )  # fmt: skip
    commands_per_server_s: float = measured(
        250_000.0, "commands/s", "commands that one server of a store takes, pipelined",
        Source("store", "SETs that one Redis takes"),
    )  # fmt: skip
    record_bytes: float = measured(
        246.0, "bytes", "of a store, for a record", Source("store", "memory of one record in Redis")
    )
    call_ms_per_s: float = measured(
        13.0, "ms/s", "a transceiver's time for a call, of each second",
        Source("calls", "CPU of a call"),
    )  # fmt: skip
    set_up_ms: float = measured(
        7.0, "ms", "a transceiver's time to set a call up and end it", Source("calls", "CPU of a set-up")
    )
    call_kib: float = measured(
        315.0, "KiB", "of a transceiver's memory, for a call", Source("calls", "memory of a call")
    )
    process_mib: float = measured(
        55.0, "MiB", "of a transceiver's process without calls",
        Source("calls", "memory of a process without calls"),
    )  # fmt: skip
    answers_per_process_s: float = measured(
        560.0, "calls/s", "offers that one process answers, and calls that it hangs up",
        Source("signaling", "calls answered and hung up per process"),
    )  # fmt: skip
    statuses_per_relay_s: float = measured(
        5_000.0, "requests/s", "status requests that a relay's supervisor answers",
        Source("signaling", "status requests answered per relay"),
    )  # fmt: skip

    def packet_ns(self, flows: float) -> float:
        """A core's time for a packet, by how many flows the host has: on a logarithmic scale between the
        two numbers that were measured, and level outside of them.
        """
        colder = min(max(math.log10(max(flows, 1.0) / 100_000), 0.0), 1.0)
        return 1e9 / self.packets_per_core_s + colder * max(self.packet_ns_1m - self.packet_ns_100k, 0.0)


def sources() -> dict[str, Source]:
    """Every figure's, by its key."""
    return {field.name: field.metadata["source"] for field in dataclasses.fields(Figures)}


def from_bench(document: object, problems: list[str]) -> dict[str, float]:
    """The figures that are in a parsed bench.json, by their keys; parts that were not run are left out.

    Faults are appended to `problems`: no such document, a part that lacks its figure, or has no number there.
    """
    parts = document.get("parts") if isinstance(document, Mapping) else None
    if not isinstance(parts, Mapping):
        problems.append('is not what `make bench` writes: it has no "parts"')
        return {}
    found: dict[str, float] = {}
    for key, source in sources().items():
        if not parts.get(source.part):
            continue  # not run, or not possible here
        value = _value(parts[source.part], source.name)
        if value is None:
            problems.append(f'has no number for "{source.name}" of {source.part}: `make bench` again')
        else:
            found[key] = value * source.factor
    return found


def _value(part: object, name: str) -> float | None:
    """Of the figure of that name."""
    for figure in part if isinstance(part, list) else ():
        if isinstance(figure, Mapping) and figure.get("name") == name:
            value = figure.get("value")
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
    return None
