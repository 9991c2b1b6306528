"""A plain table: for terminals, pipes and grep alike."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """The rows, the first of them as heading, in columns two spaces apart."""
    from rich.cells import cell_len

    from tuimon.record.printing import print_words
    from tuimon.viewer.text import pad

    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print_words("  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip())
