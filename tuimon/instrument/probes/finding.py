"""What of a model can be probed, by module type and structure. Reads; never writes.

    attention   see `families`
    units       the hidden units of a feed-forward net: what its second linear map takes, where two linear maps C -> F
                and F -> C stand beside each other in one module (F above C, or an activation among them); else what an
                activation gives that stands behind the only, widening, linear map of its module (BERT)
    blocks      members of the outermost lists (nn.ModuleList, nn.Sequential) of two or more modules of one class
    logits      what a linear map to the vocabulary gives; without one, as where it is tied by hand, the model itself

Modules that torch.compile has compiled are left out with all that is in them: a hook in there would be traced, and
cost a compilation. Experts of a mixture are left out, for they are many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from tuimon.instrument.probes.families import FAMILIES, Attention, Packed, attention_in, width_in, width_out
from tuimon.instrument.state import own_name, unwrapped
from tuimon.record.probes import ProbeEntry

SOFT: Final = (nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Hardswish, nn.LeakyReLU, nn.PReLU,
               nn.Sigmoid, nn.Tanh)
HARD: Final = (nn.ReLU, nn.ReLU6)
"""Those that give 0 for a unit that is off."""
_FOREIGN: Final = "transformers.activations"
"""Where Hugging Face keeps its own."""
_FUNCTIONS: Final = ("activation", "activation_fn", "act_fn", "act")
"""Words under which a module keeps an activation that is a function."""
_LOG: Final = logging.getLogger("tuimon")
_LONGEST: Final = 64
"""Attention modules, feed-forward nets and blocks of which each so many are probed, evenly over the depth."""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The hidden units of one feed-forward net."""

    name: str
    module: nn.Module
    given: bool
    """Whether they are what `module` takes, rather than what it gives."""
    exactly: bool
    """Whether a unit that is off is 0."""

    quantities = ("dead_units",)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One block of the trunk."""

    name: str
    module: nn.Module

    quantities = ("activation_rms",)


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """What is made into a distribution over the vocabulary."""

    name: str
    module: nn.Module
    vocabulary: int

    quantities = ("logit_scale", "logit_mean")


Place = Attention | Packed | Units | Block | Logits


def find(model: nn.Module, vocab_size: int | None = None) -> tuple[Place, ...]:
    """Everything that can be probed, by kind, in the model's order; nothing where modules cannot be looked at."""
    try:
        return _find(model, vocab_size)
    except Exception as error:  # whatever its attributes do when they are asked for: a run is attached all the same
        _LOG.debug("no activation probes: %s", error)
        return ()


def _find(model: nn.Module, vocab_size: int | None) -> tuple[Place, ...]:
    root = unwrapped(model)
    if isinstance(model, nn.DataParallel) or isinstance(root, torch.jit.ScriptModule) or is_compiled(model):
        return ()  # replicas in threads of their own; code that takes no hooks
    modules = list(eager(root))
    attention, units, blocks = list[Place](), list[Place](), list[Place]()
    logits = _logits(modules, vocab_size)
    for name, module in modules:
        found = attention_in(name, module, causal=logits is not None)
        attention += [found] if found else []
        units += [] if ".experts." in f".{name}." else _units(name, module)
        if not any(name.startswith(f"{block.name}.") for block in blocks):
            blocks += _blocks(name, module)
    return (*_spread(attention), *_spread(units), *_spread(blocks), *([logits] if logits else ()))


def entries_of(places: tuple[Place, ...]) -> tuple[ProbeEntry, ...]:
    """The probe table."""
    return tuple(ProbeEntry(place.name, quantity) for place in places for quantity in place.quantities)


