"""tuimon.attach: checks what it was given, builds the parts, joins them. Raises AttachError at once or not at all."""

from __future__ import annotations

import gc
import os
import sys
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from tuimon.errors import AttachError, UsageError
from tuimon.instrument import calling, patches
from tuimon.instrument.arguments import (
    check_counts,
    check_model,
    check_optimizers,
    check_others,
    check_words,
    is_split,
    unwrap,
)
from tuimon.instrument.attached import Attached, open_runs
from tuimon.instrument.autopilot import Policy
from tuimon.instrument.cadence import DETAILS, Cadence, Detail
from tuimon.instrument.describe import run_info
from tuimon.instrument.discovery import Discovery
from tuimon.instrument.ending import ending
from tuimon.instrument.feeds import Feeds
from tuimon.instrument.found import give_way
from tuimon.instrument.host import capture_copy
from tuimon.instrument.inquest import Inquest
from tuimon.instrument.labels import Label
from tuimon.instrument.memory import reader_for
from tuimon.instrument.monitor import Monitor, watching
from tuimon.instrument.overrides import InForce, Overrides
from tuimon.instrument.place import Place, launch_of, take_place
from tuimon.instrument.probes.finding import Place as Spot
from tuimon.instrument.probes.finding import entries_of, find
from tuimon.instrument.probes.sampling import Sampling
from tuimon.instrument.ranks.meeting import Meeting
from tuimon.instrument.ranks.shares import Part
from tuimon.instrument.ranks.world import here
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.rescue import say_override
from tuimon.instrument.resume import ResumeInfo
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState, unwrapped
from tuimon.instrument.tracked import device_of, held_by, named_parameters
from tuimon.instrument.weakly import Weak
from tuimon.record import claim
from tuimon.record.printing import mention
from tuimon.record.rundir import Launch, RunInfo

Keep = Literal["auto", "off"]
_MANY: Final = 4
"""Open runs at which those are looked for whose model and optimizer are garbage."""
_NAMED: Final = 5
"""Names listed in a message before the rest is counted."""


def attach(
    model: nn.Module,
    *optimizers: Optimizer,
    scheduler: Any = None,
    scaler: Any = None,
    dataloader: Any = None,
    name: str | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    total_steps: int | None = None,
    tokens_per_step: int | None = None,
    vocab_size: int | None = None,
    detail: Detail = "auto",
    checkpoints: Keep = "auto",
    on_critical: Policy = "warn",
    controls: bool = True,
    resumed: ResumeInfo | None = None,
    notify: str | Sequence[str] | None = None,
) -> Monitor:
    """Watch this training: measure each optimizer step, record it, obey commands from viewers.

    model: as it is called in the loop (compiled or wrapped, if it is). optimizers: all that step it; one update is
    complete when the last of them has stepped. scheduler (one or several), scaler, dataloader (its position, where it
    has a state_dict): for exact checkpoints; what is not passed is looked for. run_dir: a directory of one's own, used
    again for another attempt; default: the one that `tuimon run` (or $TUIMON_RUN_DIR) prepared, else a fresh one under
    $TUIMON_RUNS. vocab_size: how many tokens it chooses among; read off the output layer where not said. detail: "auto"
    keeps the measured cost near 1 % of the step, "full" measures everything, "light" the least. checkpoints: "auto"
    keeps snapshots in memory where they fit in a quarter of what is free; "off" keeps none and writes none.
    on_critical: what to do about a critical incident when nobody watches: "warn", "hold", "rescue", "stop". resumed:
    what `resume` returned, where this is a further attempt: steps count on, and a rescue's overrides stay in force.
    notify: who is told of what goes wrong, with no viewer open: a URL (a webhook's, or one that apprise knows), a
    command, or several; default: what $TUIMON_NOTIFY or config.toml says; [] is nobody.
    Of several ranks that train together each calls this, after wrapping; tokens_per_step is its own, on_critical rank
    0's. AttachError says in one line what was given and what is wanted.
    """
    check_model(model)
    found = give_way(map(unwrap, optimizers))
    opts = check_optimizers(model, optimizers, _attached(model))
    schedulers = check_others(opts, scheduler, scaler, dataloader, name, run_dir)
    is_claimed, is_argument = run_dir is None and found is None, run_dir is not None
    run_dir, launched = (run_dir, None) if is_argument else launch_of(found or claim.reserved())
    if launched is not None:
        name, total_steps, detail, on_critical = _as_launched(launched, name, total_steps, detail, on_critical)
    check_options(detail=detail, checkpoints=checkpoints, on_critical=on_critical, controls=controls, resumed=resumed,
                  total_steps=total_steps, tokens_per_step=tokens_per_step, vocab_size=vocab_size)
    calls = calling.wanted(notify)
    if is_claimed:
        claim.take()  # not before all is checked: a call that is put right still finds it
    name, first = name or type(unwrapped(model)).__name__, resumed.step if resumed else 0
    device = device_of([p for group in held_by(opts) for p in group])
    state = TrainingState(model, Weak(opts), scaler=scaler, schedulers=Weak(schedulers), from_step=first)
    overrides = _carried(resumed)
    meeting = _meet(model, opts, is_split=any(map(is_split, optimizers)))
    places = find(model, vocab_size) if meeting.may_probe(model) else ()
    info = run_info(model, opts, name=name, attempt=1, device=device, total_steps=total_steps, controls=controls,
                    tokens_per_step=tokens_per_step, vocab_size=vocab_size, probes=entries_of(places))
    with ExitStack() as undo:  # whatever ends this, Ctrl+C too, leaves no thread, no hook and no half a run behind
        place = meeting.join(info, first) or take_place(info, run_dir, undo, is_argument=is_argument)
        meeting.take(place, first)
        recorder = _recorder(place, device, undo, from_step=first, on_critical=on_critical, controls=controls,
                             part=meeting.part, joining=meeting.joining)
        with _refusing(model):
            monitor = _join(recorder, state, model, opts, detail, places, overrides, undo, checkpoints, dataloader,
                            resumed, meeting)
        undo.pop_all()
    _say_carried(recorder, overrides, meeting.part)
    if meeting.world.rank == 0:
        _name_untrained(monitor, model, opts, meeting.part)
        _say_where(place)
        calling.call(recorder, *calls, complain)
    return monitor


