"""Plain records, as tests and scripts have them, as a chunk: nothing sorted, merged or left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuimon.diagnosis.model import RunContext
from tuimon.formats.assemble import choose
from tuimon.formats.layered import as_shares, layered, layers_in, probe_rows, probes_in, tensor_rows, weight_rows
from tuimon.formats.names import STEP
from tuimon.formats.table import Table, TableBuilder
from tuimon.record.chunk import Chunk
from tuimon.record.metrics import METRICS


def chunk_of(records: Sequence[Mapping[str, Any]]) -> Chunk:
    """All records as one chunk, in order; columns as files name them, steps counted from 1 where absent.

    `layer_grad_norm` and others (see `names.NESTED`) hold {layer: value}. None is not measured; the strings
    "nan", "inf", "-inf" are values. Raises LogError for what is no number.
    """
    table = _table(records)
    chosen = choose(table, [])
    steps = np.arange(1, len(records) + 1)
    if STEP in chosen:
        told, present = table.columns[chosen[STEP]]
        steps = np.where(present, told, steps).astype(np.int64)
    columns = {name: table.columns[raw] for name, raw in chosen.items() if name in METRICS}
    every = np.arange(len(records))
    return Chunk(
        steps, np.zeros(len(records)),
        {name: values for name, (values, _) in columns.items()}, {name: p for name, (_, p) in columns.items()},
        tensor_rows(steps, every, table.layers, layers_in(table)),
        probes=probe_rows(steps, every, table.layers, probes_in(table)),
        weights=weight_rows(steps, every, table.layers, layers_in(table)),
    )


def layers_of(records: Sequence[Mapping[str, Any]]) -> RunContext:
    """A context that knows the layers of `chunk_of(records)`, each one tensor of unit size."""
    table = _table(records)
    return layered(layers_in(table), probes_in(table))


def _table(records: Sequence[Mapping[str, Any]]) -> Table:
    builder = TableBuilder()
    builder.add_records(records, lambda row, name: f"record {row}, key {name[:40]!r}")
    return as_shares(builder.table())
