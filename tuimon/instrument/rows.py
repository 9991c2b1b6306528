"""A row of the ring, made into the names of the log. Pure: numbers in, numbers out.

Layout of a row of float32: the head, then for P tracked tensors the norms of gradients, of weights, of changes; then
for those of `Counts` how many of their elements changed, as roots: the norm of ones.
Sums are taken in float64. What was not measured gets no name; what was measured and is not finite stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuimon.instrument.probes.sampling import Sample
    from tuimon.instrument.ranks.shares import Shares

LOSS: Final = 0
FOUND_INF: Final = 1
LOSS_SCALE: Final = 2
LR: Final = 3
LR_SCHEDULED: Final = 4
TOTAL: Final = 5
HEAD: Final = 8
"""Numbers before the vectors; a multiple of 8 keeps those aligned."""

_FROM_HEAD: Final = {LOSS: "loss", LOSS_SCALE: "loss_scale", LR: "lr", LR_SCHEDULED: "lr_scheduled"}

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Counts:
    """The tensors of which it is counted how many elements a step changes; nearly always none."""

    at: NDArray[np.int64]
    """(Q,) their indices among the tracked ones, ascending."""
    sizes: NDArray[np.int64]
    """(Q,) their elements."""


@dataclass(slots=True)
class Finished:
    """One completed step on its way to the log."""

    step: int
    time: float
    slot: int
    head: set[int]
    """Which numbers of the head were written."""
    seen: list[bool]
    """(P,) tensors whose gradient norm was written."""
    weights: bool
    """Whether the norms of the weights were written."""
    moved: list[tuple[int, int]]
    """Stretches whose changes were written."""
    moved_all: bool
    """Whether these cover every tensor that was stepped."""
    resting: set[int]
    """Counted tensors whose learning rate was zero."""
    vectors: bool
    """Whether the log wants the per-tensor values of this step."""
    values: dict[str, float]
    """What was known on the host."""
    held: float = 0.0
    """Seconds that the run stood still after the step before."""
    logged: dict[str, Any] = field(default_factory=dict)
    """What the script logged: numbers, or parcels."""
    sample: Sample | None = None
    """What its activation probes measured, on its way as well; None at most steps."""
    sealed: bool = False
    """Whether the next step has begun, so that nothing can be added."""


def scalars(
    row: Vector, tensors: int, done: Finished, counts: Counts, shares: Shares | None = None
) -> dict[str, float]:
    """Everything measured at that step except what the script logged; of one rank of several, its `shares`."""
    values = dict(done.values)
    for index, name in _FROM_HEAD.items():
        if index in done.head:
            values[name] = float(row[index])
    if FOUND_INF in done.head:
        values["skipped"] = 1.0 if row[FOUND_INF] > 0 else values.get("skipped", 0.0)
    if shares is not None:
        return values | _squares(row, tensors, done, shares)
    if TOTAL in done.head:
        values["grad_norm"] = float(row[TOTAL])
    elif any(done.seen):
        grads = row[HEAD:HEAD + tensors]
        values["grad_norm"] = _norm(grads if all(done.seen) else grads[done.seen])
    if done.weights:
        values["param_norm"] = _norm(row[HEAD + tensors:HEAD + 2 * tensors])
        if "grad_norm" in values and values["param_norm"] != 0:
            values["grad_param_ratio"] = values["grad_norm"] / values["param_norm"]
    if done.moved and done.moved_all:
        changes = row[HEAD + 2 * tensors:HEAD + 3 * tensors]
        values["update_norm"] = _norm(np.concatenate([changes[a:b] for a, b in done.moved]))
        if values.get("param_norm", 0) != 0:
            values["update_ratio"] = values["update_norm"] / values["param_norm"]
        if len(counts.at) and not values.get("skipped"):
            values |= _changed(row, tensors, done, counts)
    return values


def _squares(row: Vector, tensors: int, done: Finished, shares: Shares) -> dict[str, float]:
    """What this rank adds to the squares of the global norms, and to their tokens."""
    found, weights = {}, shares.weights
    if "tokens" in done.values:
        found["tokens"] = done.values["tokens"] * shares.tokens
    if not shares.is_known:
        return found
    grads, params, changes = (row[HEAD + i * tensors:HEAD + (i + 1) * tensors].astype(np.float64) for i in range(3))
    if TOTAL in done.head and shares.alike is not None:
        found["grad_square"] = shares.alike * float(row[TOTAL]) ** 2
    elif any(done.seen):
        seen = np.array(done.seen, np.bool_)
        found["grad_square"] = float(weights[seen].dot(np.square(grads[seen])))
    if done.weights:
        found["param_square"] = float(weights.dot(np.square(params)))
    if done.moved and done.moved_all:
        found["update_square"] = float(sum(weights[a:b].dot(np.square(changes[a:b])) for a, b in done.moved))
    return found


def _changed(row: Vector, tensors: int, done: Finished, counts: Counts) -> dict[str, float]:
    """The share of the counted elements that changed, of tensors that the step was to move; none where it was none."""
    grads, roots = row[HEAD:HEAD + tensors][counts.at], row[HEAD + 3 * tensors:HEAD + 3 * tensors + len(counts.at)]
    asked = np.array(done.seen, np.bool_)[counts.at] & np.isfinite(grads) & (grads > 0)
    asked &= ~np.isin(counts.at, list(done.resting))
    of = int(counts.sizes[asked].sum())
    changed = np.square(roots[asked], dtype=np.float64).sum()
    return {"changed": min(1.0, float(changed) / of)} if of else {}


def vectors(
    row: Vector, tensors: int, done: Finished, place: NDArray[np.int64], size: int, shares: Shares | None = None
) -> tuple[Vector, NDArray[np.bool_], Vector | None]:
    """(size,) gradient norms, whether there was a gradient, and relative changes in the order of the tensor table.

    Of one rank of several: of what it holds, and of no tensor that another rank writes.
    """
    listed = (place >= 0) & (place < size)
    where = place[listed]
    grad, seen = np.full(size, np.nan, np.float32), np.zeros(size, np.bool_)
    here = np.array(done.seen, np.bool_)
    if shares is not None:
        here &= shares.first
    grad[where] = np.where(here, row[HEAD:HEAD + tensors], np.nan)[listed]
    seen[where] = here[listed]
    if not (done.moved and done.weights):
        return grad, seen, None
    ratio = np.full(tensors, np.nan, np.float32)
    weights, changes = row[HEAD + tensors:HEAD + 2 * tensors], row[HEAD + 2 * tensors:HEAD + 3 * tensors]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for first, last in done.moved:
            ratio[first:last] = np.where(weights[first:last] != 0, changes[first:last] / weights[first:last], np.nan)
    if shares is not None:
        ratio[~shares.first] = np.nan
    update = np.full(size, np.nan, np.float32)
    update[where] = ratio[listed]
    return grad, seen, update


def weights(
    row: Vector, tensors: int, place: NDArray[np.int64], size: int, shares: Shares | None = None
) -> tuple[Vector, NDArray[np.bool_]]:
    """(size,) norms of the weights, where `Finished.weights` says they are there, and which of them were measured.

    Of one rank of several as in `vectors`.
    """
    listed = (place >= 0) & (place < size)
    norms, seen = np.full(size, np.nan, np.float32), np.zeros(size, np.bool_)
    norms[place[listed]] = row[HEAD + tensors:HEAD + 2 * tensors][listed]
    seen[place[listed]] = True if shares is None else shares.first[listed]
    return norms, seen


def _norm(parts: NDArray[np.float32]) -> float:
    wide = parts.astype(np.float64)  # in which no square of a float32 overflows
    return math.sqrt(wide.dot(wide))
