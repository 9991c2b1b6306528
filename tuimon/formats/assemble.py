"""From a table as it stood in a file to chunks for the engine: a row a step, in order, attempts apart. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tuimon.diagnosis.model import RunContext
from tuimon.errors import LogError
from tuimon.formats.layered import (
    Layers,
    as_shares,
    layered,
    layers_in,
    probe_rows,
    probes_in,
    tensor_rows,
    weight_rows,
)
from tuimon.formats.names import STEP, TIME, metric_of, some, unit_of
from tuimon.formats.table import Column, Table
from tuimon.record.chunk import Bools, Chunk, Floats, Ints, Mark
from tuimon.record.metrics import METRICS

ROWS_PER_CHUNK: Final = 1 << 16
MOST_ATTEMPTS: Final = 64
SHORTEST_ATTEMPT: Final = 4
"""Rows between two steps back; where steps go back more often than that, the file is merely unsorted."""
SMALLEST_PROCESS: Final = 1e6
"""Bytes that any training process holds: what is less is counted in something else, or a share."""
MAX_CELLS: Final = 40_000_000
"""Rows times layers."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A run out of a table."""

    chunks: tuple[Chunk, ...]
    context: RunContext
    columns: dict[str, str]
    """Metric -> raw name."""
    cadence: int | None
    notes: tuple[str, ...]


def assemble(table: Table) -> Assembled:
    """Chunks of at most ROWS_PER_CHUNK rows. LogError where nothing is measured or no column is known."""
    table = as_shares(table)
    notes = list(table.notes)
    chosen = choose(table, notes)
    layers, probes = layers_in(table), probes_in(table)
    if not (layers or probes) and not any((metric_of(raw) or ("", 0))[0] in METRICS for raw in table.columns):
        if not table.rows:
            raise LogError("nothing is measured in it yet")
        known = "loss, grad_norm, val_loss, lr, update_ratio"
        named = some([*table.columns, *table.unknown])
        raise LogError(f"no column that can be judged: wanted one of {known}; found {named}")
    keep = measured_rows(table, chosen)
    steps, keep = numbered(table, chosen, keep, notes)
    if not keep.any():
        raise LogError("nothing is measured in it yet")
    rows = np.flatnonzero(keep)
    columns = {name: in_base_units(name, raw, (table.columns[raw][0][rows], table.columns[raw][1][rows]), notes)
               for name, raw in chosen.items()}
    chosen = {name: raw for name, raw in chosen.items() if columns[name][1].any()}
    where = np.full(table.rows, -1, np.int64)
    where[rows] = np.arange(len(rows))
    by_layer = {key: (where[at], values) for key, (at, values) in table.layers.items()}
    if len(rows) * (len(layers) + len(probes)) > MAX_CELLS:
        raise LogError(f"{len(layers) + len(probes)} layers in {len(rows)} rows: more than is read at once")
    chunks: list[Chunk] = []
    repeated = 0
    parts = attempts(steps[rows], columns, notes)
    for number, part in enumerate(parts, 1):
        chunk, merged = ordered(steps[rows], columns, part, by_layer, layered(layers, probes))
        repeated += merged
        if number > 1:
            first = int(chunk.steps[0])
            mark = Mark(first - 1, "attempt", {"number": number, "from_step": first - 1})
            chunk = replace(chunk, marks=(mark,))
        chunks += chunk.pieces(list(range(ROWS_PER_CHUNK, len(chunk), ROWS_PER_CHUNK)))
    if repeated:
        notes.append(f"values that were logged several times for one step are averaged ({repeated:,} steps)")
    cadence = rhythm(chunks, notes)
    told = {name: raw for name, raw in chosen.items() if name in METRICS}
    return Assembled(tuple(chunks), layered(layers, probes), told, cadence, tuple(notes))


def choose(table: Table, notes: list[str]) -> dict[str, str]:
    """Which column stands for which metric: the nearest name of those that hold at least two values, or the most."""
    found: dict[str, list[tuple[int, str]]] = {}
    for raw in table.columns:
        metric = metric_of(raw)
        if metric is not None:
            found.setdefault(metric[0], []).append((metric[1], raw))
    chosen: dict[str, str] = {}
    for metric_name, candidates in found.items():
        counts = {raw: int(table.columns[raw][1].sum()) for _, raw in candidates}
        enough = min(2, max(counts.values()))
        good = [raw for _, raw in sorted(candidates, key=lambda c: c[0]) if counts[raw] >= enough and counts[raw]]
        if not good:
            continue
        chosen[metric_name] = good[0]
        if len(good) > 1 and metric_name in METRICS:
            notes.append(f"{metric_name} is read from {good[0][:40]!r}; also there: {some(good[1:], 3)}")
    return {name: chosen[name] for name in (STEP, TIME, *METRICS) if name in chosen}


def in_base_units(name: str, raw: str, column: Column, notes: list[str]) -> Column:
    """A column in the unit of the vocabulary, where its name states another; nothing where it cannot be one."""
    values, present = column
    unit = unit_of(raw) if name in METRICS else None
    if unit is not None and unit[1] != 1:
        notes.append(f"{name} is read from {raw[:40]!r}, which is in {unit[0]}")
        return values * unit[1], present
    if name == "memory" and unit is None and present.any():
        largest = float(np.max(values, initial=0.0, where=present & np.isfinite(values)))
        if largest < SMALLEST_PROCESS:
            notes.append(f"{raw[:40]!r} is left out: up to {largest:g} is no number of bytes; name its unit, as in "
                         "memory_mb")
            return values, np.zeros_like(present)
    return values, present


