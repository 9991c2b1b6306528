"""Finds what a script trains, and attaches, without the script's asking: what `tuimon run` adds to it.

Each optimizer is remembered when it is made. At the first backward that reaches its tensors the model is looked for,
and attached before that backward begins: nothing of the first step is lost but its time and its tokens. Where no
backward is seen to reach them (torch.autograd.grad, a closure), that happens as the optimizer's first step begins.
Training thread. Raises nothing: what cannot be watched is said once, on the script's console, and training goes on.
"""

from __future__ import annotations

import os
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tuimon.instrument import patches
from tuimon.instrument.arguments import unwrap
from tuimon.instrument.attach import attach
from tuimon.instrument.found import FOUND
from tuimon.instrument.hooks import hidden
from tuimon.instrument.monitor import Monitor
from tuimon.instrument.owners import Assembled, held, living_tops, owner, reached
from tuimon.instrument.state import unwrapped
from tuimon.record import claim
from tuimon.record.printing import mention
from tuimon.record.rundir import Launch, RunDir, create_run

LOOKS: Final = 20
"""Backwards that are looked at for an optimizer; after that it is found when it steps."""
AT_ONCE: Final = 4
"""Models that are attached together at the first backward, so that the largest is the one on the screen."""


@dataclass(slots=True)
class Waiting:
    """An optimizer that has not been attached."""

    ref: weakref.ref[Optimizer]
    looks: int = LOOKS


@dataclass(slots=True)
class Group:
    """A model, and the optimizers that wait for it."""

    model: nn.Module
    optimizers: list[Optimizer]

    @property
    def name(self) -> str:
        """The model's class."""
        return type(unwrapped(self.model)).__name__

    @property
    def size(self) -> int:
        """Numbers that are trained."""
        return sum(t.numel() for t in {id(t): t for o in self.optimizers for t in held(o)}.values())

    def shares(self, ids: set[int]) -> bool:
        """Whether one of its optimizers holds one of these tensors."""
        return any(id(t) in ids for o in self.optimizers for t in held(o))


