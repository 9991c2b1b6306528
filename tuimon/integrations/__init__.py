"""RIDES ALONG: callbacks for trainers that own the loop. Each is one name, and loads its framework when asked for.

    Trainer(..., callbacks=[tuimon.integrations.HFCallback()])                # transformers
    Trainer(..., callbacks=[tuimon.integrations.LightningCallback()])         # lightning, or pytorch_lightning

`tuimon.attach` itself needs none of them: it takes what Accelerate, Lightning and PEFT put around models and optimizers
as it is. The callbacks add what only the framework knows: its own way to stop, the validation loss, the total number of
steps, and the step a resumed run goes on from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuimon.integrations.hf import HFCallback
    from tuimon.integrations.lightning import LightningCallback

_WHERE = {
    "HFCallback": ("tuimon.integrations.hf", ("transformers",)),
    "LightningCallback": ("tuimon.integrations.lightning", ("lightning", "pytorch_lightning")),
}

__all__ = ["HFCallback", "LightningCallback"]


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use; ImportError, in one line, where its framework is missing."""
    if name not in _WHERE:
        raise AttributeError(f"module 'tuimon.integrations' has no attribute {name!r}")
    from importlib import import_module
    from importlib.util import find_spec

    module, frameworks = _WHERE[name]
    if not any(find_spec(framework) for framework in frameworks):
        raise ImportError(f"tuimon.integrations.{name} needs {frameworks[0]}: pip install {frameworks[0]}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    """Public names, for completion."""
    return list(__all__)
