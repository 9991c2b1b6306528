"""Putting a training state back, in place: checked completely first, live tensors touched last.

Copies go into the storages that are there, so that compiled code, CUDA graphs, DDP buckets and tied weights stay
valid. Optimizer state that did not exist at the snapshot is taken away again, so that the optimizer draws its own
initial values; where a CUDA graph may hold its address (capturable groups) it is filled with them instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import LBFGS

from tuimon.errors import CheckpointError
from tuimon.instrument.state import Plain, TrainingState, copied, local

_FLAGS: Final = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""How this process computes, not what: never overwritten by another process's choice."""
_SCHEDULED: Final = frozenset({
    "lr", "initial_lr", "max_lr", "min_lr", "base_lr", "swa_lr", "betas", "momentum", "max_momentum", "base_momentum",
    "weight_decay", "dampening", "eps", "alpha",
})
"""What schedules and people set in a group. They go on over a rollback; other numbers there (schedule-free optimizers
and Prodigy count in their groups) belong to the optimizer."""
_LOOSE: Final = ("cache/", "pending/")
_ONES: Final = frozenset({"mu_product", "mu"})
_RATES: Final = frozenset({"step_size", "eta"})
"""State that begins at 1 (NAdam, ASGD) or at the learning rate (Rprop, ASGD); everything else begins at 0."""


def copy_all(pairs: Iterable[tuple[Tensor, Tensor]], *, non_blocking: bool = False) -> None:
    """Copy: destination <- source for all pairs, one call per device and dtype."""
    groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for destination, source in pairs:
        into, out_of = groups[destination.device, source.device, source.dtype]
        into.append(destination)
        out_of.append(source)
    with torch.no_grad():
        for into, out_of in groups.values():
            torch._foreach_copy_(into, out_of, non_blocking=non_blocking)


@dataclass(slots=True)
class Plan:
    """Everything a restore will do, checked. Nothing has been touched yet."""

    copies: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """(live memory, saved value)"""
    fills: list[tuple[Tensor, Any]] = field(default_factory=list)
    """State born since then that must keep its address: (live memory, initial value)."""
    births: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """State born since then: (entries, name) to take away."""
    entries: list[tuple[dict[str, Any], str, Any]] = field(default_factory=list)
    """(entries, name, value) to set: numbers, and tensors that do not exist here yet."""
    adopted: list[tuple[Any, Any, dict[str, Any]]] = field(default_factory=list)
    """(optimizer, parameter, entries): state dictionaries to hang in."""
    scaler: tuple[Any, Plain] | None = None
    groups: list[tuple[dict[str, Any], str, Any]] = field(default_factory=list)

    def apply(self, *, undo: bool = False) -> None:
        """Do it. Only the tensor writes, which come first, can fail.

        `undo` takes back what a failed one did: memory that refuses to be written then has not been written before.
        """
        if undo:
            self._copy_each()
        else:
            copy_all(self.copies, non_blocking=True)
        with torch.no_grad():
            for live, value in self.fills:
                live.fill_(value)
        for device in {live.device for live, _ in self.copies if live.is_cuda}:
            torch.cuda.current_stream(device).synchronize()  # sync: errors must show here, and host buffers be free
        for entries, name in self.births:
            del entries[name]
        for entries, name, value in (*self.entries, *self.groups):
            entries[name] = value
        for optimizer, parameter, entries in self.adopted:
            optimizer.state[parameter] = entries
        if self.scaler is not None:
            _put_scaler(*self.scaler)

    def _copy_each(self) -> None:
        for live, saved in self.copies:
            try:
                live.copy_(saved)
            except RuntimeError:  # it refused before as well
                continue


def plan(state: TrainingState, tensors: Mapping[str, Tensor], plain: Plain, *, hyper: bool = False) -> Plan:
    """How to put `state` back to `tensors` and `plain`; CheckpointError, in one line, where they do not fit it.

    `hyper` also restores hyper-parameters (learning rates among them): for another process, not for a rollback.
    """
    if len(plain["optimizers"]) != len(state.optimizers):
        raise CheckpointError(
            f"not of this run: it holds {len(plain['optimizers'])} optimizers, the run has {len(state.optimizers)}"
        )
    live = state.tensors()
    _check_names(live, tensors)
    found = Plan(copies=[(live[k], t) for k, t in tensors.items() if k in live and _is_put_back(k, live[k], t)])
    _plan_births(found, state, tensors)
    parameters = state.parameters()
    for i, saved in enumerate(plain["optimizers"]):
        _plan_optimizer(found, state, i, saved, tensors, parameters)
        if hyper:
            _plan_groups(found, state, i, saved["groups"], parameters)
        else:
            _plan_counters(found, state.optimizers[i], saved["groups"])
    scaled = plain["scaler"] if hyper else plain["scaler"] or state.scaler_plain()
    if state.scaler is not None and state.scaler.is_enabled() and scaled is not None:
        numbers = scaler_numbers(tensors, scaled)
        found.scaler = (state.scaler, numbers if hyper else _plan_pending(found, live, tensors, numbers))
    return found


