"""Numbers as people read them: three significant digits, the same form everywhere. Pure."""

from __future__ import annotations


def number(value: float) -> str:
    """Three significant digits: 4.71, 212, 0.0612, 1,234; 3.0e-4 below 0.001 and 1.2e4 from 10,000; "NaN", "inf", "-inf"."""
    raise NotImplementedError


def short(value: float) -> str:
    """At most two significant digits, no trailing zeros, for ranges: 0.9, 1.4, 1e-4, 2e-2, 120."""
    raise NotImplementedError


def span(low: float, high: float, dash: str = "–") -> str:
    """A range: 0.9–1.4."""
    raise NotImplementedError


def step(count: int) -> str:
    """A step with thousands separators: 1,212."""
    raise NotImplementedError


def duration(seconds: float) -> str:
    """Time to go or taken: 0:34, 12:05, 1:02:03, 2 d 03:04; "–" where it is not known."""
    raise NotImplementedError


def age(seconds: float) -> str:
    """How old: 0.4 s, 12 s, 4 min, 3 h, 2 d."""
    raise NotImplementedError


def size(count: float) -> str:
    """Bytes: 812 B, 3.1 kB, 2.1 GB (powers of 1,000)."""
    raise NotImplementedError


def percent(fraction: float) -> str:
    """A share: 43 %."""
    raise NotImplementedError
