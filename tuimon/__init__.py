"""tuimon: instrument panel and emergency brake for people who train transformers.

    monitor = tuimon.attach(model, optimizer)      # the one line in a training script

Importing this package loads neither torch nor textual: names resolve when they are first used (PEP 562).
"""

from __future__ import annotations

TYPE_CHECKING = False   # type checkers take it for True; the module typing would double what this import costs

if TYPE_CHECKING:
    from typing import Any

    from tuimon.errors import AttachError, CheckpointError, TuimonError, UsageError
    from tuimon.instrument.attach import attach
    from tuimon.instrument.monitor import Monitor
    from tuimon.instrument.resume import ResumeInfo, resume
    from tuimon.instrument.stopping import TrainingStopped

__version__ = "0.1.0"

_WHERE = {
    "attach": "tuimon.instrument.attach",
    "Monitor": "tuimon.instrument.monitor",
    "resume": "tuimon.instrument.resume",
    "ResumeInfo": "tuimon.instrument.resume",
    "TrainingStopped": "tuimon.instrument.stopping",
    "TuimonError": "tuimon.errors",
    "UsageError": "tuimon.errors",
    "AttachError": "tuimon.errors",
    "CheckpointError": "tuimon.errors",
}

__all__ = [
    "AttachError",
    "CheckpointError",
    "Monitor",
    "ResumeInfo",
    "TrainingStopped",
    "TuimonError",
    "UsageError",
    "__version__",
    "attach",
    "integrations",
    "resume",
]


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use."""
    from importlib import import_module

    if name == "integrations":
        return import_module("tuimon.integrations")
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'tuimon' has no attribute {name!r}")
    return getattr(import_module(where), name)


def __dir__() -> list[str]:
    """Public names, for completion."""
    return list(__all__)