def _as_launched(launched: Launch, name: str | None, total_steps: int | None, detail: Any, on_critical: Any) -> Any:
    """What the script leaves alone is what `tuimon run` was asked for; checked afterwards."""
    return (name or launched.name, total_steps or launched.total_steps,
            launched.detail if detail == "auto" else detail,
            launched.on_critical if on_critical == "warn" else on_critical)


def _meet(model: nn.Module, optimizers: Sequence[Optimizer], **options: bool) -> Meeting:
    """The world, and what this rank holds of it."""
    with _refusing(model):
        return Meeting(here(), model, optimizers, **options)


def check_options(
    *, detail: Any = "auto", checkpoints: Any = "auto", on_critical: Any = "warn", controls: bool = True,
    resumed: Any = None, notify: Any = None, **counts: Any,
) -> None:
    """AttachError for what `attach` could take with no model; `counts` are its numbers."""
    check_words(detail=(detail, DETAILS), checkpoints=(checkpoints, get_args(Keep)),
                on_critical=(on_critical, get_args(Policy)))
    check_counts(**counts)
    if on_critical == "hold" and not controls:
        raise AttachError('on_critical="hold" needs controls=True: nobody could resume the run that it holds')
    if resumed is not None and not isinstance(resumed, ResumeInfo):
        raise AttachError(f"resumed must be what resume returned, not {resumed!r:.60}")
    if notify is not None:
        calling.wanted(notify)


def _carried(resumed: ResumeInfo | None) -> Overrides:
    """Those of the attempt before."""
    overrides = Overrides()
    if resumed is not None and resumed.overrides:
        try:
            overrides.load(resumed.overrides)
        except UsageError as error:
            raise AttachError(f"resumed: {error}") from error
    return overrides


def _say_carried(recorder: Recorder, overrides: Overrides, part: Part | None) -> None:
    """What is in force from the first step on. Not a clip by a norm that no rank knows: each would use another."""
    now = overrides.in_force
    if now.clip is not None and part is not None and not part.shares.is_whole:
        overrides.set(lr_scale=now.lr_scale, warmup_from=now.warmup_from, warmup_steps=now.warmup_steps)
        recorder.event("note", recorder.from_step, text=f"the clip at {now.clip:g} is not carried on: "
                                                        "this run's weights are spread over its ranks")
    if overrides.in_force != InForce():
        say_override(recorder, overrides, recorder.from_step)


@contextmanager
def _refusing(model: nn.Module) -> Iterator[None]:
    """Whatever does not fit together is an AttachError."""
    try:
        yield
    except Exception as error:
        raise AttachError(f"cannot watch {type(unwrapped(model)).__name__}: {type(error).__name__}: "
                          f"{' '.join(str(error).split()):.200}") from error


def _recorder(place: Place, device: torch.device, undo: ExitStack, **options: Any) -> Recorder:
    """A recorder at work in the run directory; `undo` ends it."""
    info = place.info
    recorder = Recorder(place.run, info, attempt=info.attempt, context=_context(info), memory=reader_for(device),
                        unwritable=place.trouble, **options)
    recorder.start()
    undo.push(lambda _, error, __: recorder.close(*ending(error, stopping=False)))
    return recorder


