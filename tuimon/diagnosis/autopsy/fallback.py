"""What a log alone tells about its first non-finite step: the first bad gradient in backward order. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tuimon.diagnosis.autopsy.model import Autopsy, first_bad_gradient
from tuimon.diagnosis.rows import MUST_BE_FINITE
from tuimon.record.chunk import Chunk

ALL_BAD = "every gradient of that step is such: it came out of the loss, or of weights that were not finite"
NOTHING = "gradients of single tensors or layers were not recorded at that step, so none can be named"


def from_log(chunks: Iterable[Chunk], names: Sequence[str]) -> Autopsy | None:
    """Of the first step that is not finite; None where every one is. `names`: of the tensors in the log's vectors."""
    for chunk in chunks:
        bad = _first(chunk)
        if bad is None:
            continue
        step, values = bad
        rows = chunk.tensors
        here = np.flatnonzero(rows.steps == step)
        told = first_bad_gradient(names, rows.grad[here[0]], rows.grad_seen[here[0]]) if len(here) else None
        notes = (NOTHING,) if told is None else (ALL_BAD,) if told[1] else ()
        return Autopsy(step, "unknown", "backward order", told[0] if told else "", phase="backward", values=values,
                       notes=notes)
    return None


def _first(chunk: Chunk) -> tuple[int, dict[str, float]] | None:
    """The first row with a value that must be finite and is not. What a GradScaler skipped is its normal work."""
    skipped = _column(chunk, "skipped") == 1
    scaled = np.isfinite(_column(chunk, "loss_scale"))
    bad: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] = {}
    for name in MUST_BE_FINITE:
        if name in chunk.columns:
            bad[name] = chunk.present[name] & ~np.isfinite(chunk.columns[name])
    if "grad_norm" in bad:
        loss = bad.get("loss", np.zeros(len(chunk), np.bool_))
        bad["grad_norm"] &= ~(skipped | (scaled & np.isnan(_column(chunk, "skipped")) & ~loss))
    rows = np.flatnonzero(np.any(list(bad.values()), axis=0)) if bad else np.zeros(0, np.int64)
    if not len(rows):
        return None
    at = int(rows[0])
    return int(chunk.steps[at]), {name: float(chunk.columns[name][at]) for name, where in bad.items() if where[at]}


def _column(chunk: Chunk, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """NaN where it was not measured."""
    if name not in chunk.columns:
        return np.full(len(chunk), math.nan)
    return np.where(chunk.present[name], chunk.columns[name], math.nan)