def measured_rows(table: Table, chosen: dict[str, str]) -> Bools:
    """Rows (n,) in which a metric or a layer was measured."""
    keep = np.zeros(table.rows, np.bool_)
    for name, raw in chosen.items():
        if name in METRICS:
            keep |= table.columns[raw][1]
    for at, _ in table.layers.values():
        keep[at] = True
    return keep


def numbered(table: Table, chosen: dict[str, str], keep: Bools, notes: list[str]) -> tuple[Ints, Bools]:
    """A step for each row (n,), and which rows have one: counted from 1 where the file names none."""
    if STEP not in chosen:
        notes.append("no column names the step: rows are counted from 1")
        return np.cumsum(keep).astype(np.int64), keep
    values, present = table.columns[chosen[STEP]]
    lost = int((keep & ~present).sum())
    if lost:
        notes.append(f"{lost:,} rows name no step and are left out")
    return np.where(present, values, 0).astype(np.int64), keep & present


def attempts(steps: Ints, columns: dict[str, Column], notes: list[str]) -> list[Ints]:
    """The rows of each attempt. A run that was resumed goes back and repeats steps; a file may also be unsorted.

    Steps that go back without repeating a measurement (train and validation one after the other) are no new attempt.
    """
    back = np.flatnonzero(np.diff(steps) < 0) + 1
    every = np.arange(len(steps))
    if not len(back):
        return [every]
    parts = np.split(every, back)
    if len(parts) > MOST_ATTEMPTS or min(len(part) for part in parts[:-1]) < SHORTEST_ATTEMPT:
        notes.append("steps were not in order: sorted")
        return [every]
    found = [parts[0]]
    for part in parts[1:]:
        if any(len(np.intersect1d(steps[found[-1][p[found[-1]]]], steps[part[p[part]]])) for p in
               (present for name, (_, present) in columns.items() if name in METRICS)):
            found.append(part)
        else:
            found[-1] = np.concatenate((found[-1], part))
    if len(found) > 1:
        places = ", ".join(f"{int(steps[part[0]]):,}" for part in found[1:4])
        notes.append(f"resumed at step {places}" + (f" and {len(found) - 4} times more" if len(found) > 4 else ""))
    return found


def ordered(
    steps: Ints, columns: dict[str, Column], part: Ints, by_layer: Layers, context: RunContext,
) -> tuple[Chunk, int]:
    """One attempt as a chunk with one row a step, and how many steps had a value more than once."""
    unique, inverse = np.unique(steps[part], return_inverse=True)
    inverse = inverse.reshape(-1)
    plain = len(unique) == len(part)
    order = np.argsort(inverse, kind="stable") if plain else None
    repeated = np.zeros(len(unique), np.bool_)
    joined: dict[str, Column] = {}
    for name, (values, present) in columns.items():
        if name == STEP or not present[part].any():
            continue
        if order is not None:
            joined[name] = (values[part][order], present[part][order])
            continue
        count = np.bincount(inverse, present[part], len(unique)).astype(np.float64)
        if name != TIME:
            repeated |= count > 1
        joined[name] = (averaged(values[part], present[part], inverse, count), count > 0)
    times, told = joined.pop(TIME, (np.zeros(len(unique)), np.ones(len(unique), np.bool_)))
    position = np.full(len(steps), -1, np.int64)
    position[part] = inverse
    chunk = Chunk(
        unique, np.where(told & np.isfinite(times), times, 0.0),
        {name: values for name, (values, _) in joined.items()}, {name: p for name, (_, p) in joined.items()},
        tensor_rows(unique, position, by_layer, context.tensor_names),
        probes=probe_rows(unique, position, by_layer, context.probes),
        weights=weight_rows(unique, position, by_layer, context.tensor_names),
    )
    return chunk, int(repeated.sum())


def averaged(values: Floats, present: Bools, inverse: Ints, count: Floats) -> Floats:
    """Mean of what was measured, per step; parts are added, so that large values do not overflow."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(present, values / np.maximum(count, 1)[inverse], 0.0)
        return np.bincount(inverse, shares, len(count)).astype(np.float64)


def rhythm(chunks: list[Chunk], notes: list[str]) -> int | None:
    """Steps from one row to the next, typically; a note where that is not 1."""
    gaps = np.concatenate([np.diff(steps) for steps in _training_steps(chunks)] or [np.zeros(0, np.int64)])
    if not len(gaps):
        return None
    low, middle, high = (int(q) for q in np.percentile(gaps, (5, 50, 95), method="nearest"))
    if low < high:
        notes.append(f"logged unevenly, every {low:,} to {high:,} steps")
    elif middle > 1:
        notes.append(f"logged every {middle:,} steps: what happens between is not seen")
    return middle


def _training_steps(chunks: list[Chunk]) -> Iterator[Ints]:
    """Steps at which the training itself was measured; validation has its own rhythm."""
    for chunk in chunks:
        training = [present for name, present in chunk.present.items() if name != "val_loss"]
        yield chunk.steps[np.any(training, axis=0)] if training else chunk.steps
