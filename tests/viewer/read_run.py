"""What a producer of a place is given: a run as it has been read, made from a log in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.model import Diagnosis
from tuimon.record.chunk import Chunk, ProbeRows, TensorRows, WeightRows
from tuimon.record.history import History
from tuimon.record.probes import ProbeEntry
from tuimon.record.tensors import TensorEntry, TensorTable


@dataclass
class Info:
    total_steps: int | None = None


@dataclass
class Read:
    """The part of `Reading` that producers look at."""

    history: History
    info: Info = field(default_factory=Info)
    diagnosis: Diagnosis = field(default_factory=Diagnosis.nothing)
    revision: int = 1
    is_live: bool = True

    @property
    def whole_last(self) -> float:
        return XAxis(0, 1).grown(max(1, self.history.last_step)).last

    def more(self, chunk: Chunk) -> Read:
        self.history.extend(chunk)
        self.revision += 1
        return self


def losses(values, *, total=None, first=1, **columns) -> Read:
    read = Read(History(), Info(total))
    return read.more(Chunk.of(np.arange(first, first + len(values)), loss=list(values), **columns))


def table(layers: int, parts=("attn", "mlp")) -> TensorTable:
    return TensorTable(tuple(TensorEntry(f"blocks.{i}.{p}.weight", (4, 4), "torch.float32", trained=p != "frozen")
                             for i in range(layers) for p in parts))


def tensor_rows(grad, *, steps=None, update=None, seen=None) -> TensorRows:
    grad = np.asarray(grad, np.float32)
    count = len(grad)
    return TensorRows(
        np.arange(1, count + 1) if steps is None else np.asarray(steps, np.int64), grad,
        np.full(grad.shape, 1e-3, np.float32) if update is None else np.asarray(update, np.float32),
        np.ones(grad.shape, np.bool_) if seen is None else np.asarray(seen, np.bool_))


def stretch(rows: TensorRows, probes: ProbeRows | None = None, weights: WeightRows | None = None) -> Chunk:
    last = int(rows.steps[-1])
    steps = np.arange(int(rows.steps[0]), last + 1)
    return Chunk.of(steps, loss=[2.0] * len(steps), tensors=rows, probes=probes, weights=weights)


def layered(grad, *, layers, parts=("attn", "mlp"), probes: ProbeRows | None = None,
            entries: tuple[ProbeEntry, ...] = (), weights: WeightRows | None = None, **more) -> Read:
    read = Read(History(table(layers, parts), entries))
    return read.more(stretch(tensor_rows(grad, **more), probes, weights))
