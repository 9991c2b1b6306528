"""Numbers as the verdict says them. Pure; knows no rule."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Three significant digits; `3.0e-4` below 0.001 and from 10,000 on; words for what is not a number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 10_000:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"


def percent(share: float) -> str:
    """A share of 0 to 1 in percent, without the sign: 98, 12, 2.6, 0.4."""
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.1f}" if share >= 0.001 else number(100 * share)


def rate(value: float) -> str:
    """A learning rate as people write it: 3e-2, 2.5e-4."""
    if not math.isfinite(value) or value == 0:
        return number(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def fold(value: float, base: float = 1.0) -> str:
    """How many times as large as `base`: 190x, 3.2x."""
    value = value / base if base else math.inf
    if not math.isfinite(value):
        return "infinitely many times"
    return f"{number(value)}x" if value >= 10_000 else f"{value:,.0f}x" if value >= 10 else f"{value:.1f}x"


def count(step: int) -> str:
    """A step number with thousands separators."""
    return f"{step:,}"


def seconds(value: float) -> str:
    """A duration of one step, to two digits or the second: 38 ms, 0.41 s, 2.3 s, 41 s."""
    if not math.isfinite(value):
        return number(value)
    if value < 0.095:
        return f"{1e3 * value:.1f} ms" if value < 0.0095 else f"{1e3 * value:.0f} ms"
    return f"{value:,.0f} s" if value >= 9.5 else f"{value:.1f} s" if value >= 0.95 else f"{value:.2f} s"


def bytes_(value: float) -> str:
    """An amount of memory in powers of 1,000: 640 MB, 3.1 GB."""
    if not math.isfinite(value):
        return number(value)
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= 0.9995 * scale:
            return f"{value / scale:.1f} {unit}" if abs(value) < 9.95 * scale else f"{value / scale:,.0f} {unit}"
    return f"{value:.0f} B"
