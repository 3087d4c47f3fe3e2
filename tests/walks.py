"""What CONTRIBUTING's table says to touch, done: each walk adds something to a copy of the sources.

`edits` are of the files in its row, `use` is the place where what was added is used, which the row calls so.
`proof` runs in the copy and fails where something is still missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.sources import Edit

REASON: Mapping[str, Edit] = {
    "ebpf/prog/verdict.h": (
        "\n\n#define VP_REASON_ENUM(",
        ' X(DROP_ODD, DROP, "drop_odd")\n\n#define VP_REASON_ENUM(',
    ),
    "ebpf/verdict.py": (
        '    UNKNOWN = "unknown"\n',
        '    DROP_ODD = "drop_odd"\n    UNKNOWN = "unknown"\n',
    ),
}
FIELD: Mapping[str, Edit] = {
    "ebpf/prog/layout.h": (
        "__u64 reserved_cold[6];",
        "__u32 odd_bytes, odd_pad; __u64 reserved_cold[5];",
    ),
    "ebpf/layout.py": (
        '("reserved_cold", c_uint64 * 6)',
        '("odd_bytes", c_uint32), ("odd_pad", c_uint32), ("reserved_cold", c_uint64 * 5)',
    ),
}
ODD_PACKETS: Mapping[str, Edit] = {
    "ebpf/prog/relay_xdp.c": (
        "\tif (packet->vip < 0) {\n",
        "\tif (packet->bytes == cfg->odd_bytes)\n\t\treturn vp_decide(packet, VP_DROP_ODD);\n"
        "\tif (packet->vip < 0) {\n",
    ),
}
"""The use of both: packets of so many bytes are dropped; of 0, which is nobody's, where nothing is set."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One row."""

    edits: Mapping[str, Edit]
    proof: str
    use: Mapping[str, Edit] = field(default_factory=dict)


WALKS: Mapping[str, Walk] = {
    "a counter of the relay": Walk(
        {
            "edge/relay/counters.py": (
                "SHARED: dict[str, Series] = {\n",
                "SHARED: dict[str, Series] = {\n"
                '    "odd": counter("voxpop_relay_odd_total", "Datagrams of an odd number of bytes."),\n',
            )
        },
        use={
            "edge/relay/slowpath.py": (
                "        values[_RECEIVED[1]] += len(datagram)\n",
                "        values[_RECEIVED[1]] += len(datagram)\n"
                '        values[counter_index("odd")] += len(datagram) & 1\n',
            )
        },
        proof="""
            from edge.metrics.catalogue import RELAY
            from edge.relay.counters import SHARED, counter_index, create
            counters, _ = create()
            counters.values[counter_index("odd")] += 3
            assert SHARED["odd"] in RELAY and counters.get("odd") == 3
        """,
    ),
    "a counter of a session": Walk(
        {
            "transceiver/media/path.py": (
                "    packets_received: int = 0\n",
                "    odd_packets: int = 0\n    packets_received: int = 0\n",
            ),
            "transceiver/host/catalogue.py": (
                "SESSION_COUNTERS = (\n",
                "SESSION_COUNTERS = (\n    _session_counter(\n"
                '        "voxpop_transceiver_audio_odd_packets_total", "Packets of odd length.",\n'
                '        "direction", {"received": "odd_packets"},\n    ),\n',
            ),
        },
        use={
            "transceiver/media/path.py": (
                "COUNTERS: Final = (\n",
                'COUNTERS: Final = (\n    "odd_packets",\n',
            )
        },
        proof="""
            from transceiver.host import catalogue
            from transceiver.media.path import COUNTERS, PathStats
            (odd,) = (c for c in catalogue.SESSION_COUNTERS if "odd" in c.series.name)
            assert set(odd.members.values()) <= set(COUNTERS) and PathStats().odd_packets == 0
        """,
    ),
    "an event of a transceiver": Walk(
        {
            "transceiver/observer.py": (
                "EVENTS: tuple[Series, ...] = (\n    SETUP,",
                'ODD = counter("voxpop_transceiver_odd_total", "Events of which there was an odd number.")\n'
                "EVENTS: tuple[Series, ...] = (\n    ODD,\n    SETUP,",
            )
        },
        proof="""
            from transceiver.host.worker_metrics import Metrics
            from transceiver.observer import ODD
            metrics = Metrics()
            metrics.count(ODD)
            assert b"voxpop_transceiver_odd_total 1.0" in metrics.exposition()
        """,
    ),
    "a reason of the fast path": Walk(
        REASON,
        proof="""
            import re
            from pathlib import Path
            from ebpf import verdict
            there = re.findall(r'X\\(\\w+, \\w+, "(\\w+)"\\)', Path("ebpf/prog/verdict.h").read_text())
            assert there == list(verdict.KNOWN) and there[-1] == "drop_odd"
        """,
    ),
    "a field that the relay tells the program": Walk(
        FIELD,
        proof="""
            import ctypes
            from ebpf import layout
            assert ctypes.sizeof(layout.Config) == 340 * 1024 and layout.Config.odd_bytes.size == 4
        """,
    ),
    "a config key": Walk(
        {
            "core/config/tables.py": (
                "    max_flows: int = setting(",
                '    odd: int = setting(integer(0, 9), "how odd", default=3, reloadable=True)\n'
                "    max_flows: int = setting(",
            )
        },
        proof="""
            from core.config import RelaySettings
            from core.config.reference import write
            from core.schema import read_table
            table, problems = {"pop": "a", "vips": ["192.0.2.1:3478"], "odd": 12}, []
            read = read_table(RelaySettings, table, "relay", problems)
            assert read is None and problems == ["relay.odd must be a whole number, 0–9"]
            assert "| `odd` | 0–9 | `3` |" in write()
        """,
    ),
    "a verb": Walk(
        {
            "edge/ops/odd.py": (
                "",
                '"""`voxpop odd`: says so."""\n\ndef register(verbs):\n    """Add `odd`."""\n'
                '    odd = verbs.add_parser("odd", help="say so")\n'
                "    odd.set_defaults(run=lambda _: print('odd') or 0)\n",
            ),
            "edge/cli.py": (
                "from edge.ops import dataplane, doctor, flows, pops, stats, version\n",
                "from edge.ops import dataplane, doctor, flows, odd, pops, stats, version\n",
            ),
        },
        use={
            "edge/cli.py": (
                "(dataplane, flows, stats, pops, doctor, version)",
                "(dataplane, flows, stats, pops, doctor, version, odd)",
            )
        },
        proof="""
            import voxpop
            assert voxpop.main(["odd"]) == 0
        """,
    ),
    "a backend": Walk(
        {
            "transceiver/backends/odd.py": (
                "",
                '"""A parrot by another name."""\n\n'
                "from transceiver.backends.built_in import PARROT as BACKEND\n\n"
                '__all__ = ["BACKEND"]\n',
            ),
            "transceiver/backends/registry.py": (
                "BUILT_IN = (",
                'BUILT_IN = (EntryPoint("odd", "transceiver.backends.odd:BACKEND", GROUP), ',
            ),
        },
        proof="""
            from transceiver.backends.registry import choose
            assert choose("odd", {"odd": {"threshold": 0.4}}).settings.threshold == 0.4
        """,
    ),
}