def _join(
    recorder: Recorder, state: TrainingState, model: nn.Module, optimizers: Sequence[Optimizer], detail: Detail,
    places: Sequence[Spot], overrides: Overrides, undo: ExitStack, keep: Keep, dataloader: Any,
    resumed: ResumeInfo | None, meeting: Meeting,
) -> Monitor:
    """The parts of one run, connected; the last of them begins to watch."""
    info, from_step = recorder.info, recorder.from_step
    held = [p for group in held_by(optimizers) for p in group]
    cadence = Cadence(detail, len(info.tensors), timed=device_of(held).type == "cpu", from_step=from_step,
                      weight_bytes=sum(p.numel() * p.element_size() for p in held), ranks=meeting.world.size)
    attached: weakref.ref[Attached]

    def failed(part: str, error: Exception) -> None:
        found = attached()  # weak, like every way from a part to the whole: see `attached`
        if found is not None:
            found.measuring_failed(part, error)

    def labelled(label: Label) -> None:
        found = attached()
        if found is not None:
            found.label(label)

    sampling = Sampling(model, places, cadence, from_step=from_step, on_fault=failed,
                        say=lambda text: recorder.event("note", recorder.last_step, text=text))
    probe = meeting.probe(
        model, optimizers, overrides=overrides, cadence=cadence, sink=recorder, table_size=len(info.tensors),
        tokens_per_step=info.tokens_per_step, from_step=from_step, sampling=sampling, on_fault=failed,
        on_label=labelled,
    )
    is_kept = keep == "auto" and not meeting.world.is_many
    snapshots = _taken(recorder, meeting.snapshots(state)) if keep == "auto" else None
    if snapshots is not None:
        undo.callback(snapshots.close)
    feeds = Feeds()
    steering = meeting.steering(
        state, recorder, overrides, snapshots,
        None if keep == "off" or recorder.is_in_memory else meeting.store(recorder),
        settle=lambda: probe.flush(1.0), copy=lambda step: capture_copy(state, step),
        discovery=Discovery(state, dataloader, feeds.newest),
    )
    if resumed is not None and resumed.run_dir is not None and resumed.run_dir.resolve() == recorder.run.path.resolve():
        steering.goes_on_from(resumed.step, resumed.id)
    inquest = Inquest(probe, state, snapshots if is_kept else None, recorder, steering.send if is_kept else None)
    run = Attached(probe, recorder, steering, state, feeds, snapshots, inquest)
    attached = weakref.ref(run)
    return Monitor(run)


def _taken(recorder: Recorder, snapshots: Snapshots | None) -> Snapshots | None:
    """With the initial one taken, or None where they do not fit or cannot be taken."""
    step = recorder.from_step
    if snapshots is None:
        return None
    try:
        fit = snapshots.fits()
        if not fit:
            recorder.event("note", step, text=fit.why)
            return None
        taken = snapshots.capture(step)
    except Exception as error:  # without snapshots a run is still measured, held and stopped
        recorder.event("fault", step, part="snapshots", error=f"{type(error).__name__}: {error}"[:500])
        return None
    recorder.event("snapshot", step, snapshot_step=taken.step, bytes=taken.bytes, seconds=taken.seconds)
    return snapshots


def _context(info: RunInfo) -> Any:
    from tuimon.diagnosis.context import context_of

    return context_of(info)


def _attached(model: nn.Module) -> list[Optimizer]:
    """The optimizers of all open runs. One of this model that was told to stop is over: a notebook goes on with it."""
    if len(open_runs()) >= _MANY:
        gc.collect()  # a sweep over models that are reference cycles [about 100 ms]
    for run in open_runs():
        if run.should_stop and run.model is model:
            run.close()
    return [optimizer for run in open_runs() for _, optimizer in run.probe.optimizers.living()]


def _say_where(place: Place) -> None:
    """To a person at a terminal, how to watch; a file, a notebook or a viewer that started this script needs none."""
    if place.trouble:
        complain(f"nothing is recorded, training goes on: {place.trouble}")
        return
    with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
        if not os.environ.get("TUIMON_QUIET") and sys.stderr.isatty():
            mention(f"tuimon: recording to {place.run.name}; watch it with: {watching(place.run)}")


def _name_untrained(monitor: Monitor, model: nn.Module, optimizers: Sequence[Optimizer], part: Part | None) -> None:
    """Trainable parameters that no optimizer holds are seldom meant so, unless those of other ranks do."""
    if part is not None and part.is_split:
        return
    held = {id(p) for group in held_by(optimizers) for p in group}
    names = [n for n, p in named_parameters(model) if p.requires_grad and id(p) not in held]
    if not names:
        return
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    text = f"{len(names)} trainable tensors are held by no attached optimizer: {', '.join(names[:_NAMED])}{rest}"
    monitor.note(text)
    complain(text, UserWarning)


def complain(text: str, kind: type[Warning] = RuntimeWarning) -> None:
    """Once, to whoever called `attach`."""
    with suppress(Exception):  # warnings are errors here, or stderr is closed: the run is attached all the same
        warnings.warn(f"tuimon: {text}", kind, stacklevel=4)


os.register_at_fork(after_in_child=patches.forget_all)
