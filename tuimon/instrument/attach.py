"""tuimon.attach: checks what it was given, builds the parts, joins them. Raises AttachError at once or not at all."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import sys
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from tuimon.errors import AttachError, LogError
from tuimon.instrument import patches
from tuimon.instrument.arguments import (
    check_counts,
    check_model,
    check_optimizers,
    check_others,
    check_words,
    unwrap,
)
from tuimon.instrument.attached import Attached, open_runs
from tuimon.instrument.autopilot import Policy
from tuimon.instrument.cadence import DETAILS, Cadence, Detail
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.describe import run_info
from tuimon.instrument.discovery import Discovery
from tuimon.instrument.ending import ending
from tuimon.instrument.feeds import Feeds
from tuimon.instrument.found import give_way
from tuimon.instrument.host import capture_copy
from tuimon.instrument.inquest import Inquest
from tuimon.instrument.labels import Label
from tuimon.instrument.measure import Probe
from tuimon.instrument.memory import reader_for
from tuimon.instrument.monitor import Monitor, watching
from tuimon.instrument.overrides import InForce, Overrides
from tuimon.instrument.probes.finding import Place, entries_of, find
from tuimon.instrument.probes.sampling import Sampling
from tuimon.instrument.recorder import Recorder, is_recorded
from tuimon.instrument.rescue import say_override
from tuimon.instrument.resume import ResumeInfo
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState, unwrapped
from tuimon.instrument.steering import Steering
from tuimon.instrument.tracked import device_of, held_by, named_parameters
from tuimon.instrument.weakly import Weak
from tuimon.private import make_folder
from tuimon.record import claim
from tuimon.record.liveness import is_alive
from tuimon.record.rundir import Launch, RunDir, RunInfo, create_run, prepare_run
from tuimon.record.status import status

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
    AttachError says in one line what was given and what is wanted.
    """
    if len(open_runs()) >= _MANY:
        gc.collect()  # a sweep over models that are reference cycles [about 100 ms]
    check_model(model)
    found = give_way(map(unwrap, optimizers))
    opts = check_optimizers(model, optimizers, _attached(model))
    schedulers = check_others(opts, scheduler, scaler, dataloader, name, run_dir)
    is_claimed = run_dir is None and found is None
    run_dir, launched = (run_dir, None) if run_dir is not None else _launched(found or claim.reserved())
    if launched is not None:  # what the script leaves alone is what `tuimon run` was asked for
        name, total_steps = name or launched.name, total_steps or launched.total_steps
        detail = launched.detail if detail == "auto" else detail  # type: ignore[assignment]  # checked below
        on_critical = launched.on_critical if on_critical == "warn" else on_critical  # type: ignore[assignment]  # so
    check_options(detail=detail, checkpoints=checkpoints, on_critical=on_critical, controls=controls, resumed=resumed,
                  total_steps=total_steps, tokens_per_step=tokens_per_step, vocab_size=vocab_size)
    if is_claimed:
        claim.take()  # not before all is checked: a call that is put right still finds it
    name, first = name or type(unwrapped(model)).__name__, resumed.step if resumed else 0
    device = device_of([p for group in held_by(opts) for p in group])
    state = TrainingState(model, Weak(opts), scaler=scaler, schedulers=Weak(schedulers), from_step=first)
    overrides = Overrides()
    if resumed is not None and resumed.overrides:
        overrides.load(resumed.overrides)
    places = find(model, vocab_size)
    info = run_info(
        model, opts, name=name, attempt=1, device=device, total_steps=total_steps,
        tokens_per_step=tokens_per_step, vocab_size=vocab_size, controls=controls, probes=entries_of(places),
    )
    with ExitStack() as undo:  # whatever ends this, Ctrl+C too, leaves no thread, no hook and no half a run behind
        recorder = _recorder(info, device, run_dir, undo, from_step=first, on_critical=on_critical, controls=controls)
        try:
            monitor = _join(recorder, state, model, opts, detail, places, overrides, undo, checkpoints, dataloader)
        except Exception as error:
            raise AttachError(f"cannot watch {type(unwrapped(model)).__name__}: {type(error).__name__}: "
                              f"{' '.join(str(error).split()):.200}") from error
        undo.pop_all()
    if overrides.in_force != InForce():
        say_override(recorder, overrides, recorder.from_step)
    _name_untrained(monitor, model, opts)
    _say_where(recorder.run)
    return monitor


def check_options(
    *, detail: Any = "auto", checkpoints: Any = "auto", on_critical: Any = "warn", controls: bool = True,
    resumed: Any = None, **counts: Any,
) -> None:
    """AttachError for what `attach` could take with no model; `counts` are its numbers."""
    check_words(detail=(detail, DETAILS), checkpoints=(checkpoints, get_args(Keep)),
                on_critical=(on_critical, get_args(Policy)))
    check_counts(**counts)
    if on_critical == "hold" and not controls:
        raise AttachError('on_critical="hold" needs controls=True: nobody could resume the run that it holds')
    if resumed is not None and not isinstance(resumed, ResumeInfo):
        raise AttachError(f"resumed must be what resume returned, not {resumed!r:.60}")


def _recorder(
    info: RunInfo, device: torch.device, run_dir: str | os.PathLike[str] | None, undo: ExitStack, **options: Any
) -> Recorder:
    """A recorder at work in the run directory; `undo` ends it and removes what was not there before."""
    with ExitStack() as taking:
        run, attempt = _run(info.name, run_dir, undo, taking)
        info = replace(info, attempt=attempt)
        try:
            run.write_info(info)
        except OSError as error:
            raise AttachError(f"cannot write to {run.path}: {error.strerror}; set TUIMON_RUNS or run_dir=") from None
    recorder = Recorder(run, info, attempt=attempt, context=_context(info), memory=reader_for(device), **options)
    recorder.start()
    undo.push(lambda _, error, __: recorder.close(*ending(error, stopping=False)))
    return recorder


