"""A model lent for one forward pass that leaves no trace: other weights in it, no hooks of the script behind it.

Parameters and buffers keep their identity and get other memory for a while (so that what holds on to them, as an LSTM
does, sees it too); attributes, containers of modules and random generators are put back as they were. What a forward
pass changes deeper inside of objects of the script's own is not undone.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter  # a graph of the script's may count on it

from tuimon.instrument.state import random_state, set_random_state

_HOOKS: Final = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_backward_hooks",
                 "_backward_pre_hooks")
_CONTAINERS: Final = (list, dict, set, deque)


@contextmanager
def lent(model: nn.Module, weights: Mapping[int, Tensor], *, training: bool) -> Iterator[None]:
    """`weights`: the memory to compute with, by the id of the parameter or buffer; it may be written over."""
    with ExitStack() as undo:
        undo.callback(set_random_state, random_state())
        undo.callback(_put_back, [_remember(module) for module in model.modules()])
        for tensor in _tensors(model):
            undo.enter_context(_unsafe_preserve_version_counter(tensor))
        undo.callback(_give_back, _exchange(model, weights))
        for module in model.modules():
            _strip(module)
            if module.training != training and module is model:
                model.train(training)
        if "torch._dynamo" in sys.modules:
            undo.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _exchange(model: nn.Module, weights: Mapping[int, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Give each parameter and buffer its memory; what it had before."""
    before: list[tuple[Tensor, Tensor]] = []
    try:
        for tensor in _tensors(model):
            other = weights.get(id(tensor))
            if other is not None:
                before.append((tensor, tensor.data))
                tensor.data = other
    except BaseException:
        _give_back(before)
        raise
    return before


def _give_back(before: list[tuple[Tensor, Tensor]]) -> None:
    try:
        for tensor, data in before:
            tensor.data = data
    except BaseException:  # Ctrl+C: once more, and then it may go on
        for tensor, data in before:
            tensor.data = data
        raise


def _tensors(model: nn.Module) -> list[Tensor]:
    return list({id(t): t for t in (*model.parameters(), *model.buffers())}.values())


def _remember(module: nn.Module) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Its attributes and what its containers hold; tensors that it merely keeps are replaced by copies meanwhile."""
    attributes = dict(module.__dict__)
    held = {name: value.copy() for name, value in attributes.items() if isinstance(value, _CONTAINERS)}
    for name, value in attributes.items():
        if isinstance(value, Tensor):
            module.__dict__[name] = value.detach().clone()
    return module, attributes, held


def _put_back(remembered: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]]) -> None:
    for module, attributes, held in remembered:
        module.__dict__.clear()
        module.__dict__.update(attributes)
        for name, was in held.items():
            now = attributes[name]
            if _identities(now) != _identities(was):
                now.clear()
                (now.update if isinstance(now, dict | set) else now.extend)(was)


def _identities(container: Any) -> list[Any]:
    return [(k, id(v)) for k, v in container.items()] if isinstance(container, dict) else [id(v) for v in container]


def _strip(module: nn.Module) -> None:
    """No hooks behind it, none of ours before it, not compiled. Others before it stay: they may make its weights."""
    own = module.__dict__
    for name in _HOOKS:
        if name in own:
            own[name] = OrderedDict()
    before = own.get("_forward_pre_hooks", {})
    kept = OrderedDict((k, h) for k, h in before.items() if not type(h).__module__.startswith("tuimon."))
    own["_forward_pre_hooks"] = kept
    own["_forward_pre_hooks_with_kwargs"] = OrderedDict(own.get("_forward_pre_hooks_with_kwargs", {}))
    if "_compiled_call_impl" in own:
        own["_compiled_call_impl"] = None
