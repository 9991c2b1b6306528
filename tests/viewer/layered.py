"""Layers as the place shows them, made from plain numbers."""

from __future__ import annotations

import numpy as np

from tuimon.viewer.places.layers import shades
from tuimon.viewer.places.layers.model import Grid, LayersView, Tensors
from tuimon.viewer.places.layers.quantities import QUANTITY


def grid(steps, values, seen=None) -> Grid:
    """Each row its own column; values (m, L)."""
    values = np.asarray(values, np.float32)
    there = np.ones(values.shape, np.bool_) if seen is None else np.asarray(seen, np.bool_)
    fine = there & np.isfinite(values)
    low = np.where(fine, values, np.float32(np.nan))
    return Grid(np.asarray(steps, np.int64), low, low, values, there, there & ~fine)


def view(values, *, steps=None, quantity="gradient", names=None, before=None, last=None, seen=None,
         offered=("gradient", "update"), **more) -> LayersView:
    values = np.asarray(values, np.float32)
    count, layers = values.shape
    at = np.arange(1, count + 1) if steps is None else np.asarray(steps)
    what = grid(at, values, seen)
    known = count if before is None else max(3, int(np.searchsorted(at, before)))
    usual = shades.medians(np.where(what.seen[:known], what.last[:known], np.nan))
    return LayersView(
        1, quantity, offered, tuple(names or (f"blocks.{i}" for i in range(layers))), 0.0,
        float(at[-1] if last is None else last), before, what,
        shades.ranked(what, QUANTITY[quantity], shades.centres(usual)), usual, **more)


def calm(count: int, layers: int, *, seed: int = 0, level: float = 1e-3):
    return level * 10 ** (0.05 * np.random.default_rng(seed).standard_normal((count, layers)))


def exploding(count: int, layers: int, *, since: int):
    """The deeper, the worse: a thousandfold at the end."""
    values = calm(count, layers)
    growth = np.linspace(0, 3, count - since)[:, None] * np.linspace(0, 1, layers)[None]
    values[since:] *= 10 ** growth
    return values


def tensors(names, grads, usual, *, updates=None, shapes=None, trained=None, seen=None, weights=None, step=100) -> Tensors:
    count = len(names)
    return Tensors(
        tuple(names), tuple(shapes or ["4 x 4"] * count), ("float32",) * count, np.full(count, 16, np.int64),
        np.ones(count, np.bool_) if trained is None else np.asarray(trained), np.asarray(grads, np.float32),
        np.ones(count, np.bool_) if seen is None else np.asarray(seen), np.asarray(usual, np.float32),
        np.full(count, 1e-3, np.float32) if updates is None else np.asarray(updates, np.float32),
        np.full(count, np.nan if weights is None else weights, np.float32), np.full(count, weights is not None), step)


