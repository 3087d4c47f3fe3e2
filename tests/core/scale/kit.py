"""A plan of round numbers, and plans of any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from core.scale.assumptions import Layout, Plan, PopHost, Shard, Traffic, TransceiverHost
from core.scale.figures import Figures
from core.scale.plan import read

ROUND = Plan(
    Traffic(
        calls=1_200_000, call_s=120, surge=2, check_s=2, pops_named=2, families=1, ip_bytes=20,
        packets_per_s=50, audio_bits_per_s=32_000, reports_per_s=1, events_per_s=0,
    ),
    PopHost(
        cores=10, workers=4, nic_gbit_s=25, memory_gib=1, max_flows=500_000, idle_timeout_s=30, fill=0.5,
        punt_pps=20_000, punt_media_pps=20_000, punt_media_source_pps=5_000, nat_ports=20_000, backbones=30,
    ),
    TransceiverHost(cores=10, nic_gbit_s=10, memory_gib=11, max_sessions=200, fill=0.8),
    Shard(memory_gib=2, lease_s=180, fill=0.5),
    Layout(pops=12, regions=3, lost=1 / 3),
    Figures(
        packets_per_core_s=1e6, packet_ns_100k=100, packet_ns_1m=100, new_flow_us=100,
        restore_us=200, stranger_us=10, map_bytes_per_flow=100, worker_bytes_per_flow=200,
        record_us=20, commands_per_server_s=100_000, record_bytes=250, call_ms_per_s=10, set_up_ms=5,
        call_kib=512, process_mib=102.4, answers_per_process_s=400, statuses_per_relay_s=3030,
    ),
)  # fmt: skip
"""1.2 million calls of two minutes: 10,000 begin a second, 20,000 at worst, with two flows each."""


def changed(**tables: dict[str, object]) -> Plan:
    """The round plan with other values, by table."""
    values = {name: {**_values(ROUND, name), **tables.get(name, {})} for name in Plan.__slots__}
    problems: list[str] = []
    plan = read(values, problems)
    assert plan is not None, problems
    return plan


def _values(plan: Plan, name: str) -> dict[str, Any]:
    table = getattr(plan, name)
    return {key: getattr(table, key) for key in table.__slots__}


plans = st.builds(
    changed,
    traffic=st.fixed_dictionaries({
        "calls": st.floats(1, 1e9), "call_s": st.floats(1, 86_400), "surge": st.floats(1, 1000),
        "check_s": st.floats(0.1, 60), "pops_named": st.floats(1, 16), "families": st.floats(1, 2),
        "packets_per_s": st.floats(1, 1000), "behind_nat": st.floats(0, 1),
        "audio_bits_per_s": st.floats(0, 512_000),
    }),
    pop=st.fixed_dictionaries({
        "cores": st.floats(1, 1024), "workers": st.integers(1, 1024), "nic_gbit_s": st.floats(0.1, 1600),
        "max_flows": st.integers(1, 4_000_000), "backbones": st.integers(1, 64),
        "fill": st.floats(0.01, 1), "punt_pps": st.floats(1, 1e7),
        "punt_media_pps": st.floats(1, 1e7), "memory_gib": st.floats(0.1, 65_536),
    }),
    transceiver=st.fixed_dictionaries({
        "cores": st.integers(1, 1024), "memory_gib": st.floats(0.1, 65_536), "fill": st.floats(0.01, 1),
        "max_sessions": st.integers(1, 10_000),
    }),
    layout=st.fixed_dictionaries({
        "pops": st.integers(1, 200), "regions": st.integers(1, 20), "lost": st.floats(0, 0.9),
        "pop_hosts": st.one_of(st.just(0), st.integers(1, 500)),
    }),
    figures=st.fixed_dictionaries({
        "packets_per_core_s": st.floats(1, 1e9), "restore_us": st.floats(0.01, 1e4),
        "stranger_us": st.floats(0.01, 1e4), "commands_per_server_s": st.floats(1, 1e7),
        "process_mib": st.floats(1, 1e6), "answers_per_process_s": st.floats(0.1, 1e5),
    }),
)  # fmt: skip
"""Any that is allowed, however odd."""
