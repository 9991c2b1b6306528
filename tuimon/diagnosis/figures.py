"""Numbers as people read them: three significant digits, the same form everywhere. Pure."""

from __future__ import annotations

import math
from typing import Final

UNKNOWN: Final = "–"
"""Where there is no number to show."""


def number(value: float) -> str:
    """Three significant digits: 4.71, 212, 0.0612, 1,234; 3.0e-4 below 0.001, 1.2e4 from 10,000; NaN, inf, -inf."""
    words = _odd(value)
    if words is not None:
        return words
    rounded = float(f"{value:.2e}")
    size = abs(rounded)
    if size >= 10_000 or size < 1e-3:
        return _scientific(value, 1)
    if size >= 1_000:
        return f"{value:,.0f}" if abs(round(value)) < 10_000 else _scientific(value, 1)
    return f"{rounded:.{2 - math.floor(math.log10(size))}f}"


def narrow(value: float, width: int) -> str:
    """The same in at most so many cells, where one digit is enough for that: 9e-11 for 8.8e-11 in 6."""
    words = number(value)
    return words if len(words) <= width else _scientific(value, 0)


def short(value: float) -> str:
    """At most two significant digits, no trailing zeros, for ranges: 0.9, 1.4, 1e-4, 2e-2, 120."""
    words = _odd(value)
    if words is not None:
        return words
    rounded = float(f"{value:.1e}")
    if not 0.1 <= abs(rounded) < 10_000:
        return _scientific(value, 1).replace(".0e", "e")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:.2g}"


def span(low: float, high: float, dash: str = "–") -> str:
    """A range, both ends in one form: 0.9–1.4, 0.035–0.58, 1e-4–1e-2; 1 where they read the same."""
    ends = [short(low), short(high)]
    if sum("e" in end for end in ends) == 1 and all(end == 0 or 1e-4 <= abs(end) < 100_000 for end in (low, high)):
        ends = [f"{float(f'{end:.1e}'):,g}" for end in (low, high)]
    return dash.join(dict.fromkeys(ends))


def step(count: int) -> str:
    """A step with thousands separators: 1,212."""
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """How many of something: 1 step, 1,212 steps."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


_TROUBLES: Final = {"No space left on device": "disk full", "Disk quota exceeded": "disk quota used up"}


def trouble(why: str) -> str:
    """What kept a run from being recorded, within a sentence; `why` as the system, or its writer, says it."""
    is_word = why.split(" ", 1)[0][1:].islower()   # the name of an exception keeps its capitals
    return _TROUBLES.get(why) or (why[:1].lower() + why[1:] if is_word else why) or "the disk did not take it"


def unrecorded(rows: int, why: str, events: int = 0) -> str:
    """What a log itself says is missing from it: 1,204 rows and 3 events not recorded: disk full."""
    missing = [counted(count, word) for count, word in ((rows, "row"), (events, "event")) if count > 0]
    return f"{' and '.join(missing)} not recorded: {trouble(why)}"


def duration(seconds: float, *, plain: bool = False) -> str:
    """Time to go or taken: 0:34, 12:05, 1:02:03, 2 d 03:04, or plain seconds: 3,723 s; "–" where it is not known."""
    if not math.isfinite(seconds) or seconds < 0:
        return UNKNOWN
    if plain:
        return f"{round(seconds):,} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,} d {hour:02}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def age(seconds: float) -> str:
    """How old: 0.4 s, 12 s, 4 min, 3 h, 2 d. A clock that runs backwards reads 0.0 s."""
    if not math.isfinite(seconds):
        return UNKNOWN
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for size, unit in ((1, "s"), (60, "min"), (3_600, "h")):
        if round(seconds / size) < {"s": 60, "min": 60, "h": 48}[unit]:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds / 86_400):,} d"


def size(count: float, *, binary: bool = False) -> str:
    """Bytes: 812 B, 3.1 kB, 2.1 GB (powers of 1,000), or 3.0 KiB, 2.0 GiB (powers of 1,024)."""
    if not math.isfinite(count):
        return UNKNOWN
    base = 1_024 if binary else 1_000
    if abs(round(count)) < base:
        return f"{round(count):,} B"
    *units, last = ("KiB", "MiB", "GiB", "TiB", "PiB") if binary else ("kB", "MB", "GB", "TB", "PB")
    for unit in units:
        count /= base
        if abs(count) < 9.95:
            return f"{count:.1f} {unit}"
        if abs(count) < base - 0.5:
            return f"{count:,.0f} {unit}"
    return f"{count / base:,.1f} {last}"


def many(count: float) -> str:
    """A count in three digits: 812, 4.1k, 124M, 1.2B."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def percent(fraction: float) -> str:
    """A share: 43 %. Only what is complete reads 100 %, only nothing reads 0 %."""
    if not math.isfinite(fraction):
        return UNKNOWN
    share = round(100 * fraction)
    if 0 < fraction < 1:
        share = min(99, max(1, share))
    return f"{share} %"


def plain_factor(value: float) -> str:
    """A factor or a limit as a person would type it: 0.1, 1.0, 20."""
    return f"{value:.1f}" if abs(value) < 100 and value == round(value) else f"{value:.3g}"


def _odd(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return "0" if value == 0 else None


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"
