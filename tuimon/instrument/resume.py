"""Going on from a checkpoint in another process, exactly: weights, optimizer, schedule, loss scale, data, randomness.

Everything is checked against the run before anything of it is touched.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tuimon.errors import CheckpointError, TuimonError, UsageError
from tuimon.instrument.arguments import unwrap
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.contents import check_moves, check_random, check_scale, non_finite
from tuimon.instrument.discovery import only_loader, only_scaler, schedules_of
from tuimon.instrument.host import one_line
from tuimon.instrument.ranks.council import Council, council_here
from tuimon.instrument.ranks.fitting import Fit
from tuimon.instrument.restoring import Plan, plan, scaler_numbers, settled
from tuimon.instrument.state import Plain, TrainingState, copied, set_random_state
from tuimon.record.manifest import ID, MANIFEST, CheckpointInfo
from tuimon.record.rundir import RunDir
from tuimon.record.runs import find_run, named_path
from tuimon.record.text import clean

_LOG = logging.getLogger("tuimon")
Source = str | os.PathLike[str] | Checkpoints


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
    """Position of the data loader as it gave it, or None."""
    extra: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    """Lines for a person: newer checkpoints that were damaged, things that could not be restored."""
    run_dir: Path | None = None
    """The run that wrote it: attach(run_dir=...) records the new attempt there."""


def resume(
    source: Source, model: nn.Module, *optimizers: Any, scheduler: Any = None, scaler: Any = None,
    dataloader: Any = None, id: str | None = None,  # noqa: A002  # the word users see
) -> ResumeInfo:
    """Put a freshly built run where the newest sound checkpoint of `source` left it: call it before the first step.

    source: a run's name (or its beginning), a run directory, or one checkpoint's directory. model and optimizers as
    `attach` takes them. scheduler (one or several), scaler and dataloader are looked for where they are not passed; a
    StatefulDataLoader goes back to its position. id: one checkpoint of the run instead of the newest.
    A newest one that is damaged, or whose weights are not finite, is passed over for an older one, and `notes` says
    so; one that does not fit this model is not. Then the run goes on bit for bit like the one that wrote it, provided
    its data do. CheckpointError, in one line, and nothing touched, where that cannot be; RunNotFound where `source`
    is nothing.
    """
    if not optimizers or not isinstance(model, nn.Module):
        raise UsageError("resume wants (source, model, optimizer, ...): a run or a checkpoint, then what attach takes")
    opts = tuple(unwrap(o) for o in optimizers)
    strange = next((o for o in opts if not isinstance(o, Optimizer)), None)
    if strange is not None:
        raise UsageError(f"resume wants torch optimizers after the model, not a {type(strange).__name__}")
    notes: list[str] = []
    council = council_here()
    checkpoints, named = _open_on_all(source, council)
    body, info = _load(checkpoints, id or named, notes, Fit(TrainingState(model, opts), council.world), council)
    state = _state(model, opts, scheduler, scaler, body["plain"])
    work, why = None, ""
    try:
        work = _plan(state, body["tensors"], body["plain"], notes)
    except CheckpointError as error:
        why = str(error)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        _LOG.debug("%s", info.id, exc_info=error)
        why = "its contents are not a training state"
    why = council.agree(why)
    if why or work is None:   # on all ranks, or on none
        raise CheckpointError(f"checkpoint {info.id}: {why}")
    try:
        _put(state, work, body["plain"])
    except CheckpointError as error:
        why = str(error)
    why = council.agree(why)
    if why:
        raise CheckpointError(f"checkpoint {info.id}: {why}")
    _put_data(dataloader, body.get("loader"), notes)
    set_random_state(body["plain"]["random"])
    notes.extend(f"not restored: {place}" for place in info.left_out)
    return ResumeInfo(info.step, info.id, info.attempt, info.sha256, info.healthy, body.get("overrides") or {},
                      body.get("loader"), body.get("extra") or {}, tuple(clean(n) for n in notes), _run_of(checkpoints))


def _open(source: Source) -> tuple[Checkpoints, str | None]:
    """The checkpoints of `source`, and the one that it names, if it names one."""
    if isinstance(source, Checkpoints):
        return source, None
    path = named_path(os.fspath(source))
    if ID.fullmatch(path.name) and (path.is_dir() or path.parent.is_dir()) and os.sep in str(source):
        return Checkpoints(path.parent), path.name
    if (path / MANIFEST).is_file():
        raise CheckpointError(f"{path.name!r:.80} is not a checkpoint id: a checkpoint keeps the name it was given")
    if (path / "checkpoints").is_dir():
        return Checkpoints(path / "checkpoints"), None
    if path.is_dir() and any(ID.fullmatch(name) for name in os.listdir(path)):
        return Checkpoints(path), None
    return Checkpoints(find_run(os.fspath(source)).checkpoints), None


def _open_on_all(source: Source, council: Council) -> tuple[Checkpoints, str | None]:
    """The same, found on all ranks or on none."""
    try:
        found = _open(source)
    except TuimonError as error:
        council.agree(str(error), is_first=True)
        raise
    if why := council.agree("", is_first=True):
        raise CheckpointError(why)
    return found


def _run_of(checkpoints: Checkpoints) -> Path | None:
    folder = checkpoints.directory.absolute().parent
    return folder if RunDir(folder).run_json.is_file() else None


def _load(
    checkpoints: Checkpoints, wanted: str | None, notes: list[str], fit: Fit, council: Council
) -> tuple[dict[str, Any], CheckpointInfo]:
    """The one that is wanted, else the newest sound one: where several ranks resume, sound on all of them."""
    names = [wanted] if wanted is not None else [info.id for info in reversed(checkpoints.list())]
    for name in council.choose(names):
        body, why = _looked_at(checkpoints, name, fit, is_wanted=wanted is not None)
        found = {info.id: info for info in checkpoints.list()}
        why = council.agree(why, found[name].sha256 if name in found else "")
        if not why and name in found:
            if wanted is None and found[name].suspect:  # people know best: what was wrong may have been a plateau
                sound = [f"; the last healthy one: id={i.id!r}" for i in found.values() if i.healthy][-1:]
                notes.append(f"{name} was taken while something was wrong with the run{''.join(sound)}")
            notes.extend(body["notes"])
            return body, found[name]
        if wanted is not None:
            raise CheckpointError(why or f"checkpoint {name}: it has gone")
        notes.append(f"passed over{':' * why.startswith('checkpoint ')} {why}")
    raise CheckpointError(f"no sound checkpoint in {checkpoints.directory}" + "".join(f"; {n}" for n in notes[-1:]))


def _looked_at(checkpoints: Checkpoints, name: str, fit: Fit, *, is_wanted: bool) -> tuple[dict[str, Any], str]:
    """The contents, and what speaks against going on from there."""
    try:
        body = checkpoints.load(name, fit)
    except CheckpointError as error:
        return {}, str(error)
    broken = None if is_wanted else non_finite(body["tensors"])
    return body, "" if broken is None else f"{name}: {broken} is not finite"


def _state(model: nn.Module, optimizers: tuple[Any, ...], scheduler: Any, scaler: Any, plain: Plain) -> TrainingState:
    """What there is to put back, with what was not passed looked for where the checkpoint has it."""
    schedules = list(scheduler) if isinstance(scheduler, list | tuple) else [] if scheduler is None else [scheduler]
    wanted = scheduler is None and bool(plain.get("schedulers")), scaler is None and bool(plain.get("scaler"))
    if any(wanted):
        gc.collect()  # what is only waiting to be collected is not in use
    schedules = schedules_of(optimizers) if wanted[0] else schedules
    scaler = only_scaler() if wanted[1] else scaler
    kinds = plain.get("kinds")
    if isinstance(kinds, list) and len(kinds) == len(schedules):
        schedules = _in_order(schedules, kinds)
    return TrainingState(model, optimizers, scaler, schedules)


def _in_order(schedules: list[Any], kinds: list[str]) -> list[Any]:
    """As the checkpoint has them; as they came where that cannot be."""
    left, found = list(schedules), []
    for kind in kinds:
        mine = next((s for s in left if type(s).__name__ == kind), None)
        if mine is None:
            return schedules
        left.remove(mine)
        found.append(mine)
    return found


def _put(state: TrainingState, work: Plan, plain: Plain) -> None:
    """The schedules, which refuse or can be taken back; then all else; then the step() calls that the loop owed."""
    moved = _moving(state, plain)
    before = [copied(schedule.state_dict()) for schedule, _, _ in moved]
    try:
        for schedule, saved, _ in moved:
            schedule.load_state_dict(saved)
    except Exception as error:  # a schedule's own way of saying that these are not its numbers
        for (schedule, _, _), mine in zip(moved, before, strict=True):
            schedule.load_state_dict(mine)
        raise CheckpointError(f"its schedule does not fit this one: {one_line(error)}") from error
    try:
        work.apply()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "step() before optimizer.step()": the update was in another process
            for schedule, _, due in moved:
                for _ in range(due):
                    schedule.step()
    except Exception as error:
        raise CheckpointError(f"put back in part only, build model and optimizer anew: {one_line(error)}") from error


def _moving(state: TrainingState, plain: Plain) -> list[tuple[Any, Plain, int]]:
    """Each schedule, what it is put to, and how many steps it owes; none where the run has others than were saved."""
    if len(plain["schedulers"]) != len(state.schedulers):
        return []
    return list(zip(state.schedulers, plain["schedulers"], plain["due"], strict=True))


def _plan(state: TrainingState, tensors: Mapping[str, Any], plain: Plain, notes: list[str]) -> Plan:
    numbers = plain["scaler"]
    scaled = state.scaler is not None and state.scaler.is_enabled()
    if numbers is not None:
        numbers = settled(tensors, scaler_numbers(tensors, numbers))
        check_scale(numbers)
    if scaled != (numbers is not None):
        notes.append("the loss scale starts anew: the checkpoint has none" if scaled else
                     "the loss scale was not restored: no scaler was passed, and none or several were found")
    saved = plain["schedulers"]
    if bool(saved) != bool(state.schedulers):
        notes.append("the schedule was not restored: no scheduler was passed, and none was found" if saved else
                     "the schedule starts anew: the checkpoint has none")
    else:
        _check_schedules(state, saved, plain)
    check_random(plain["random"])
    own = {k: t for k, t in tensors.items() if not k.startswith(("scaler/", "pending/"))}
    return plan(state, own, {**plain, "scaler": numbers}, hyper=True)


def _check_schedules(state: TrainingState, saved: list[Plain], plain: Plain) -> None:
    here = [type(s).__name__ for s in state.schedulers]
    if len(saved) != len(here) or len(saved) != len(plain["due"]):
        raise CheckpointError(f"not of this run: it holds {len(saved)} schedules, the run has {len(here)}")
    kinds = plain.get("kinds", here)
    check_moves(state.schedulers, saved, plain["due"])
    if kinds != here:
        raise CheckpointError(f"not of this run: its schedule is {', '.join(kinds)} there and {', '.join(here)} here")


def _put_data(loader: Any, position: Any, notes: list[str]) -> None:
    """Put the loader back, and have it make its iterator: that draws a random number, so it comes before those do."""
    if position is None:
        return
    loader = only_loader() if loader is None else loader
    if not hasattr(loader, "load_state_dict"):
        notes.append("the data were not put back: no loader with load_state_dict was passed, and none or several found")
        return
    try:
        loader.load_state_dict(position)
        loader.state_dict()
    except Exception as error:  # somebody else's loader
        _LOG.debug("the loader's position", exc_info=True)
        notes.append(f"the data were not put back: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
