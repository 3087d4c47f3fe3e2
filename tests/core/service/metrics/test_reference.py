"""core.service.metrics.reference: the page, and that docs/metrics.md is it."""

from __future__ import annotations

from pathlib import Path

from core.service.metrics import Bound, counter, histogram
from core.service.metrics.reference import WIDTH, Section, write
from tests.core.service.cli.kit import voxpop
from tests.paths import ROOT


def test_the_page_in_docs_is_what_the_catalogues_say(tmp_path: Path) -> None:
    done = voxpop("metrics", "reference", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs/metrics.md").read_text() == done.stdout, (
        "run: voxpop metrics reference > docs/metrics.md"
    )
    assert max(map(len, done.stdout.splitlines())) <= WIDTH


def test_an_entry_has_all_that_was_declared() -> None:
    packets = counter(
        "voxpop_x_packets_total",
        "Packets, by all that there is.",
        without=[("up", "lost")],
        link=Bound("of ours"),
        direction=("up", "down"),
        outcome=("sent", "lost"),
    )
    took = histogram("voxpop_x_took_seconds", "What things took, all in all.", buckets=(0.1, 1.0))
    page = write([Section("Things", "What there is.", [packets, took])])
    assert page.partition("## Things\n\n")[2] == (
        "What there is.\n\n"
        "### `voxpop_x_packets_total`\n\n"
        "Counter. Packets, by all that there is.\n\n"
        "- `link`: of ours\n- `direction`: `up`, `down`\n- `outcome`: `sent`, `lost`\n"
        "- never together: `up` `lost`\n\n"
        "### `voxpop_x_took_seconds`\n\n"
        "Histogram, seconds. What things took, all in all.\n\n"
        "- `le`: `0.1`, `1.0`, `+Inf`\n"
    )


def test_the_table_of_renames_leads_to_names_that_there_are() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    rows = [
        line.split("|")[2].strip().strip("`").partition("{")[0]
        for line in (ROOT / "CHANGELOG.md").read_text().splitlines()
        if line.startswith("| `voxpop_")
    ]
    assert rows
    assert [name for name in rows if f"### `{name}`" not in page] == []
