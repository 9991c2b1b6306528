"""Judging without a screen: plain records as chunks, and a whole run directory (the one function that reads a disk).

Understands the vocabulary's column names; `layer_grad_norm` (or `g`) as an object {layer: L2 norm} becomes
per-tensor rows. Non-finite values may be the strings "nan", "inf", "-inf"; None means not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Diagnosis, RunContext
from tuimon.diagnosis.notebook import NotebookEngine
from tuimon.record.chunk import Chunk, TensorRows
from tuimon.record.metrics import METRICS
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader

LAYER_GRADIENTS = ("layer_grad_norm", "g")


def chunk_of(records: Sequence[Mapping[str, Any]]) -> Chunk:
    """All records as one chunk, in order; steps from "step", counted from 1 where absent. Raises ValueError."""
    steps = [int(record.get("step", i + 1)) for i, record in enumerate(records)]
    names = [name for name in METRICS if any(record.get(name) is not None for record in records)]
    columns: dict[str, Any] = {name: [value_of(record.get(name)) for record in records] for name in names}
    return Chunk.of(steps, tensors=_tensors(steps, records), **columns)


def layers_of(records: Sequence[Mapping[str, Any]]) -> RunContext:
    """A context that knows the layers of `layer_grad_norm`, each one tensor of unit size."""
    layers = _layers(records)
    return RunContext(
        tensor_names=layers, tensor_sizes=(1,) * len(layers), layers={name: (i,) for i, name in enumerate(layers)}
    )


def value_of(value: Any) -> float | None:
    """A number, or None for what was not measured. Raises ValueError for what is no number."""
    return None if value is None else float(value)


def _layers(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for record in records:
        for key in LAYER_GRADIENTS:
            if isinstance(record.get(key), Mapping):
                found.update(dict.fromkeys(record[key]))
    return tuple(found)


def _tensors(steps: Sequence[int], records: Sequence[Mapping[str, Any]]) -> TensorRows:
    layers = _layers(records)
    rows = [
        (step, [value_of(record[key].get(name)) for name in layers])
        for step, record in zip(steps, records, strict=True)
        for key in LAYER_GRADIENTS
        if isinstance(record.get(key), Mapping)
    ]
    if not rows:
        return TensorRows.empty()
    grad = np.array([[np.nan if v is None else v for v in row] for _, row in rows], np.float64)
    with np.errstate(over="ignore", under="ignore"):
        vectors = grad.astype(np.float32)
    seen = np.array([[v is not None for v in row] for _, row in rows], np.bool_)
    return TensorRows(np.array([s for s, _ in rows], np.int64), vectors, np.full(grad.shape, np.nan, np.float32), seen)


def diagnose_run(run: RunDir, rules: Literal["tuimon", "notebook"] = "tuimon") -> Diagnosis:
    """Judge a run's whole log, as far as it has been written. Reads the disk; raises LogError where there is no log."""
    info = run.read_info()
    context = context_of(info) if info else RunContext()
    engine: Engine | NotebookEngine = NotebookEngine(context) if rules == "notebook" else Engine(context)
    reader = LogReader(run.metrics)
    while chunks := reader.poll():
        for chunk in chunks:
            engine.feed(chunk)
    return engine.diagnosis
