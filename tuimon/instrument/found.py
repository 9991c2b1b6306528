"""The runs that were attached without the script's asking, by optimizer: a script that asks itself takes them over."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch.optim import Optimizer

if TYPE_CHECKING:
    from tuimon.instrument.monitor import Monitor

FOUND: Final[weakref.WeakKeyDictionary[Optimizer, Monitor]] = weakref.WeakKeyDictionary()


def give_way(optimizers: Iterable[Any]) -> Path | None:
    """Close what was attached unasked to any of these; the directory to go on in, None where there was nothing."""
    closed = None
    for optimizer in optimizers:
        monitor = FOUND.pop(optimizer, None) if isinstance(optimizer, Optimizer) else None
        if monitor is not None:
            monitor.close()
            closed = closed or monitor.run_dir
    return closed
