"""Numbers as people read them, where charts look for them. Pure."""

from tuimon.diagnosis.figures import UNKNOWN, age, duration, number, percent, short, size, span, step

__all__ = ["UNKNOWN", "age", "duration", "number", "percent", "short", "size", "span", "step"]
