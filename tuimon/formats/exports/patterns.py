"""Rows of numbers as lines of text, quickly: rows that lack the same values share one template. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Bools, Floats, Ints

ABSENT, FINITE, NAN, INFINITE, NEGATIVE = range(5)
"""What a cell holds: nothing, a number, or one of the three that are not finite."""
Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of n cells."""

    values: Floats | Ints
    """(n,)"""
    codes: Codes
    """(n,) what each cell holds."""


def cells_of(values: Floats, present: Bools) -> Cells:
    """A column of the record."""
    codes = present.astype(np.uint8)
    odd = present & ~np.isfinite(values)
    if odd.any():
        codes[odd] = np.where(np.isnan(values[odd]), NAN, np.where(values[odd] > 0, INFINITE, NEGATIVE))
    return Cells(values, codes)


def groups(codes: NDArray[np.uint8]) -> Iterator[tuple[tuple[int, ...], Ints]]:
    """Each pattern that rows (n, k) have, and those rows (m,), ascending."""
    if not len(codes):
        return
    first = codes[0]
    if (codes == first).all():
        yield tuple(first.tolist()), np.arange(len(codes))
        return
    packed = np.ascontiguousarray(codes).view(np.dtype((np.void, codes.shape[1]))).reshape(-1)
    _, leaders, which = np.unique(packed, return_index=True, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    counts = np.bincount(which.reshape(-1))
    at = 0
    for leader, count in zip(leaders.tolist(), counts.tolist(), strict=True):
        yield tuple(codes[leader].tolist()), order[at:at + count]
        at += count


def lines_of(columns: Sequence[Cells], template: Callable[[tuple[int, ...]], str]) -> list[str]:
    """A line for each row: `template` gives, for what a row's cells hold, a % template that takes its finite ones."""
    codes = np.stack([column.codes for column in columns], 1)
    lines: list[str] = [""] * len(codes)
    for pattern, rows in groups(codes):
        form = template(pattern)
        taken = [column.values for column, code in zip(columns, pattern, strict=True) if code == FINITE]
        whole = len(rows) == len(codes)
        cells = [(values if whole else values[rows]).tolist() for values in taken]
        made = list(map(form.__mod__, zip(*cells, strict=True))) if cells else [form % ()] * len(rows)
        if whole:
            return made
        for row, line in zip(rows.tolist(), made, strict=True):
            lines[row] = line
    return lines


WORDS: Final = {NAN: "nan", INFINITE: "inf", NEGATIVE: "-inf"}
"""As Python, NumPy, pandas, R and our own reader know them."""
JSON_WORDS: Final = {NAN: '"NaN"', INFINITE: '"Infinity"', NEGATIVE: '"-Infinity"'}
"""JSON has no numbers for them."""
