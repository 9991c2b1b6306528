"""The batches of the steps under way, kept until their rows have come out finite: for an autopsy. Training thread.

References, never copies: it costs no memory that the script has let go of for longer than a few steps, and no time. A
script that reuses one buffer in place overwrites what is kept; torch counts that, and such a batch is not used. What
came out of a graph is kept without it. Nothing here raises: what cannot be kept is named.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import FunctionType
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuimon.record.chunk import Bools, Vectors

RUINOUS: Final = 1e3
"""No learning rate that trains anything is larger; NaN is not smaller either."""
LIMIT: Final = 64 << 20
"""Bytes of all batches that are kept."""
MOST: Final = 64
"""Forward passes, and as many batches of loaders."""
AUTOPSIES: Final = 3
"""In one run; between two of them it has been finite again."""
RECENT: Final = 32
"""Finite rows that tell what is usual."""
DEVICES: Final = ("cpu", "cuda", "mps", "xpu")
"""Types on which autocast may be on."""
_PLAIN: Final = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice, type,
                 FunctionType, nn.Module)


_Autocast = tuple[tuple[str, torch.dtype], ...]
_NO_AUTOCAST: Final[_Autocast] = ()


class _Unkept(Exception):
    """A value that may hold a graph, or no one knows how much."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What went into one forward pass, or came from a loader."""

    step: int
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    training: bool = True
    autocast: _Autocast = ()
    """Device types and their lower precision."""
    why: str = ""
    """Why it was not kept; "" where it was."""
    bytes: int = 0
    tensors: Sequence[tuple[Tensor, int]] = ()
    """With the count of what was written over them by then."""

    @property
    def problem(self) -> str:
        """Why it cannot be used now; "" where it can."""
        if self.why or all(t.is_inference() or t._version == version for t, version in self.tensors):  # noqa: SLF001
            return self.why
        return "the script has written over that batch since"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A step whose row is not finite."""

    step: int
    values: Mapping[str, float]
    """What is not finite."""
    skipped: bool
    """Whether a GradScaler skipped it, so that the weights are still those of before."""
    sudden: bool
    """Whether the rows before it were as usual: then the weights had not gone wrong gradually."""
    grad: Vectors | None
    """(size of the tensor table,) gradient norms of that step, and whether there was a gradient."""
    seen: Bools | None
    ruined: bool = False
    """Whether a step before it had an update that no weights survive, while its loss was still as usual."""


class Batches:
    """Those of one attached run."""

    def __init__(self) -> None:
        self.suspect: Suspect | None = None
        self._ruined = False
        """What an autopsy is due for."""
        self._entered: deque[Batch] = deque(maxlen=MOST)
        self._loaded: deque[Batch] = deque(maxlen=MOST)
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._left, self._is_armed, self._is_off = AUTOPSIES, True, False

    def entered(
        self, step: int, model: nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """A forward pass with gradients begins, as part of `step`; without a model, a loader gave `args`."""
        if self._is_off:
            return
        kept, training, autocast = self._loaded, True, _NO_AUTOCAST
        if model is not None:
            kept, training = self._entered, model.training
            autocast = tuple([(kind, torch.get_autocast_dtype(kind)) for kind in DEVICES
                              if torch.is_autocast_enabled(kind)])
        try:
            found: list[tuple[Tensor, int]] = []
            mine = tuple([_kept(value, found) for value in args])
            named = {name: _kept(value, found) for name, value in kwargs.items()}
            size = sum([t.numel() * t.element_size() for t, _ in found])
            why = f"that batch has {size >> 20} MB, and at most {LIMIT >> 20} MB are kept" if size > LIMIT else ""
        except _Unkept as error:
            why = str(error)
        except Exception as error:  # somebody else's classes
            why = f"{type(error).__name__} while looking at what went into the model"
        kept.append(Batch(step, (), {}, why=why) if why else
                    Batch(step, mine, named, training, autocast, "", size, found))
        while len(kept) > 1 and sum([batch.bytes for batch in kept]) > LIMIT:
            kept.popleft()

    def judged(self, step: int, values: Mapping[str, float], grad: Vectors | None, seen: Bools | None) -> None:
        """The row of a step has arrived, with its gradients where they were measured."""
        if self._is_off or self.suspect is not None:
            return
        skipped = bool(values.get("skipped"))
        bad = {name: value for name in ("loss", "grad_norm") if not math.isfinite(value := values.get(name, 0.0))}
        if skipped:
            bad.pop("grad_norm", None)  # a GradScaler looks for its scale
        if not bad:
            self._is_armed = True
            self._recent.append((values.get("loss", 0.0), values.get("grad_norm", 0.0)))
            norms = values.get("param_norm", 0.0) + values.get("update_norm", 0.0)  # not finite if either is not
            self._ruined = not (math.isfinite(norms) and values.get("lr", 0.0) < RUINOUS)
        elif self._is_armed:
            self._is_armed, self._left = False, self._left - 1
            self.suspect = Suspect(step, bad, skipped, _is_steady(self._recent), grad, seen,
                                   self._ruined)
            return
        for kept in (self._entered, self._loaded):
            while kept and kept[0].step <= step:
                kept.popleft()

    def of(self, step: int) -> tuple[list[Batch], list[Batch]]:
        """The forward passes of a step, and what its loaders gave."""
        return [b for b in self._entered if b.step == step], [b for b in self._loaded if b.step == step]

    def examined(self) -> None:
        """The autopsy is over."""
        self.suspect = None
        self._entered.clear()
        self._loaded.clear()
        if self._left <= 0:
            self.clear()

    def clear(self) -> None:
        """Keep nothing any more."""
        self._is_off, self.suspect = True, None
        self._entered.clear()
        self._loaded.clear()


def _is_steady(recent: deque[tuple[float, float]]) -> bool:
    """Whether the last rows were like those before: no loss beyond twice, no gradient beyond ten times their median."""
    if len(recent) < 2:
        return False
    losses, norms = [loss for loss, _ in recent], [norm for _, norm in recent if math.isfinite(norm)]
    usual, last = median(losses), losses[-3:]
    steady = not norms or max(norms[-3:]) <= 10 * median(norms)
    return steady and max(last) - usual <= abs(usual)


def _kept(value: Any, found: list[tuple[Tensor, int]]) -> Any:
    """The same, safe from changes of containers, with no graph kept alive; its tensors are added to `found`."""
    if isinstance(value, Tensor):
        mine = value.detach() if value.requires_grad else value
        found.append((mine, -1 if mine.is_inference() else mine._version))  # noqa: SLF001  # the only counter there is
        return mine
    kind = type(value)
    if kind is dict:
        return {k: _kept(v, found) for k, v in value.items()}
    if kind in (list, tuple):
        return kind([_kept(v, found) for v in value])
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*[_kept(v, found) for v in value])
    inside: Any = None
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif dataclasses.is_dataclass(value):
        inside = [getattr(value, f.name, None) for f in dataclasses.fields(value)]
    if inside is None or any(isinstance(v, Tensor) and v.requires_grad for v in inside):
        raise _Unkept(f"what went into the model holds a {kind.__name__}, which is not kept")
    for part in inside:
        _kept(part, found)
    return value  # as it is: models look for attributes of its class
