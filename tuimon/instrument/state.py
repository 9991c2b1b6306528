"""What an optimizer step changes, each tensor by a name that is the same in every process. Reads; never writes.

    param/<name>                     parameters, frozen ones too (they may thaw); tied ones once
    buffer/<name>  cache/<name>      persistent buffers; buffers that the model does not save
    opt/<i>/<parameter>/<key>        state tensors of the i-th optimizer
    scaler/scale  scaler/growth      the GradScaler, once it has begun
    pending/found_inf/<n>            what the GradScaler will be told when this step's update() comes

Everything else that a step depends on (numbers in optimizer state, hyper-parameters, schedules, random generators)
is `plain`. `restoring` puts both back. Law: no device synchronisation here.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tuimon.errors import CheckpointError
from tuimon.instrument.weakly import Weak

Plain = dict[str, Any]
"""Numbers, strings, containers of them and small tensors."""
_WRAPPERS: Final = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Name parts that compiling, sharding and activation checkpointing put in: not the same in every process."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside torch.compile, DistributedDataParallel and DataParallel."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def schedules_in(given: Any) -> tuple[Any, ...]:
    """One schedule, several or None, as a tuple; without Accelerate's wrapper, which hides how far it has moved."""
    several = given if isinstance(given, list | tuple) else () if given is None else (given,)
    return tuple(getattr(schedule, "scheduler", schedule) for schedule in several)


def own_name(name: str) -> str:
    """A parameter's name without the parts that wrappers put in."""
    for part in _WRAPPERS:
        name = name.replace(part, "")
    return name


def local(tensor: Tensor) -> Tensor:
    """The memory behind a tensor on this rank: detached, a DTensor's own shard, expanded dimensions once."""
    found = tensor.detach()
    if hasattr(found, "to_local"):
        with torch.no_grad():  # with gradients on, to_local builds a graph node
            found = found.to_local()
    for dim, stride in enumerate(found.stride() if found.layout is torch.strided else ()):
        if stride == 0 and found.shape[dim] > 1:
            found = found.narrow(dim, 0, 1)  # writing through an expanded view is refused by torch
    return found


def copied(value: Any) -> Any:
    """A copy that later steps cannot change; tensors are cloned where they are."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) is dict:
        return {k: copied(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(copied(v) for v in value)
    try:
        return copy.deepcopy(value)
    except Exception:  # an object that cannot be copied is not ours to understand: it stays shared
        return value


@dataclass(frozen=True, slots=True)
class Held:
    """One entry of an optimizer's state."""

    key: str
    """"opt/<i>/<parameter>/<name>"."""
    optimizer: int
    parameter: str
    name: str
    entries: dict[str, Any]
    """The optimizer's own dictionary in which it stands."""
    value: Any


