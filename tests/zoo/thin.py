"""What of a recording has to be kept for it to be judged the same: for what lies in the repository. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from tests.zoo.judges import ours
from tests.zoo.recording import Recording
from tuimon.diagnosis.rows import WATCHED
from tuimon.record.chunk import Chunk

READ: Final = frozenset(WATCHED) | {"grad_param_ratio"}
"""Columns that some judge reads."""
EVERY: Final = (8, 4, 2, 1)
"""One in so many rows of tensors; the thinnest that is judged the same is kept."""


def thinned(recording: Recording) -> Recording:
    """The same run with less in it, of which tuimon says the very same, step for step, word for word."""
    before = ours(recording)
    for every in EVERY:
        less = replace(recording, chunks=tuple(_less(chunk, every) for chunk in recording.chunks))
        if repr(ours(less)) == repr(before):
            return less
    return recording


def _less(chunk: Chunk, every: int) -> Chunk:
    with np.errstate(over="ignore"):         # what does not fit is judged otherwise, and then kept as it is
        columns = {
            name: np.where(chunk.present[name], values, 0.0).astype(np.float32).astype(np.float64)
            for name, values in chunk.columns.items() if name in READ
        }
    return replace(
        chunk, times=np.zeros_like(chunk.times), columns=columns,
        present={name: chunk.present[name] for name in columns}, tensors=_sparse(chunk.tensors, every),
    )


def _sparse(rows: Any, every: int) -> Any:
    """Every so-manieth row, of any record whose fields are arrays of rows."""
    return replace(rows, **{name: getattr(rows, name)[::every] for name in rows.__dataclass_fields__})
