"""`make drills`: plays every drill, prints a table, writes the figures to drills.json and to docs/drills.md.

    python -m tests.drills.run [NAME…]

Those named only: then the page stays as it is. The exit status is 1 when a bar was missed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from core.errors import VoxpopError
from edge.lab import lock
from edge.lab.drills import registry
from edge.lab.drills.drill import Drill
from edge.lab.drills.play import folder, play
from edge.lab.drills.table import as_json, markdown, render, replaced
from tests.browser import drill_pop_cut_off

OUTPUT, PAGE = Path("drills.json"), Path("docs/drills.md")
KEEP = "DRILLS_KEEP"
"""Of the environment: a directory for what every caller told."""
DRILLS: tuple[Drill, ...] = (*registry.DRILLS, *drill_pop_cut_off.DRILLS)
"""Those of the product, then those with a browser in them, which it does not have."""


def main(argv: list[str]) -> int:
    """Play the drills named, all of them without a name."""
    by_name = {drill.name: drill for drill in DRILLS}
    unknown = [name for name in argv if name not in by_name]
    if unknown:
        print(f"There is no drill {', '.join(unknown)}. Drills: {', '.join(by_name)}", file=sys.stderr)
        return 2
    try:
        lock.need_rights()
        kept = os.environ.get(KEEP)
        with folder(Path(kept) if kept else None) as directory:
            verdicts = [play(by_name[name], directory, _tell) for name in argv or by_name]
    except VoxpopError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(render(verdicts))
    OUTPUT.write_text(json.dumps(as_json(verdicts), indent=2, ensure_ascii=False) + "\n")
    if not argv:
        PAGE.write_text(replaced(PAGE.read_text(), markdown(verdicts)))
    return 0 if all(verdict.is_met for verdict in verdicts) else 1


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
