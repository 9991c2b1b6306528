"""The objects that torch calls: one pair per optimizer, one on the model. Module-level classes, so that models pickle.

The optimizer's pair is hidden from torch.compile: traced, it would break the graph or measure once and never again.
The model's copies and pickles as a callable of the standard library that returns None: an EMA copy counts no
tokens, and a saved model loads where tuimon is not installed.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from tuimon.instrument.measure import Probe
from tuimon.instrument.tokens import tokens_in

_R = TypeVar("_R")
_NO_HOOK: Final = contextlib.nullcontext().__exit__
"""Takes anything, returns None."""


def hidden(function: Callable[..., _R], *, recursive: bool = True) -> Callable[..., _R]:
    """The same function, never traced by torch.compile."""
    found: Callable[..., _R] = torch.compiler.disable(function, recursive=recursive)  # type: ignore[no-untyped-call]  # untyped in torch
    return found


class BeforeStep:
    """The pre-hook of one optimizer."""

    def __init__(self, probe: Probe, k: int) -> None:
        self._probe, self._k = probe, k

    def __call__(self, _optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """Before a step; new arguments where its closure must be watched."""
        return self._probe.before_step(self._k, args, kwargs)


class AfterStep:
    """The post-hook of one optimizer."""

    def __init__(self, probe: Probe, k: int, boundary: Callable[[], None]) -> None:
        self._probe, self._k, self._boundary = probe, k, boundary

    def __call__(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        """After a step."""
        if self._probe.after_step(self._k):
            self._boundary()


class CountTokens:
    """The pre-hook of the model: what a forward pass with gradients begins on, and how many tokens."""

    def __init__(self, probe: Probe) -> None:
        self._probe = weakref.ref(probe)  # a model outlives its optimizer, and must not keep what measured it

    def __call__(self, _module: nn.Module, args: Any, kwargs: Any) -> None:
        """Before a forward pass."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return
        probe = self._probe()
        if probe is not None:
            probe.saw_input(tokens_in(kwargs.get("input_ids"), *args, *kwargs.values()), args, kwargs)

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")

    def __deepcopy__(self, memo: Any) -> Any:
        return _NO_HOOK


def install(probe: Probe, boundary: Callable[[], None]) -> list[RemovableHandle]:
    """Hook the probe's optimizers and model, all or none; the handles take the hooks off again."""
    handles: list[RemovableHandle] = []
    try:
        for k, optimizer in probe.optimizers.living():
            handles.append(optimizer.register_step_pre_hook(hidden(BeforeStep(probe, k).__call__)))
            handles.append(optimizer.register_step_post_hook(hidden(AfterStep(probe, k, boundary).__call__)))
        if not isinstance(probe.model, torch.jit.ScriptModule):  # takes no hooks: tokens come from the loader
            handles.append(probe.model.register_forward_pre_hook(CountTokens(probe), with_kwargs=True))
    except BaseException:
        for handle in handles:
            handle.remove()
        raise
    return handles
