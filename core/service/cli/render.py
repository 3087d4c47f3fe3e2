"""Tables of text, as operators read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]], right: frozenset[int]) -> str:
    """Columns in line; those numbered in `right` end in line instead of beginning so."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def aligned(column: int, cell: str) -> str:
        return cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])

    return "\n".join("  ".join(aligned(i, cell) for i, cell in enumerate(line)).rstrip() for line in lines)


def quantity(number: float) -> str:
    """`812`, `1.2k`, `3.4M`, `5.6G`: three digits are enough to read."""
    for unit in ("", "k", "M", "G", "T"):
        if number < 1000:
            return f"{number:.0f}{unit}" if not unit or number >= 100 else f"{number:.1f}{unit}"
        number /= 1000
    return f"{number:.0f}P"
