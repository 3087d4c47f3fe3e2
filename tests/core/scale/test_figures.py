"""core.scale.figures: what bench.json says, and every figure's benchmark."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.scale.figures import Figures, from_bench, sources
from tests.bench.result import Figure
from tests.bench.run import as_json
from tests.paths import ROOT

BENCH = ROOT / "tests" / "bench"


def test_figures_are_read_from_what_the_benchmarks_write() -> None:
    written = as_json({
        "store": [
            Figure("SETs that one Redis takes", 123_456.0, "/s", at_least=50_000),
            Figure("CPU of the worker for one written", 31.5, "µs"),
            Figure("memory of one record in Redis", 250.0, "bytes"),
        ],
        "flows": [
            Figure("maps for a million flows", 100.0, "MiB"),
            Figure("memory of the worker's process", 200.0, "MiB"),
        ],
        "firstpacket": [],
    })  # fmt: skip
    problems: list[str] = []
    assert from_bench(json.loads(json.dumps(written)), problems) == {
        "commands_per_server_s": 123_456.0,
        "record_us": 31.5,
        "record_bytes": 250.0,
        "map_bytes_per_flow": pytest.approx(104.8576),
        "worker_bytes_per_flow": pytest.approx(209.7152),
    }
    assert problems == []


@pytest.mark.parametrize("document", [None, [], {}, {"parts": []}, "parts", 1])
def test_what_is_no_bench_json_is_named(document: object) -> None:
    problems: list[str] = []
    assert from_bench(document, problems) == {}
    assert problems == ['is not what `make bench` writes: it has no "parts"']


@pytest.mark.parametrize("value", [None, True, "12", float("nan"), float("inf")])
def test_a_part_without_its_figure_is_named(value: object) -> None:
    problems: list[str] = []
    part = [{"name": "CPU of the worker for a new flow", "value": value}]
    assert from_bench({"parts": {"firstpacket": part}}, problems) == {}
    assert problems == [
        'has no number for "CPU of the worker for a new flow" of firstpacket: `make bench` again'
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([source.part for source in sources().values()]), json_values))
def test_anything_may_be_in_the_file(parts: object) -> None:
    assert from_bench({"parts": parts}, []) == {}


def literals(path: Path) -> Iterator[str]:
    """Every text in a module; of one with values in it, those of numbers of flows too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield from ("".join(parts).replace("{}", f"{flows:,}") for flows in (50_000, 100_000, 1_000_000))


@pytest.mark.parametrize("key", sources())
def test_there_is_a_benchmark_for_each_figure(key: str) -> None:
    source = sources()[key]
    assert source.name in set(literals(BENCH / f"bench_{source.part}.py"))


def test_a_packet_costs_more_when_records_are_cold() -> None:
    figures = Figures(packets_per_core_s=2e6, packet_ns_100k=100, packet_ns_1m=250)
    assert figures.packet_ns(0) == figures.packet_ns(50_000) == figures.packet_ns(100_000) == 500
    assert figures.packet_ns(316_228) == pytest.approx(575, abs=0.1)  # half way, on a logarithmic scale
    assert figures.packet_ns(1_000_000) == figures.packet_ns(4_000_000) == 650


def test_a_disturbed_measurement_makes_no_packet_cheaper() -> None:
    assert Figures(packets_per_core_s=1e6, packet_ns_100k=300, packet_ns_1m=200).packet_ns(1e6) == 1000