def _join(
    recorder: Recorder, state: TrainingState, model: nn.Module, optimizers: Sequence[Optimizer], detail: Detail,
    places: Sequence[Place], overrides: Overrides, undo: ExitStack, keep: Keep, dataloader: Any,
) -> Monitor:
    """The parts of one run, connected; the last of them begins to watch."""
    info, from_step = recorder.info, recorder.from_step
    held = [p for group in held_by(optimizers) for p in group]
    cadence = Cadence(detail, len(info.tensors), timed=device_of(held).type == "cpu", from_step=from_step,
                      weight_bytes=sum(p.numel() * p.element_size() for p in held))
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
    probe = Probe(
        model, optimizers, overrides=overrides, cadence=cadence, sink=recorder, table_size=len(info.tensors),
        tokens_per_step=info.tokens_per_step, from_step=from_step, sampling=sampling, on_fault=failed,
        on_label=labelled,
    )
    snapshots = _snapshots(recorder, state) if keep == "auto" else None
    if snapshots is not None:
        undo.callback(snapshots.close)
    feeds = Feeds()
    steering = Steering(
        recorder, overrides, snapshots,
        Checkpoints(recorder.run.checkpoints, run=recorder.run.name) if keep == "auto" else None,
        settle=lambda: probe.flush(1.0), copy=lambda step: capture_copy(state, step),
        discovery=Discovery(state, dataloader, feeds.newest),
    )
    inquest = Inquest(probe, state, snapshots, recorder, steering.send if keep == "auto" else None)
    run = Attached(probe, recorder, steering, state, feeds, snapshots, inquest)
    attached = weakref.ref(run)
    return Monitor(run)


def _snapshots(recorder: Recorder, state: TrainingState) -> Snapshots | None:
    """In-memory snapshots with the initial one taken, or None where they do not fit or cannot be taken."""
    snapshots = Snapshots(state)
    step = recorder.from_step
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


@contextmanager
def _claiming(path: Path) -> Iterator[None]:
    """One process at a time looks whether a directory is taken and takes it: two at once would both find it free.

    The lock is the kernel's, on the directory itself: it leaves no file, and dies with its process.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that has no locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _run(
    name: str, run_dir: str | os.PathLike[str] | None, undo: ExitStack, taking: ExitStack
) -> tuple[RunDir, int]:
    """The run directory and the number of this attempt in it; `undo` removes what was not there before.

    `taking` is left when the directory says whose it is.
    """
    try:
        if run_dir is None:
            run = create_run(name)
            undo.callback(shutil.rmtree, run.path, ignore_errors=True)
            return run, 1
        run = RunDir(Path(run_dir).expanduser().absolute())
        is_new = not run.path.exists()
        make_folder(run.path.parent, parents=0o755, mode=0o755, follow=True)
        prepare_run(run)
        taking.enter_context(_claiming(run.path))
        before = run.read_info()
    except OSError as error:
        where = run_dir or "a run directory"
        raise AttachError(f"cannot make {where}: {error.strerror}; set TUIMON_RUNS or run_dir=") from None
    except LogError as error:
        raise AttachError(f"run_dir holds something else: {error}") from None
    if before is None:
        if is_new:  # and nobody else's by now
            undo.callback(shutil.rmtree, run.path, ignore_errors=True)
        return run, 1
    alive = is_alive(before.process)
    if alive is None:  # another machine's: it cannot be asked, but its log tells
        alive = status(run).is_live
    mine = bool(alive) and before.process.pid == os.getpid()
    if mine and is_recorded(run):
        gc.collect()  # a notebook's cell run again: the earlier model may be garbage that nobody has collected
    if is_recorded(run) if mine else alive:
        whose = "another monitor of this script" if mine else f"process {before.process.pid}"
        raise AttachError(f"run_dir is being written by {whose}: give each run a directory of its own")
    return run, before.attempt + 1


def _attached(model: nn.Module) -> list[Optimizer]:
    """The optimizers of all open runs. One of this model that was told to stop is over: a notebook goes on with it."""
    for run in open_runs():
        if run.should_stop and run.model is model:
            run.close()
    return [optimizer for run in open_runs() for _, optimizer in run.probe.optimizers.living()]


def _launched(run_dir: str | Path | None) -> tuple[str | Path | None, Launch | None]:
    """Where whoever started this process wants the run, and what was asked of them; None where nobody did."""
    try:
        return run_dir, None if run_dir is None else RunDir(Path(run_dir)).read_launch()
    except LogError:
        return run_dir, None


def _say_where(run: RunDir) -> None:
    """To a person at a terminal, how to watch; a file, a notebook or a viewer that started this script needs none."""
    with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
        if not os.environ.get("TUIMON_QUIET") and sys.stderr.isatty():
            sys.stderr.write(f"tuimon: recording to {run.name}; watch it with: {watching(run)}\n")


def _name_untrained(monitor: Monitor, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Trainable parameters that no optimizer holds are seldom meant so."""
    held = {id(p) for group in held_by(optimizers) for p in group}
    names = [n for n, p in named_parameters(model) if p.requires_grad and id(p) not in held]
    if not names:
        return
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    text = f"{len(names)} trainable tensors are held by no attached optimizer: {', '.join(names[:_NAMED])}{rest}"
    monitor.note(text)
    with suppress(Exception):  # warnings are errors here, or stderr is closed: the run is attached all the same
        warnings.warn(f"tuimon: {text}", UserWarning, stacklevel=3)


os.register_at_fork(after_in_child=patches.forget_all)
