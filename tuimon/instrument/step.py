"""The step under way: what has been measured of it so far. And its closure, where it has one."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import torch

from tuimon.instrument.rows import Finished

_F = TypeVar("_F", bound=Callable[..., Any])
AGAIN: Final = 8
"""Repeated steps of some optimizers after which those that have not stepped are not waited for."""


def guarded(method: _F) -> _F:
    """The outermost frame: an error of ours ends measuring, never training. Its time is counted as our cost.

    Where measuring is off, `unmeasured` answers if it has a method of that name, else None. For methods of
    `measure.Probe`.
    """

    @functools.wraps(method)
    def outermost(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.off:
            return stand_in(self, *args, **kwargs)
        self.inside = True
        self.entered = time.perf_counter()
        differentiates = torch.is_grad_enabled()
        try:
            torch._C._set_grad_enabled(False)  # noqa: SLF001  # torch.no_grad() around it costs 3 us, seven times a step
            if self.off:  # looked at again: whoever closes from another thread sets it, then waits for `inside` to end
                return stand_in(self, *args, **kwargs)
            return method(self, *args, **kwargs)
        except Exception as error:
            if not self.off:  # else it was closed from elsewhere in the midst of it
                self.give_up(error)
            return stand_in(self, *args, **kwargs)
        finally:
            torch._C._set_grad_enabled(differentiates)  # noqa: SLF001
            self.cost += time.perf_counter() - self.entered
            self.inside = False

    def stand_in(self: Any, *args: Any, **kwargs: Any) -> Any:
        other = getattr(self.unmeasured, method.__name__, None)
        return None if other is None else other(*args, **kwargs)

    return outermost  # type: ignore[return-value]  # the same signature


@dataclass(slots=True)
class Step:
    """The step under way."""

    slot: int
    everything: bool
    """Whether weights and updates are measured."""
    vectors: bool
    """Whether the per-tensor gradient norms are wanted."""
    measured: list[bool]
    """Per optimizer: its gradient norms are in the row."""
    stepped: list[bool]
    """Per optimizer: it has begun to step."""
    seen: list[bool]
    head: set[int] = field(default_factory=set)
    moved: list[tuple[int, int]] = field(default_factory=list)
    resting: set[int] = field(default_factory=set)
    limit: float | None = None
    skipped: float | None = None
    evaluated: bool = False
    """A closure has run: loss and gradients are those of its first evaluation, before the weights moved."""
    again: int = 0
    """How often an optimizer stepped that had stepped already."""
    tokens: int = 0
    batch_tokens: int = 0
    waited: float | None = None
    lr: float | None = None
    lr_scheduled: float | None = None
    logged: dict[str, Any] = field(default_factory=dict)
    late: bool = False
    """It had begun before it was watched: how long it took and on what is not known."""

    def steps(self, k: int, closes: int) -> int:
        """The k-th optimizer begins to step; which one completes this step.

        `closes` did so far. One that never steps, while others do again and again, is not waited for.
        """
        self.again += self.stepped[k]
        self.stepped[k] = True
        if k > closes:
            return k
        return closes if self.again < AGAIN else max(i for i, stepped in enumerate(self.stepped) if stepped)

    def goes_on_in(self, other: Step) -> None:
        """Hand over what does not depend on which tensors are tracked."""
        for name in ("limit", "skipped", "tokens", "batch_tokens", "waited", "logged", "late"):
            setattr(other, name, getattr(self, name))

    def finished(
        self, step: int, values: dict[str, float], *, held: float, covers_all: bool, is_lost: bool
    ) -> Finished:
        """What goes on its way to the log; where the ring was full (`is_lost`) only what the host knows."""
        return Finished(
            step=step, time=time.time(), slot=self.slot, head=set() if is_lost else self.head,
            seen=[False] * len(self.seen) if is_lost else self.seen, weights=self.everything and not is_lost,
            moved=[] if is_lost else self.moved, moved_all=all(self.stepped) and covers_all,
            resting=self.resting, vectors=self.vectors, values=values, held=held, logged=self.logged,
        )

    def known(self, tokens_per_step: int | None, took: float | None) -> dict[str, float]:
        """What needs no device."""
        tokens = tokens_per_step or (0 if self.late else self.tokens or self.batch_tokens)
        values = {"lr": self.lr, "lr_scheduled": self.lr_scheduled, "clipped": self.limit, "skipped": self.skipped,
                  "step_time": None if self.late else took, "data_time": None if self.late else self.waited,
                  "tokens": float(tokens) if tokens else None}
        return {name: value for name, value in values.items() if value is not None}


class Watching(Protocol):
    """Who looks at the gradients of a closure."""

    def evaluating(self, k: int) -> Any:
        """The k-th optimizer's closure is about to run."""

    def evaluated(self, k: int) -> Any:
        """It has run."""


class WatchedClosure:
    """A step's closure, with the schedule's learning rate while it runs and a look at the gradients after it."""

    def __init__(self, probe: Watching, k: int, closure: Callable[[], Any]) -> None:
        self._probe, self._k, self._closure = probe, k, closure

    def __call__(self) -> Any:
        """Evaluate."""
        self._probe.evaluating(self._k)
        result = self._closure()
        self._probe.evaluated(self._k)
        return result


def closure_in(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[[], Any] | None, Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]]:
    """The closure in the arguments of step(self, closure), and how to put another in its place."""
    if callable(kwargs.get("closure")):
        return kwargs["closure"], lambda new: (args, {**kwargs, "closure": new})
    if len(args) > 1 and callable(args[1]):
        return args[1], lambda new: ((args[0], new, *args[2:]), kwargs)
    return None, lambda _: (args, kwargs)
