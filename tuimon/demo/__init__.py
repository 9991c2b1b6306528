"""PRACTISES: a real GPT, real text, and the scenarios that break it.

Importing this package loads no torch: names resolve when they are first used (PEP 562). `options`, `scenarios`,
`launch` and `headless` never load it at all, so that a screen can be up before the training process is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuimon.demo.corpus import SimpleTextDataset, create_dataloader
    from tuimon.demo.model import GPTModel, create_model_config
    from tuimon.demo.tokenizer import create_tokenizer

_WHERE = {
    "GPTModel": "tuimon.demo.model",
    "create_model_config": "tuimon.demo.model",
    "create_tokenizer": "tuimon.demo.tokenizer",
    "SimpleTextDataset": "tuimon.demo.corpus",
    "create_dataloader": "tuimon.demo.corpus",
}

__all__ = ["GPTModel", "SimpleTextDataset", "create_dataloader", "create_model_config", "create_tokenizer"]


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use."""
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'tuimon.demo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(where), name)


def __dir__() -> list[str]:
    """Public names, for completion."""
    return list(__all__)