class TrainingState:
    """The live side: model, optimizers, and optionally the GradScaler and the schedules. Looked up anew each time.

    `scaler` and `schedulers` may be assigned later, once they are known. Optimizers and schedulers given as `Weak` are
    held weakly.
    """

    def __init__(
        self, model: nn.Module, optimizers: Optimizer | Sequence[Optimizer], scaler: Any = None,
        schedulers: Iterable[Any] = (), from_step: int = 0,
    ) -> None:
        """`from_step`: the step at which this process began."""
        self.model = unwrapped(model)
        self.optimizers: Sequence[Optimizer] = (optimizers,) if isinstance(optimizers, Optimizer) else optimizers
        self.scaler = scaler
        self.schedulers = schedulers
        self._from_step = from_step
        self._begun = {id(s): _moves(s) for s in self.schedulers}

    @property
    def schedulers(self) -> tuple[Any, ...]:
        """Of weakly held ones those that the script still has."""
        known = self._schedulers
        return tuple(s for _, s in known.living()) if isinstance(known, Weak) else known

    @schedulers.setter
    def schedulers(self, schedulers: Iterable[Any]) -> None:
        self._schedulers = schedulers if isinstance(schedulers, Weak) else tuple(schedulers)

    def parameters(self) -> dict[str, Tensor]:
        """Name -> parameter: the model's, then those that only an optimizer holds ("optimizer.<i>.<group>.<j>")."""
        found = {own_name(n): p for n, p in self.model.named_parameters()}
        known = {id(p) for p in found.values()}
        for i, optimizer in enumerate(self.optimizers):
            for g, group in enumerate(optimizer.param_groups):
                for j, parameter in enumerate(group["params"]):
                    if id(parameter) not in known:
                        known.add(id(parameter))
                        found[f"optimizer.{i}.{g}.{j}"] = parameter
        return {n: p for n, p in found.items() if not is_lazy(p) and not p.is_meta}

    def trained(self) -> set[str]:
        """Names of the parameters that an optimizer holds."""
        held = {id(p) for o in self.optimizers for g in o.param_groups for p in g["params"]}
        return {n for n, p in self.parameters().items() if id(p) in held}

    def buffers(self) -> Iterator[tuple[str, Tensor]]:
        """("buffer/<name>" or "cache/<name>", buffer); shared ones once."""
        seen: set[int] = set()
        for prefix, module in self.model.named_modules():
            passing = module._non_persistent_buffers_set  # noqa: SLF001  # nn.Module has no public word for it
            for name, buffer in module._buffers.items():  # noqa: SLF001
                if buffer is None or id(buffer) in seen or buffer.is_meta or is_lazy(buffer):
                    continue
                seen.add(id(buffer))
                kind = "cache" if name in passing else "buffer"
                yield f"{kind}/{own_name(f'{prefix}.{name}' if prefix else name)}", buffer

    def held(self) -> Iterator[Held]:
        """Every entry of every optimizer's state, tensors and others."""
        names = {id(p): n for n, p in self.parameters().items()}
        for i, optimizer in enumerate(self.optimizers):
            for owner, entries in optimizer.state.items():
                parameter = names.get(id(owner), "") if isinstance(owner, Tensor) else f"#{owner}"
                if parameter and isinstance(entries, dict):
                    for name, value in entries.items():
                        yield Held(f"opt/{i}/{parameter}/{name}", i, parameter, str(name), entries, value)

    def tensors(self) -> dict[str, Tensor]:
        """Key -> this rank's live memory. CheckpointError for a tensor that has no plain memory to copy."""
        found = {f"param/{n}": p for n, p in self.parameters().items()}
        found.update(self.buffers())
        found.update((h.key, h.value) for h in self.held() if isinstance(h.value, Tensor))
        found.update(self._scaler_tensors())
        for key, tensor in found.items():
            if tensor.layout is not torch.strided or tensor.is_quantized:
                raise CheckpointError(f"{key} is a {tensor.layout} tensor: only dense ones can be put back in place")
        return {k: local(t) for k, t in found.items()}

    def _scaler_tensors(self) -> dict[str, Tensor]:
        scaler = self.scaler
        inner = {} if scaler is None or not scaler.is_enabled() else vars(scaler)  # its getters would synchronise
        if inner.get("_scale") is None:
            return {}
        found = {"scaler/scale": inner["_scale"], "scaler/growth": inner["_growth_tracker"]}
        pending = [
            t for state in inner["_per_optimizer_states"].values() for t in state["found_inf_per_device"].values()
        ]
        found.update({f"pending/found_inf/{n}": t for n, t in enumerate(pending)})
        return found

    def plain(self, step: int) -> Plain:
        """What `tensors` leaves out, as of the end of `step`: copies, nothing live."""
        names = {id(p): n for n, p in self.parameters().items()}
        optimizers: list[Plain] = [
            {"groups": [
                {"params": [names.get(id(p), "") for p in g["params"]],
                 "values": {k: copied(v) for k, v in g.items() if k != "params"}}
                for g in o.param_groups],
             "kind": type(o).__name__, "tensors": {}, "state": {}}
            for o in self.optimizers
        ]
        for held in self.held():
            mine = optimizers[held.optimizer]
            if isinstance(held.value, Tensor):
                mine["tensors"].setdefault(held.parameter, {})[held.name] = held.value.device.type
            else:
                mine["state"].setdefault(held.parameter, {})[held.name] = copied(held.value)
        return {
            "optimizers": optimizers, "scaler": self.scaler_plain(), "random": random_state(),
            "schedulers": [copied(s.state_dict()) for s in self.schedulers],
            "due": [self._due(s, step) for s in self.schedulers],
            "kinds": [type(s).__name__ for s in self.schedulers],
        }

    def scaler_plain(self) -> Plain | None:
        """The GradScaler's numbers as it begins with; a snapshot older than our first sight of it goes back to them."""
        scaler = self.scaler
        if scaler is None or not scaler.is_enabled():
            return None
        inner = vars(scaler)
        return {"scale": inner["_init_scale"], "growth": inner["_init_growth_tracker"],
                "growth_factor": scaler.get_growth_factor(), "backoff_factor": scaler.get_backoff_factor(),
                "growth_interval": scaler.get_growth_interval()}

    def _due(self, schedule: Any, step: int) -> int:
        """How many step() calls of the loop belong to `step` but come after its boundary: 0 or 1.

        At a boundary a schedule that is stepped after every update has moved once less than the optimizer. A run that
        goes on from here in another process must make that call, or its learning rate lags by one step. Loops that
        step otherwise (per epoch, before the update) are left alone, and so is a schedule whose step() wants a number.
        """
        if isinstance(schedule, ReduceLROnPlateau):
            return 0
        now, behind = _moves(schedule), step - self._from_step - 1
        if now is None or behind < 1:
            return 0
        begun = self._begun.get(id(schedule))
        if begun is not None:
            return int(now == begun + behind)
        fresh = now - getattr(schedule, "_step_count", now + 1) + 1  # found late: it began with the run
        return int(now in (fresh + behind, step - 1))


def _moves(schedule: Any) -> int | None:
    """How often a schedule has moved; None where it does not say."""
    inner = getattr(schedule, "_schedulers", ())  # a ChainedScheduler's count
    found = getattr(schedule, "last_epoch", None if not inner else getattr(inner[0], "last_epoch", None))
    return found if isinstance(found, int) else None


def random_state() -> Plain:
    """The state of every random generator in use: torch, each CUDA device, Python, numpy."""
    state: Plain = {"torch": torch.get_rng_state(), "python": random.getstate(), "cuda": [], "numpy": None}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # asking would initialise it; generator states live on the host: no sync
        state["cuda"] = torch.cuda.get_rng_state_all()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        kind, keys, position, has_gauss, cached = numpy.random.get_state()
        if kind == "MT19937":
            state["numpy"] = [[int(k) for k in keys], int(position), int(has_gauss), float(cached)]
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put every random generator back; CUDA devices that this machine has not are passed over."""
    torch.set_rng_state(state["torch"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    for device, one in enumerate(state["cuda"][: torch.cuda.device_count()] if state["cuda"] else ()):
        torch.cuda.set_rng_state(one, device)
    if state["numpy"] is not None:
        import numpy as np

        keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state(("MT19937", np.array(keys, np.uint32), position, has_gauss, cached))  # noqa: NPY002
