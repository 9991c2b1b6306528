"""Numbers out of what a file holds: floats, words for what is not finite, blanks for what was not measured. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from tuimon.errors import LogError
from tuimon.record.chunk import Bools, Floats

BLANK: Final = frozenset({"", "null", "none", "na", "n/a", "<na>", "-", "--"})
"""Words for "not measured", in lower case. "nan" is none of them: it is evidence."""
WORDS: Final = {
    "true": 1.0, "false": 0.0, "+infinity": math.inf, "-nan(ind)": math.nan, "nan(ind)": math.nan,
    "1.#inf": math.inf, "-1.#inf": -math.inf, "1.#qnan": math.nan, "-1.#ind": math.nan,
}
"""Words that `float` does not know."""
LARGEST_STEP: Final = 1 << 53
"""Beyond this a float skips whole numbers."""


def number(value: object) -> float | None:
    """A number, or None for what was not measured. Raises ValueError for what is no number."""
    if value is None:
        return None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in BLANK:
            return None
        return WORDS[word] if word in WORDS else _float(word)
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise ValueError(f"{type(value).__name__} is no number")


def _float(word: str) -> float:
    """Also with a decimal comma, as spreadsheets of half the world write it."""
    try:
        return float(word)
    except ValueError:
        if word.count(",") == 1 and "." not in word:
            return float(word.replace(",", "."))
        raise


def numbers(values: Sequence[Any], where: Callable[[int], str]) -> tuple[Floats, Bools]:
    """Values (n,) and whether each was measured (n,). LogError names the place `where(i)` of the first that is none."""
    try:
        return np.array(list(map(float, values)), np.float64), np.ones(len(values), np.bool_)
    except (ValueError, TypeError, OverflowError):
        pass
    found: list[float] = []
    present: list[bool] = []
    for i, value in enumerate(values):
        try:
            one = number(value)
        except ValueError:
            raise LogError(f"{where(i)}: {shown(value)} is not a number") from None
        found.append(math.nan if one is None else one)
        present.append(one is not None)
    return np.array(found, np.float64), np.array(present, np.bool_)


def whole(values: Floats, present: Bools, where: Callable[[int], str]) -> None:
    """Check that steps are whole numbers. LogError names the place of the first that is not."""
    with np.errstate(invalid="ignore"):
        good = ~present | ((np.floor(values) == values) & (np.abs(values) < LARGEST_STEP))
    if not good.all():
        i = int(np.argmin(good))
        raise LogError(f"{where(i)}: a step is a whole number below 2^53, not {float(values[i]):g}")


def shown(value: object) -> str:
    """What stood there, short enough for one line."""
    words = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return words if len(words) <= 40 else words[:37] + "..."
