"""What `attach` was given, judged before anything is touched: AttachError in one line, or it can be worked with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tuimon.errors import AttachError
from tuimon.instrument.state import schedules_in
from tuimon.instrument.tracked import named_parameters

_INNER: Final = ("optimizer", "_optimizer", "optim", "base_optimizer", "_base_optimizer")
"""Where wrappers keep the optimizer that steps: Accelerate, Lightning, SAM, Lookahead and their like."""
_ORDER: Final = "attach wants (model, optimizer, ...)"


def unwrap(optimizer: Any, depth: int = 4) -> Any:
    """The torch optimizer inside what Accelerate, Lightning and others put around it; the object itself if none."""
    for name in _INNER if depth else ():
        found = unwrap(getattr(optimizer, name, None), depth - 1)
        if isinstance(found, Optimizer):
            return found
    return optimizer


def is_split(optimizer: Any, depth: int = 4) -> bool:
    """Whether what steps is a rank's part of an optimizer whose other parts are on other ranks."""
    if any(kind.__name__ == "ZeroRedundancyOptimizer" for kind in type(optimizer).__mro__):
        return True
    return bool(depth) and any(is_split(vars(optimizer).get(name), depth - 1) for name in _INNER
                               if hasattr(optimizer, "__dict__"))


def check_model(model: Any) -> None:
    """An nn.Module with real weights."""
    if isinstance(model, type):
        raise AttachError(f"{_ORDER}; the model must be an instance: {model.__name__}(...), not the class")
    if not isinstance(model, nn.Module):
        if isinstance(unwrap(model), Optimizer):
            raise AttachError(f"{_ORDER}: the model comes first, and this is {_kind(model)}")
        raise AttachError(f"{_ORDER}; the model must be an nn.Module, not {_kind(model)}")
    parameters = dict(named_parameters(model))
    if not parameters:
        raise AttachError(f"{type(model).__name__} has no parameters: there is nothing to measure")
    for name, parameter in parameters.items():
        kind = "lazy" if is_lazy(parameter) else "on the meta device" if parameter.is_meta else \
            "fake" if type(parameter).__name__ == "FakeTensor" else ""
        if kind:
            raise AttachError(f"{name} is {kind}: attach after the model has real weights")


def check_optimizers(model: nn.Module, optimizers: Sequence[Any], attached: Any) -> tuple[Optimizer, ...]:
    """The torch optimizers themselves, each stepping something of the model's and none in `attached`."""
    if not optimizers:
        raise AttachError("attach wants at least one optimizer after the model, and none was given")
    found = tuple(unwrap(o) for o in optimizers)
    mine = {id(p) for _, p in named_parameters(model)}
    for i, given in enumerate(found):
        label = type(given).__name__
        if isinstance(given, type):
            raise AttachError(f"attach wants optimizers after the model: {given.__name__}(...), not the class")
        if isinstance(given, list | tuple):
            raise AttachError("attach wants optimizers one by one: attach(model, *optimizers), not in a list")
        if not isinstance(given, Optimizer):
            raise AttachError(f"attach wants torch optimizers after the model, not {_kind(given)}")
        if "_optimizer_step_pre_hooks" not in vars(given) or "param_groups" not in vars(given):
            raise AttachError(f"{label} cannot be watched: its __init__ never calls torch.optim.Optimizer's")
        if not any(id(p) in mine for group in given.param_groups for p in group["params"]):
            raise AttachError(f"{label} holds no parameter of {type(model).__name__}: give the optimizer of this model "
                              "(made after wrapping or moving it)")
        if any(given is other for other in found[:i]):
            raise AttachError(f"the same {label} was given twice; a scheduler goes into scheduler=")
        if given in attached:
            raise AttachError(f"this {label} is attached already: close that monitor first")
    return found


def check_others(
    optimizers: Sequence[Optimizer], scheduler: Any, scaler: Any, dataloader: Any, name: Any, run_dir: Any,
) -> tuple[Any, ...]:
    """Everything else that attach takes as an object; the schedulers themselves."""
    check_scaler(scaler)
    check_loader(dataloader)
    check_place(name, run_dir)
    return check_schedulers(scheduler, optimizers)


def check_schedulers(scheduler: Any, optimizers: Sequence[Optimizer]) -> tuple[Any, ...]:
    """One, several or none; each of which can be saved, and none that moves another optimizer."""
    schedulers = schedules_in(scheduler)
    for given in schedulers:
        wanted = "step", "state_dict", "load_state_dict"
        if isinstance(given, type | Optimizer | nn.Module) or not _has(given, *wanted):
            raise AttachError(f"scheduler must be a learning rate scheduler, or several, not {_kind(given)}")
        if isinstance(given, LRScheduler) and unwrap(given.optimizer) not in optimizers:
            raise AttachError(f"{type(given).__name__} schedules another optimizer than those given")
    return schedulers


def check_scaler(scaler: Any) -> None:
    """A GradScaler, or None."""
    if scaler is not None and (isinstance(scaler, type) or not _has(scaler, "scale", "unscale_", "state_dict")):
        raise AttachError(f"scaler must be a torch.amp.GradScaler, or None, not {_kind(scaler)}")


def check_loader(dataloader: Any) -> None:
    """Something to iterate over, or None."""
    wrong = isinstance(dataloader, type | Optimizer | nn.Module | str)
    if dataloader is not None and (wrong or not (_has(dataloader, "__iter__") or _has(dataloader, "state_dict"))):
        raise AttachError(f"dataloader must be the loader that the loop reads from, or None, not {_kind(dataloader)}")


def check_words(**words: tuple[Any, Sequence[str]]) -> None:
    """Each is one of those known."""
    for argument, (given, known) in words.items():
        if given not in known:
            raise AttachError(f"{argument} must be one of {', '.join(map(repr, known))}, not {given!r:.60}")


def check_counts(**counts: Any) -> None:
    """Each is a whole number above 0, or None."""
    for argument, given in counts.items():
        if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
            raise AttachError(f"{argument} must be a whole number above 0, or None, not {given!r:.60}")


def check_place(name: Any, run_dir: Any) -> None:
    """Words that a run directory can be made of."""
    if name is not None and not isinstance(name, str):
        raise AttachError(f"name must be a text, or None, not {name!r:.60}")
    if run_dir is not None and not (isinstance(run_dir, str | os.PathLike) and os.fspath(run_dir)):
        raise AttachError(f"run_dir must be a path, or None, not {run_dir!r:.60}")


def _has(given: Any, *methods: str) -> bool:
    return all(callable(getattr(given, method, None)) for method in methods)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