class Search:
    """Of one process."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._first: Monitor | None = None
        """The run that the viewer has open."""
        self._launched: Launch | None = None
        self._models: list[tuple[weakref.ref[nn.Module], list[weakref.ref[Optimizer]]]] = []
        """What was attached, and by which optimizers."""
        self._is_seeking = self._is_over = False
        self._pid = os.getpid()
        path = claim.reserved()
        if path is not None:
            self._launched = RunDir(Path(path)).read_launch()
        register_optimizer_step_pre_hook(hidden(self.step_begins))

    def made(self, optimizer: Optimizer) -> None:
        """The script has made an optimizer."""
        if self._is_over or any(w.ref() is optimizer for w in self._waiting) or optimizer in FOUND:
            return
        self._waiting.append(Waiting(weakref.ref(optimizer)))
        if not self._is_seeking:
            self._is_seeking = True
            patches.seek(self.backward_begins)

    def backward_begins(self, tensors: Any) -> None:
        """Before a backward that starts from `tensors`."""
        try:
            self._look(tensors)
        except Exception as error:  # the outermost frame: training must not end because of this
            self._give_up(error)

    def step_begins(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        """Before any optimizer steps."""
        if not self._waiting or os.getpid() != self._pid:
            return
        try:
            if any(w.ref() is optimizer for w in self._waiting):
                self._attach_those([optimizer])
        except Exception as error:
            self._give_up(error)

    # -- looking

    def _look(self, tensors: Any) -> None:
        self._waiting = [w for w in self._waiting if w.ref() is not None]
        looked_for = [(w, o) for w in self._waiting if w.looks > 0 and (o := w.ref()) is not None]
        if not looked_for:
            self._rest()
            return
        if os.getpid() != self._pid or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
            return
        wanted = {id(t) for _, o in looked_for for t in held(o)}
        seen = reached(tensors, wanted)
        hit = [o for _, o in looked_for if any(id(t) in seen for t in held(o))]
        for waiting, _ in looked_for:
            waiting.looks -= 1
        if hit:
            self._attach_those(hit)

    def _rest(self) -> None:
        """Nobody is waiting for a backward: it costs nothing any more."""
        self._is_seeking = False
        patches.unseek(self.backward_begins)

    def _give_up(self, error: Exception) -> None:
        self._is_over = True
        self._waiting.clear()
        self._rest()
        say(f"nothing more is watched, training goes on: {type(error).__name__}: {error}")

    # -- finding

    def _attach_those(self, hit: list[Optimizer]) -> None:
        """Attach the models of these optimizers, each with all optimizers that wait for it."""
        if self._first is None and claim.reserved() is None:
            self._is_over = True  # the script attaches by itself: it decides what is recorded
            self._waiting.clear()
            self._rest()
            return
        groups = self._groups()
        wanted = [g for g in groups if any(o is h for o in g.optimizers for h in hit)]
        if self._first is None and len(groups) <= AT_ONCE:
            wanted = groups
        for group in sorted(wanted, key=lambda g: g.size, reverse=True):
            self._attach(group)
        self._waiting = [w for w in self._waiting if (o := w.ref()) is not None and o not in FOUND]
        if not self._waiting:
            self._rest()

    def _groups(self) -> list[Group]:
        """The waiting optimizers by what they train. A wrapper's inner optimizer stands for both."""
        tops, groups = living_tops(), list[Group]()
        waiting = [o for w in self._waiting if (o := w.ref()) is not None]
        for optimizer in [o for o in waiting if unwrap(o) is o]:
            model = owner(held(optimizer), tops)
            mine = {id(t) for t in held(optimizer)}
            same = next((g for g in groups if g.model is model or g.shares(mine)), None)
            if same is None:
                groups.append(Group(model, [optimizer]))
            else:
                same.optimizers.append(optimizer)
        return groups

    def _attach(self, group: Group) -> None:
        for optimizer in group.optimizers:
            self._forget(optimizer)
        if self._is_watched(group):
            kinds = " and ".join(type(o).__name__ for o in group.optimizers)
            self._tell(f"{kinds} was made for {group.name} after its run had begun: its steps are not measured")
            return
        if isinstance(group.model, Assembled) and not group.model._modules:  # noqa: SLF001  # our own
            say(f"no module holds the {len(held(group.optimizers[0]))} tensors of this "
                f"{type(group.optimizers[0]).__name__}; they are watched by number")
        options = self._options(group)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what attach warns of is noted in the run as well
            try:
                monitor = attach(group.model, *group.optimizers, **options)
            except Exception as error:
                say(f"{group.name} is not watched, training goes on: {error}")
                return
        monitor.begins_late()
        for optimizer in group.optimizers:
            FOUND[optimizer] = monitor
        self._models.append((weakref.ref(group.model), [weakref.ref(o) for o in group.optimizers]))
        if self._first is None:
            self._first = monitor

    def _options(self, group: Group) -> dict[str, Any]:
        """The first run takes the directory that was prepared; each further one gets its own, and the first says so."""
        if self._first is None:
            return {}
        run = create_run(group.name)
        self._tell(f"{group.name} is trained as well: it is recorded in {run.name}")
        asked = self._launched
        return {"run_dir": run.path, "name": group.name, "detail": asked.detail if asked else "auto",
                "on_critical": asked.on_critical if asked else "warn"}

    def _is_watched(self, group: Group) -> bool:
        """Whether a run of this model is open: one of its optimizers is there, and holds the same model or tensors."""
        mine = {id(t) for o in group.optimizers for t in held(o)}
        for ref, optimizers in self._models:
            alive = [o for r in optimizers if (o := r()) is not None]
            if alive and (ref() is group.model or any(id(t) in mine for o in alive for t in held(o))):
                return True
        return False

    def _forget(self, optimizer: Optimizer) -> None:
        self._waiting = [w for w in self._waiting if w.ref() is not optimizer]

    def _tell(self, text: str) -> None:
        """On the script's console, and in the run that is on the screen."""
        say(text)
        if self._first is not None:
            self._first.note(text)


def say(text: str) -> None:
    """A line on the script's console."""
    mention(f"tuimon: {text}")   # that is where a person looks who wonders
