"""A plain table: for terminals, pipes and grep alike."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(rows: Sequence[tuple[str, ...]], spare: Sequence[str] = ()) -> None:
    """The rows, the first of them as heading, in columns two spaces apart.

    On a terminal that is narrower, columns named in `spare` are left out, the first of them first.
    """
    import sys

    from tuimon.cli.printed import paper
    from tuimon.record.printing import print_words
    from tuimon.viewer.text import pad

    room = paper().width if sys.stdout.isatty() else None
    widths = _widths(rows)
    for name in spare:
        if room is None or sum(widths) + 2 * (len(widths) - 1) <= room:
            break
        at = rows[0].index(name)
        rows = [(*row[:at], *row[at + 1:]) for row in rows]
        widths = _widths(rows)
    for row in rows:
        print_words("  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _widths(rows: Sequence[tuple[str, ...]]) -> list[int]:
    from rich.cells import cell_len

    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
