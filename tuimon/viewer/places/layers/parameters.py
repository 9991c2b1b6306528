"""What was last measured of every parameter tensor. Pure but for what it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from tuimon.diagnosis.calm import FEWEST, Calm
from tuimon.record.chunk import Ints, TensorRows, Vectors
from tuimon.record.history import History
from tuimon.record.tensors import TensorTable
from tuimon.viewer.places.layers import shades
from tuimon.viewer.places.layers.learned import SAMPLES
from tuimon.viewer.places.layers.model import Tensors
from tuimon.viewer.text import clean

RECENT: Final = 64
"""Rows in which the newest update of a tensor is looked for: large models measure a block of tensors at a time."""
MORE: Final = 1.125
"""How many times as many rows as before are worth another look at what is usual."""


class Parameters:
    """The tensors of one run: what never changes of them is written out once."""

    def __init__(self, table: TensorTable | None) -> None:
        entries = () if table is None else table.entries
        self._raw = tuple(e.name for e in entries)
        self._names = tuple(clean(e.name, 120) for e in entries)
        self._shapes = tuple(" x ".join(map(str, e.shape)) or "scalar" for e in entries)
        self._dtypes = tuple(clean(e.dtype.removeprefix("torch."), 12) for e in entries)
        self._elements = np.array([e.numel for e in entries], np.int64)
        self._trained = np.array([e.trained for e in entries], np.bool_)
        self._usual = np.zeros(0, np.float32)
        self._known: tuple[str | None, Calm | None, int] = (None, None, 0)
        """What the usual is of: layer, stretch, rows."""

    def of(self, history: History, layer: str | None, at: int | None, quiet: Sequence[Calm]) -> Tensors:
        """The tensors of a layer, or of the whole model, as of a step or now; usual is what they show in calm."""
        which = np.arange(len(self._raw)) if layer is None else self._inside(layer)
        rows = history.tensor_rows()
        end = len(rows) if at is None else int(np.searchsorted(rows.steps, at, side="right"))
        if rows.grad.shape[1] != len(self._raw):
            end = 0   # of another table
        unknown, never = np.full(len(which), np.nan, np.float32), np.zeros(len(which), np.bool_)
        weights = history.weight_rows()
        logged = len(weights) if at is None else int(np.searchsorted(weights.steps, at, side="right"))
        if weights.values.shape[1] != len(self._raw):
            logged = 0
        return Tensors(
            _some(self._names, which, layer), _some(self._shapes, which, layer), _some(self._dtypes, which, layer),
            self._elements[which], self._trained[which],
            rows.grad[end - 1, which] if end else unknown,   # copies: the log goes on while the screen draws them
            rows.grad_seen[end - 1, which] if end else never,
            self._usual_of(rows, end, layer, quiet, which) if end else unknown,
            _newest(rows.update[max(0, end - RECENT):end, slice(None) if layer is None else which]) if end else unknown,
            weights.values[logged - 1, which] if logged else unknown,
            weights.seen[logged - 1, which] if logged else never,
            int(rows.steps[end - 1]) if end else 0)

    def _inside(self, layer: str) -> Ints:
        stem = f"{layer}."
        return np.array([i for i, name in enumerate(self._raw)
                         if not layer or name == layer or name.startswith(stem)], np.int64)

    def _usual_of(self, rows: TensorRows, end: int, layer: str | None, quiet: Sequence[Calm], which: Ints) -> Vectors:
        """(P,) the median of each tensor's gradient norms in the last calm stretch that is long enough."""
        places = [(one, *one.within(rows.steps[:end])) for one in quiet]
        last, first, until = next((p for p in reversed(places) if p[2] - p[1] >= FEWEST), places[0])
        until = until if until >= first + FEWEST else end
        size, (known, before, count) = until - first, self._known
        if (known, before) == (layer, last) and len(self._usual) == len(which) and count <= size < MORE * count:
            return self._usual
        sample = np.arange(first, until, max(1, -(-size // SAMPLES)))
        norms, seen = (one[sample] if layer is None else one[np.ix_(sample, which)]
                       for one in (rows.grad, rows.grad_seen))
        self._known = layer, last, size
        self._usual = shades.medians(np.where(seen, norms, np.float32(np.nan)))
        return self._usual


def _some(words: tuple[str, ...], which: Ints, layer: str | None) -> tuple[str, ...]:
    return words if layer is None else tuple(words[i] for i in which.tolist())


def _newest(updates: Vectors) -> Vectors:
    """(m, P), m > 0 -> (P,) the last value that is there."""
    last = np.where(~np.isnan(updates), np.arange(len(updates))[:, None], 0).max(0)
    return np.asarray(updates[last, np.arange(updates.shape[1])])
