"""The page that is written from the declarations."""

from __future__ import annotations

from tests.core.service.cli.kit import voxpop
from tests.paths import ROOT


def test_the_reference_in_docs_is_what_the_declarations_say() -> None:
    done = voxpop("config", "reference", cwd=ROOT)
    assert done.returncode == 0
    assert (ROOT / "docs/configuration.md").read_text() == done.stdout, (
        "run: voxpop config reference > docs/configuration.md"
    )
