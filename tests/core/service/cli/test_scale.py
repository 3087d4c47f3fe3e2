"""`voxpop scale`, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.result import Figure
from tests.bench.run import as_json
from tests.core.service.cli.kit import voxpop


def bench(path: Path, **values: float) -> Path:
    """A bench.json with some figures of the store."""
    names = {"sets": "SETs that one Redis takes", "write": "CPU of the worker for one written",
             "record": "memory of one record in Redis"}  # fmt: skip
    usual = {"sets": 250_000.0, "write": 30.0, "record": 246.0}
    figures = [Figure(names[key], value, "") for key, value in (usual | values).items()]
    path.write_text(json.dumps(as_json({"store": figures})))
    return path


def test_tables_for_people(tmp_path: Path) -> None:
    done = voxpop("scale", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("10.0M calls at once of 3m00s, 111k begin in the busiest second\n")
    for words in (
        "PoP host",
        "transceiver host",
        "store server",
        "BREAKS",
        "they carry all",
        "10 of 30 PoPs",
    ):
        assert words in done.stdout


def test_json_for_scripts(tmp_path: Path) -> None:
    done = voxpop("scale", "--json", "--set", "traffic.calls=2e6", "--set", "layout.pops=1", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["plan"]["traffic"]["calls"] == 2_000_000
    assert set(told["tiers"]) == {"PoP host", "transceiver host", "store server", "status of a PoP"}
    assert [loss["what"] for loss in told["losses"]] == ["a host of a PoP"] * 2


def test_the_plan_that_is_shown_can_be_edited_and_given(tmp_path: Path) -> None:
    shown = voxpop("scale", "--show", "--set", "pop.nic_gbit_s=100", cwd=tmp_path).stdout
    plan = tmp_path / "plan.toml"
    plan.write_text(shown.replace("pops = 30 ", "pops = 12 "))
    told = json.loads(voxpop("scale", "--plan", plan, "--json", cwd=tmp_path).stdout)
    assert (told["plan"]["pop"]["nic_gbit_s"], told["plan"]["layout"]["pops"]) == (100, 12)


def test_what_was_measured_counts_over_the_plan_and_a_setting_over_both(tmp_path: Path) -> None:
    first = bench(tmp_path / "first.json", sets=111_111.0, record=300.0)
    second = bench(tmp_path / "second.json", sets=222_222.0, record=300.0)
    (tmp_path / "plan.toml").write_text("[figures]\ncommands_per_server_s = 1.0\ncall_kib = 77.0\n")
    words = ["scale", "--json", "--plan", "plan.toml", "--bench", first, "--bench", second]
    figures = json.loads(voxpop(*words, cwd=tmp_path).stdout)["plan"]["figures"]
    assert (figures["commands_per_server_s"], figures["record_bytes"]) == (222_222, 300)
    assert figures["call_kib"] == 77
    words += ["--set", "figures.commands_per_server_s=5e5"]
    assert json.loads(voxpop(*words, cwd=tmp_path).stdout)["plan"]["figures"]["commands_per_server_s"] == 5e5


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "not.json").write_text("{")
    (tmp_path / "other.json").write_text("{}")
    done = voxpop(
        "scale", "--bench", "gone.json", "--bench", "not.json", "--bench", "other.json", "--set", "pop.cores",
        "--set", "pop.kores=2", "--set", "traffic.calls=-1", cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "voxpop: gone.json: cannot be read: No such file or directory",
        "voxpop: not.json: is not JSON",
        'voxpop: other.json: is not what `make bench` writes: it has no "parts"',
        "voxpop: --set pop.cores: is not TABLE.KEY=NUMBER",
        "voxpop: traffic.calls must be a number, 1–1e+09 calls",
        "voxpop: pop.kores is not a setting; did you mean cores?",
    ]


def test_help_teaches(tmp_path: Path) -> None:
    text = voxpop("scale", "--help", cwd=tmp_path).stdout
    assert "make bench" in text
    assert "voxpop scale --show > plan.toml" in text
