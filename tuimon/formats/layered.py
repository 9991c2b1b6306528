"""What a table holds layer by layer, as rows of the record: gradients, updates, weights, activation probes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.model import RunContext
from tuimon.formats.names import metric_of
from tuimon.formats.table import LayerKey, Table
from tuimon.record.chunk import Bools, Floats, Ints, ProbeRows, TensorRows, WeightRows
from tuimon.record.probes import QUANTITIES, ProbeEntry
from tuimon.record.tensors import layer_of

Layers = Mapping[LayerKey, tuple[Ints, Floats]]
"""Per kind and layer: rows in which it was measured, and the values."""
_SLACK: Final = 1.01
"""A share that was rounded may come out a little above 1."""
_SHARES: Final = ("attention_entropy", "dead_units")


def layers_in(table: Table) -> list[str]:
    """The layers whose gradients or updates a table holds, in order of first appearance."""
    return list(dict.fromkeys(layer for kind, layer in table.layers if kind in ("grad", "update")))


def probes_in(table: Table) -> tuple[ProbeEntry, ...]:
    """The activation probes that a table holds, in order of first appearance."""
    return tuple(ProbeEntry(layer, kind) for kind, layer in table.layers if kind in QUANTITIES)


def layered(layers: list[str], probes: tuple[ProbeEntry, ...] = ()) -> RunContext:
    """A context that knows these layers; each counts as one tensor of unit size, for a file knows no shapes.

    Names of parameters ("blocks.0.attn.weight") are grouped as those of our own runs are.
    """
    parameters = bool(layers) and all(name.endswith((".weight", ".bias")) for name in layers)
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(layers):
        groups.setdefault(layer_of(name) if parameters else name, []).append(i)
    return RunContext(
        misses_mean_none=False,
        tensor_names=tuple(layers), tensor_sizes=(1,) * len(layers),
        layers={name: tuple(where) for name, where in groups.items()}, probes=probes,
    )


def as_shares(table: Table) -> Table:
    """The same table with entropies and silent units as shares of their maximum, and a note where they were none.

    No share is above 1: entropies that are, are in nats or bits, and count as shares of the largest of the log, for an
    attention that has learned nothing is near its maximum; silent units that are, are numbers of units of which it is
    not said how many there are, and are left out. Entropies in nats that never exceed 1 cannot be told from shares.
    """
    columns, layers, notes = dict(table.columns), dict(table.layers), list(table.notes)
    for name in _SHARES:
        flat = [raw for raw in columns if (metric_of(raw) or ("", 0))[0] == name]
        keys = [key for key in layers if key[0] == name]
        values = [columns[raw][0][columns[raw][1]] for raw in flat] + [layers[key][1] for key in keys]
        most = max((float(v[np.isfinite(v)].max(initial=0.0)) for v in values), default=0.0)
        if most <= _SLACK:
            continue
        if name == "dead_units":
            notes.append(f"dead_units goes up to {most:.4g}: no share of the units, and left out")
            for raw in flat:
                del columns[raw]
            for key in keys:
                del layers[key]
            continue
        notes.append(f"attention_entropy goes up to {most:.4g}, so it is no share: judged as a share of that")
        columns |= {raw: (columns[raw][0] / most, columns[raw][1]) for raw in flat}
        layers |= {key: (layers[key][0], layers[key][1] / most) for key in keys}
    return Table(table.rows, columns, layers, table.unknown, notes)


def tensor_rows(unique: Ints, position: Ints, by_layer: Layers, layers: Sequence[str]) -> TensorRows:
    """Per-layer gradients and updates of one attempt, on their own cadence; of several for one step the last holds.

    `position` (n,) says which of the steps `unique` a row of the table belongs to, -1 for those of other attempts.
    """
    if not layers:
        return TensorRows.empty()
    columns = {("grad", name): i for i, name in enumerate(layers)}
    columns |= {("update", name): len(layers) + i for i, name in enumerate(layers)}
    steps, values, seen = _placed(unique, position, by_layer, columns)
    half = len(layers)
    return TensorRows(steps, values[:, :half], values[:, half:], seen[:, :half])


def weight_rows(unique: Ints, position: Ints, by_layer: Layers, layers: Sequence[str]) -> WeightRows:
    """Weights per layer of one attempt, as `tensor_rows`: of what counts as one element, the norm is the RMS.

    Only of layers that have gradients or updates: of others nobody says that they are trained.
    """
    if not layers:
        return WeightRows.empty()
    return WeightRows(*_placed(unique, position, by_layer, {("weight", name): i for i, name in enumerate(layers)}))


def probe_rows(unique: Ints, position: Ints, by_layer: Layers, probes: Sequence[ProbeEntry]) -> ProbeRows:
    """Activation probes of one attempt, as `tensor_rows`."""
    if not probes:
        return ProbeRows.empty()
    columns = {(probe.quantity, probe.module): i for i, probe in enumerate(probes)}
    return ProbeRows(*_placed(unique, position, by_layer, columns))


def _placed(
    unique: Ints, position: Ints, by_layer: Layers, columns: Mapping[LayerKey, int],
) -> tuple[Ints, NDArray[np.float32], Bools]:
    """Steps (m,) at which any column was measured, values (m, c), NaN where it was not, and whether it was (m, c)."""
    found = []
    has = np.zeros(len(unique), np.bool_)
    for key, column in columns.items():
        if key not in by_layer:
            continue
        at, values = by_layer[key]
        row = np.where(at >= 0, position[at], -1)
        found.append((column, row[row >= 0], values[row >= 0]))
        has[row[row >= 0]] = True
    compact = np.cumsum(has) - 1
    table = np.full((int(has.sum()), len(columns)), np.nan, np.float32)
    seen = np.zeros(table.shape, np.bool_)
    for column, row, values in found:
        with np.errstate(over="ignore", under="ignore"):
            table[compact[row], column] = values.astype(np.float32)
        seen[compact[row], column] = True
    return unique[has], table, seen
