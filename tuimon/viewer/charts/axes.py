"""Axes, where charts look for them. Pure."""

from tuimon.diagnosis.axes import (
    LABEL,
    WIDE_DECADES,
    Tick,
    XAxis,
    YAxis,
    columns_of,
    fit,
    is_wide,
    limits,
    multiples,
    nice_step,
)

__all__ = [
    "LABEL", "WIDE_DECADES", "Tick", "XAxis", "YAxis", "columns_of", "fit", "is_wide", "limits", "multiples",
    "nice_step",
]