def _plan_pending(found: Plan, live: Mapping[str, Tensor], saved: Mapping[str, Tensor], numbers: Plain) -> Plain:
    """The loss scale such that it is right after the update() that the loop calls, or does not call, from here.

    A rollback inside GradScaler.step is followed by the update() of the step that was given up: it must find what the
    step of the snapshot had found, or an overflow long undone would halve the scale.
    """
    here, there = ({k: t for k, t in of.items() if k.startswith("pending/")} for of in (live, saved))
    for key, tensor in here.items():
        if key in there:
            found.copies.append((tensor, there[key]))
        else:
            found.fills.append((tensor, 0.0))
    if here and not there:
        return {**numbers, "growth": numbers["growth"] - 1}  # update() adds 1
    return settled(saved, numbers) if there and not here else numbers


def _plan_counters(found: Plan, optimizer: Any, saved: list[Plain]) -> None:
    """What the optimizer itself keeps in its groups."""
    for group, there in zip(optimizer.param_groups, saved, strict=False):
        for key, value in there["values"].items():
            mine = group.get(key)
            if key in _FLAGS or key in _SCHEDULED:
                continue
            if isinstance(value, Tensor) and isinstance(mine, Tensor) and _fits(mine, value):
                found.copies.append((local(mine), value))
            elif not isinstance(value, int | float | str | None):
                continue
            elif isinstance(mine, Tensor) or mine != value:
                found.groups.append((group, key, value))


def _is_firm(key: str) -> bool:
    return key.startswith(("param/", "buffer/"))