def eager(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(own name, module) of the model and what is in it, each once, without what is compiled."""
    seen: set[int] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in seen or is_compiled(module):
            continue
        seen.add(id(module))
        yield own_name(f"{name}.").rstrip("."), module
        inside = [(f"{name}.{n}" if name else n, m) for n, m in module._modules.items() if m is not None]  # noqa: SLF001
        waiting += reversed(inside)


def is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile has been told to compile it, or something that it calls as its own."""
    mine = module.__dict__
    return (
        "_orig_mod" in mine.get("_modules", ()) or mine.get("_compiled_call_impl") is not None
        or mine.get("_compiler_ctx") is not None  # Lightning's
        or hasattr(type(module).forward, "_torchdynamo_orig_callable")
        or any(hasattr(value, "_torchdynamo_orig_callable") for value in mine.values() if callable(value))
    )


def _spread(places: list[Place]) -> list[Place]:
    if len(places) <= _LONGEST:
        return places
    return [places[round(i * (len(places) - 1) / (_LONGEST - 1))] for i in range(_LONGEST)]


def _logits(modules: list[tuple[str, nn.Module]], vocab_size: int | None) -> Logits | None:
    tables = [(m.num_embeddings, m.embedding_dim) for _, m in modules if isinstance(m, nn.Embedding)]
    heads = [Logits(n, m, width_out(m)) for n, m in modules if width_out(m) == vocab_size
             or (vocab_size is None and (width_out(m), width_in(m)) in tables)]
    if heads:
        return heads[-1]
    size = vocab_size or (tables[0][0] if tables else 0)
    return Logits("", modules[0][1], size) if size and modules else None


def _units(name: str, module: nn.Module) -> list[Place]:
    """The hidden units of which this module is the net; a chain of linear maps has several."""
    inside = {n: m for n, m in module._modules.items() if m is not None}  # noqa: SLF001  # children() has no names
    if any(set(family.names) <= inside.keys() for family in FAMILIES if family.cut == "apart"):
        return []  # attention, whose widths may look like a net's
    mixes = {n for family in FAMILIES for n in family.names}
    children = list(inside.items())
    linear = [(i, n, m) for i, (n, m) in enumerate(children) if width_out(m) and n not in mixes]
    active = [i for i, (_, m) in enumerate(children) if is_activation(m)]
    hard = _is_hard(module, children)
    found: list[Place] = []
    for i, n, down in linear:
        before = [(j, up) for j, _, up in linear if j < i and width_out(up) in (width_in(down), 2 * width_in(down))]
        widens = bool(active) or width_in(down) > width_out(down)
        if any((widens and width_in(up) == width_out(down)) or any(j < a < i for a in active) for j, up in before):
            found.append(Units(_joined(name, n), down, given=True, exactly=hard))
    if not found and len(linear) == len(active) == 1 and linear[0][0] < active[0] and _widens(linear[0][2]):
        n, activation = children[active[0]]
        found.append(Units(_joined(name, n), activation, given=False, exactly=hard))
    return found


def _widens(module: nn.Module) -> bool:
    return width_out(module) > width_in(module)


def is_activation(module: nn.Module | None) -> bool:
    """Whether it is an element-wise function that hidden units go through."""
    return isinstance(module, (*SOFT, *HARD)) or type(module).__module__ == _FOREIGN


def _is_hard(module: nn.Module, children: list[tuple[str, nn.Module]]) -> bool:
    kept = [module.__dict__.get(name) for name in _FUNCTIONS]
    return (any(isinstance(m, HARD) or type(m).__name__ == "ReLUSquaredActivation" for _, m in children)
            or any(f is nn.functional.relu or f is torch.relu for f in kept))


def _blocks(name: str, module: nn.Module) -> list[Place]:
    if not isinstance(module, nn.ModuleList | nn.Sequential):
        return []
    members = [(n, m) for n, m in module._modules.items() if m is not None and len(list(m.modules())) > 1]  # noqa: SLF001
    kinds = [type(m) for _, m in members]
    return [Block(_joined(name, n), m) for n, m in members if kinds.count(type(m)) >= 2 and not is_compiled(m)]


def _joined(name: str, child: str) -> str:
    return own_name(f"{name}.{child}." if name else f"{child}.").rstrip(".")
