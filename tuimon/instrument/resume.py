"""Going on from a checkpoint in another process, exactly: weights, optimizer, schedule, loss scale, random generators.

Everything is checked against the run before anything of it is touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tuimon.errors import CheckpointError
from tuimon.instrument.checkpoints import CheckpointInfo, Checkpoints
from tuimon.instrument.restoring import Plan, plan, scaler_numbers, settled
from tuimon.instrument.state import Plain, TrainingState, set_random_state


@dataclass(frozen=True, slots=True)
class ResumeInfo:
    """Where a run goes on from."""

    step: int
    """Last completed optimizer update: go on with the next one."""
    id: str
    attempt: int
    """Attempt that wrote it."""
    sha256: str
    healthy: bool
    overrides: Mapping[str, Any]
    """What was in force: lr scale, clip. `attach(..., resumed=...)` puts them back in force."""
    loader: Any
    """Position of the data loader as it was given, or None."""
    extra: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    """Lines for a person: newer checkpoints that were damaged, things that could not be restored."""


def resume(
    checkpoints: Checkpoints, model: nn.Module, optimizers: Optimizer | Sequence[Optimizer],
    schedulers: Iterable[Any] = (), scaler: Any = None, id: str | None = None,  # noqa: A002  # the word users see
) -> ResumeInfo:
    """Put a freshly built run where the newest sound checkpoint (or `id`) left it.

    A damaged newest one is passed over for an older one, and `notes` says so; one that does not fit this model is
    not. Call it before the first step; then the run continues bit for bit like the one that wrote it, provided its
    data do. CheckpointError, in one line, and nothing touched, where that cannot be.
    """
    state = TrainingState(model, optimizers, scaler, schedulers)
    notes: list[str] = []
    body, info = _load(checkpoints, id, notes)
    try:
        work = _plan(state, body["tensors"], body["plain"], notes)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {info.id}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {info.id}: its contents are not a training state") from error
    work.apply()
    _put_schedules(state, body["plain"])
    set_random_state(body["plain"]["random"])
    notes.extend(f"not restored: {place}" for place in info.left_out)
    return ResumeInfo(info.step, info.id, info.attempt, info.sha256, info.healthy, body.get("overrides") or {},
                      body.get("loader"), body.get("extra") or {}, tuple(notes))


def _load(checkpoints: Checkpoints, wanted: str | None, notes: list[str]) -> tuple[dict[str, Any], CheckpointInfo]:
    if wanted is not None:
        body = checkpoints.load(wanted)
        return body, next(i for i in checkpoints.list() if i.id == wanted)
    for info in reversed(checkpoints.list()):
        try:
            if not info.problem:
                return checkpoints.load(info.id), info
            notes.append(f"passed over {info.id}: {info.problem}")
        except CheckpointError as error:
            notes.append(f"passed over: {error}")
    raise CheckpointError(f"no sound checkpoint in {checkpoints.directory}" + "".join(f"; {n}" for n in notes[-1:]))


def _plan(state: TrainingState, tensors: Mapping[str, Any], plain: Plain, notes: list[str]) -> Plan:
    numbers = plain["scaler"]
    scaled = state.scaler is not None and state.scaler.is_enabled()
    if numbers is not None:
        numbers = settled(tensors, scaler_numbers(tensors, numbers))
    if scaled != (numbers is not None):
        notes.append("the loss scale starts anew: the checkpoint has none" if scaled else
                     "the loss scale was not restored: no scaler was passed")
    saved = plain["schedulers"]
    if bool(saved) != bool(state.schedulers):
        notes.append("the schedule was not restored: no schedulers were passed" if saved else
                     "the schedule starts anew: the checkpoint has none")
    elif len(saved) != len(state.schedulers) or len(saved) != len(plain["due"]):
        raise CheckpointError(f"not of this run: it holds {len(saved)} schedules, the run has {len(state.schedulers)}")
    own = {k: t for k, t in tensors.items() if not k.startswith(("scaler/", "pending/"))}
    return plan(state, own, {**plain, "scaler": numbers}, hyper=True)


def _put_schedules(state: TrainingState, plain: Plain) -> None:
    """Load each, then make the step() calls that the loop owed when the checkpoint was taken."""
    if len(plain["schedulers"]) != len(state.schedulers):
        return
    for schedule, saved, due in zip(state.schedulers, plain["schedulers"], plain["due"], strict=True):
        schedule.load_state_dict(saved)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "step() before optimizer.step()": the update was in another process
            for _ in range(due):
                schedule.step()
