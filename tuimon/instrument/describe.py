"""What run.json says about a run: the model in a few words, the device, the optimizer, the versions. Reads only."""

from __future__ import annotations

import platform
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

import tuimon
from tuimon.instrument.ranks.world import world_size
from tuimon.instrument.started import jobs, torchrun
from tuimon.instrument.state import unwrapped
from tuimon.instrument.tracked import tensor_table
from tuimon.record.liveness import identity
from tuimon.record.rundir import RunInfo

_WIDTHS = ("d_model", "n_embd", "hidden_size", "dim", "embed_dim")


def count(number: float) -> str:
    """A parameter count in three characters or so: 812, 0.2M, 124M, 7.2B."""
    for unit, size in (("B", 1e9), ("M", 1e5)):
        if number >= size:
            scaled = number / (1e9 if unit == "B" else 1e6)
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return f"{number / 1e3:.1f}k" if number >= 1e3 else f"{number:.0f}"


def _layers(model: nn.Module) -> int:
    """The length of the longest list of modules of one class; 0 where there is none of at least two."""
    longest = 0
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            longest = max(longest, *Counter(type(child) for child in module).values(), 0)
    return longest if longest >= 2 else 0


def _width(model: nn.Module) -> int:
    """The model's own word for its width, else that of its first embedding; 0 where there is neither."""
    for holder in (getattr(model, "config", None), model):
        for name in _WIDTHS:
            value = holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return next((m.embedding_dim for m in model.modules() if isinstance(m, nn.Embedding)), 0)


def vocabulary(model: nn.Module) -> int | None:
    """How many tokens the model chooses among, where its structure says so; None where it does not.

    The outputs of its last linear layer, if an embedding has as many rows: a language model predicts what it reads. Not
    where that is also its width, which a projection in the midst of a model would have too.
    """
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    last = next((m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear)), None)
    if last is None:
        return None
    rows, widths = {m.num_embeddings for m in embeddings}, {m.embedding_dim for m in embeddings}
    return last.out_features if last.out_features in rows - widths else None


def summary(model: nn.Module) -> str:
    """Class, layers, width and parameters, as far as they can be told: GPTModel 4L 64d 0.2M."""
    plain = unwrapped(model)
    layers, width = _layers(plain), _width(plain)
    words = [type(plain).__name__, f"{layers}L" if layers else "", f"{width}d" if width else "",
             count(sum(p.numel() for p in plain.parameters()))]
    return " ".join(word for word in words if word)


def device_name(device: torch.device) -> str:
    """What the device calls itself; cpu."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return device.type


def _eps(optimizers: Sequence[Optimizer]) -> float | None:
    value = optimizers[0].param_groups[0].get("eps")
    if isinstance(value, tuple | list):  # Adafactor has two; the second bounds the update
        value = value[-1]
    return float(value) if isinstance(value, float | int) else None


def _versions() -> dict[str, str]:
    found = {"tuimon": tuimon.__version__, "torch": torch.__version__, "python": platform.python_version()}
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def run_info(
    model: nn.Module, optimizers: Sequence[Optimizer], *, name: str, attempt: int, device: torch.device,
    **given: Any,
) -> RunInfo:
    """Everything that is known at the start; `given` are fields of RunInfo that only the caller knows."""
    if given.get("vocab_size") is None:
        given["vocab_size"] = vocabulary(unwrapped(model))
    return RunInfo(
        name=name, process=identity(), attempt=attempt, argv=tuple(sys.argv), started=time.time(),
        device=device_name(device), model=summary(model),
        optimizer="+".join(dict.fromkeys(type(o).__name__ for o in optimizers)), eps=_eps(optimizers),
        world_size=world_size(), jobs=jobs(), torchrun=torchrun(), tensors=tensor_table(model, optimizers),
        versions=_versions(), **given,
    )
