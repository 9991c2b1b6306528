"""What the rules may know about a run besides its log, out of the run directory's description. Pure."""

from __future__ import annotations

from tuimon.diagnosis.model import RunContext
from tuimon.record.rundir import RunInfo


def context_of(info: RunInfo) -> RunContext:
    """The context of a run; sizes count elements, layers hold the indices of trained tensors in model order."""
    return RunContext(
        total_steps=info.total_steps,
        vocab_size=info.vocab_size,
        optimizer=info.optimizer or None,
        eps=info.eps,
        clips=info.clips,
        tensor_names=tuple(entry.name for entry in info.tensors),
        tensor_sizes=tuple(entry.numel for entry in info.tensors),
        dtypes=tuple(sorted({entry.dtype for entry in info.tensors if entry.trained})),
        layers={name: tuple(where) for name, where in info.table.layers().items()},
        probes=info.probes,
    )