def _check_names(live: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    lacking = [k for k in live if _is_firm(k) and k not in saved]
    foreign = [k for k in saved if _is_firm(k) and k not in live]
    if lacking or foreign:
        parts = [f"it {word} {_some(keys)}" for word, keys in (("lacks", lacking), ("has a foreign", foreign)) if keys]
        raise CheckpointError(f"not of this model: {'; '.join(parts)}")
    wrong = [
        f"{k} is {_kind(saved[k])} there and {_kind(live[k])} here"
        for k in live if k in saved and not k.startswith(_LOOSE) and not _fits(live[k], saved[k])
    ]
    if wrong:
        raise CheckpointError(f"not of this model: {wrong[0]}" + (f", and {len(wrong) - 1} more" * (len(wrong) > 1)))


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _fits(live: Tensor, saved: Tensor) -> bool:
    return live.shape == saved.shape and live.dtype == saved.dtype


def _is_put_back(key: str, live: Tensor, saved: Tensor) -> bool:
    """Not what is only noted; not a cache that has grown."""
    return not key.startswith("pending/") and _fits(live, saved)


def _plan_births(found: Plan, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    """State tensors that are here but were not there."""
    grouped = {
        (i, id(p)): g for i, o in enumerate(state.optimizers) for g in o.param_groups for p in g["params"]
    }
    parameters = state.parameters()
    for held in state.held():
        if not isinstance(held.value, Tensor) or held.key in tensors:
            continue
        group = grouped.get((held.optimizer, id(parameters.get(held.parameter))), {})
        if group.get("capturable"):
            initial = 1.0 if held.name in _ONES else group["lr"] if held.name in _RATES else 0.0
            found.fills.append((local(held.value), initial))
        else:
            found.births.append((held.entries, held.name))


def _plan_optimizer(
    found: Plan, state: TrainingState, index: int, saved: Plain, tensors: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
) -> None:
    """Numbers and lists in optimizer state; tensors that the live optimizer does not hold (yet)."""
    optimizer = state.optimizers[index]
    kind = type(optimizer).__name__
    if saved.get("kind", kind) != kind:
        raise CheckpointError(f"not of this run: optimizer {index} was {saved['kind']} there and is {kind} here")
    groups = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    here = {(h.parameter, h.name): h for h in state.held() if h.optimizer == index}
    for held in here.values():
        if not isinstance(held.value, Tensor) and held.name not in saved["state"].get(held.parameter, {}):
            found.births.append((held.entries, held.name))
    hung: dict[str, dict[str, Any]] = {}
    for name in {**saved["tensors"], **saved["state"]}:
        owner: Any = parameters.get(name)
        if owner is None and name.startswith("#"):
            owner = name[1:]
        elif owner is None or id(owner) not in groups:
            raise CheckpointError(f"not of this run: optimizer {index} does not hold {name}")
        entries = optimizer.state.get(owner)
        if entries is None:
            entries = hung[name] = {}
            found.adopted.append((optimizer, owner, entries))
        for key, value in saved["state"].get(name, {}).items():
            found.entries.append((entries, key, copied(value)))
        for key, device in saved["tensors"].get(name, {}).items():
            if (name, key) not in here or not isinstance(here[name, key].value, Tensor):
                born = _born(tensors[f"opt/{index}/{name}/{key}"], owner, groups.get(id(owner), {}), key, device)
                found.entries.append((entries, key, born))


def _born(saved: Tensor, owner: Any, group: Mapping[str, Any], key: str, device: str) -> Tensor:
    """A state tensor for an optimizer that has none yet, on the device where the optimizer would have put it."""
    if not isinstance(owner, Tensor):
        return saved.clone()
    on_host = saved.dim() == 0 and not group.get("capturable") and not group.get("fused")
    if on_host and (key == "step" or device == "cpu"):
        return saved.clone()
    if not hasattr(owner, "device_mesh"):
        return saved.to(owner.device, copy=True)
    from torch.distributed.tensor import DTensor

    assert isinstance(owner, DTensor)
    here = local(owner)
    fresh = saved.to(here.device, copy=True)
    if fresh.shape != here.shape:
        return fresh
    return DTensor.from_local(
        fresh, owner.device_mesh, owner.placements, run_check=False, shape=owner.shape, stride=owner.stride()
    )


def _plan_groups(
    found: Plan, state: TrainingState, index: int, saved: list[Plain], parameters: Mapping[str, Tensor]
) -> None:
    names = {id(p): n for n, p in parameters.items()}
    groups = state.optimizers[index].param_groups
    here, there = [[names.get(id(p), "") for p in g["params"]] for g in groups], [g["params"] for g in saved]
    if not isinstance(state.optimizers[index], LBFGS):  # its history is of all parameters in their order
        here, there = list(map(sorted, here)), list(map(sorted, there))
    if here != there:
        raise CheckpointError(f"not of this run: optimizer {index} groups its parameters differently")
    for group, kept in zip(groups, saved, strict=True):
        for key, value in kept["values"].items():
            mine = group.get(key)
            if key in _FLAGS:
                continue
            if isinstance(mine, Tensor) and isinstance(value, Tensor | float | int) and mine.numel() == 1:
                found.copies.append((local(mine), torch.as_tensor(value, dtype=mine.dtype).reshape(mine.shape)))
            else:
                found.groups.append((group, key, copied(value)))


def scaler_numbers(tensors: Mapping[str, Tensor], plain: Plain) -> Plain:
    """The GradScaler's numbers as of the snapshot; host tensors only, so nothing here waits for a device."""
    numbers = dict(plain)
    if "scaler/scale" in tensors:
        numbers["scale"] = float(tensors["scaler/scale"])
        numbers["growth"] = int(tensors["scaler/growth"])
    return numbers


def settled(tensors: Mapping[str, Tensor], numbers: Plain) -> Plain:
    """The same after the update() that the loop owed at that boundary, as torch._amp_update_scale_ computes it."""
    found = [float(t) for k, t in tensors.items() if k.startswith("pending/found_inf/")]
    if not found:
        return numbers
    scale, growth = numbers["scale"], numbers["growth"]
    if sum(found):
        scale, growth = scale * numbers["backoff_factor"], 0
    elif growth + 1 == numbers["growth_interval"]:
        grown = scale * numbers["growth_factor"]
        scale, growth = (grown if grown < torch.finfo(torch.float32).max else scale), 0
    else:
        growth += 1
    return {**numbers, "scale": scale, "growth": growth}


def _put_scaler(scaler: Any, numbers: Plain) -> None:
    """In place where its tensors exist; else it keeps the numbers until they do."""
    inner = vars(scaler)
    if inner["_scale"] is None:
        scaler.load_state_dict({
            "scale": numbers["scale"], "_growth_tracker": numbers["growth"], "growth_factor": numbers["growth_factor"],
            "backoff_factor": numbers["backoff_factor"], "growth_interval": numbers["growth_interval"],
        })
        return
    inner["_scale"].fill_(numbers["scale"])
    inner["_growth_tracker"].fill_(numbers["growth"])
    scaler.set_growth_factor(numbers["growth_factor"])
    scaler.set_backoff_factor(numbers["backoff_factor"])
    scaler.set_growth_interval(numbers["growth_interval"])
