"""What is asked before something is done to a run: exactly what will happen, in the numbers of this run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.figures import counted
from tuimon.diagnosis.figures import step as steps
from tuimon.viewer.lines import Line, Span, plain_factor, rate, say
from tuimon.viewer.views import Frame

RESCUE_SCALE: Final = 0.1
RESCUE_CLIP: Final = 1.0
RESCUE_WARMUP: Final = 20


@dataclass(frozen=True, slots=True)
class Question:
    """What a dialog says before something is done."""

    title: str
    lines: tuple[Line, ...]
    no: str
    yes: str


def is_waiting(frame: Frame) -> bool:
    """Whether the run stands still and could go on."""
    return frame.state in ("paused", "held")


def _numbered(*rows: str) -> tuple[Line, ...]:
    return tuple((Span(f"{i}  ", "strong"), Span(row)) for i, row in enumerate(rows, 1))


def _boundary(frame: Frame) -> str:
    """When a command takes hold: a running loop is some steps further by the time it is confirmed."""
    at = steps(frame.facts.step)
    if is_waiting(frame):
        return f"at once: it stands at step {at}"
    return f"at its next step boundary (now at step {at})" if frame.facts.step else "at its first step"


def _lr_change(frame: Frame) -> str:
    lr = frame.facts.lr
    return "" if lr is None else f": {rate(lr)} → {rate(lr * RESCUE_SCALE)}"


def ask_pause(frame: Frame) -> Question:
    """Before the run stands still, or goes on."""
    if is_waiting(frame):
        goes = "It goes on exactly where it stands; nothing is changed."
        worry = (say("What was wrong is still wrong: r would rescue it instead.", "warning"),) \
            if frame.state == "held" and frame.tone in ("warning", "critical") else ()
        title = "Go on as it is?" if frame.state == "held" else "Go on?"
        return Question(title, (say(f"The run stands at step {steps(frame.facts.step)}."), say(goes), *worry),
                        "leave it standing", "go on")
    return Question("Pause this run?", (
        say(f"It stands still {_boundary(frame)}."),
        say("Weights, optimizer and data stay in memory; the device stays reserved."),
        say("space goes on.", "dim")), "let it run", "pause")


def ask_hold(frame: Frame) -> Question:
    """Before the emergency stop."""
    return Question("Hold this run?", (
        say(f"Emergency stop: it stands still {_boundary(frame)}."),
        say("Everything stays in memory; nothing is lost by holding."),
        say("From there: r rescues, space goes on as it is, k ends it.", "dim")), "let it run", "hold")


def ask_rescue(frame: Frame) -> Question:
    """Before the emergency procedure."""
    facts = frame.facts
    if facts.target is None:
        back = "put back the initial weights: no snapshot has earned its health yet"
        lost = f"All {steps(facts.step)} steps are given up. Data and schedule go on."
    else:
        given = max(0, facts.step - facts.target)
        back = (f"put back the weights and optimizer of step {steps(facts.target)} "
                f"(healthy, {counted(given, 'step')} ago, verified first)")
        lost = f"The {counted(given, 'step')} since {'is' if given == 1 else 'are'} given up. Data and schedule go on."
    clips = {True: "the script clips at its own limit", False: "this script does not clip"}.get(facts.clips)  # type: ignore[arg-type]  # None: unknown
    clip = f"clip gradients at {plain_factor(RESCUE_CLIP)}" + (f" ({clips})" if clips else "")
    first = "it is held already" if frame.state == "held" else "hold the run at its next step"
    return Question("Rescue this run?", (
        *_numbered(first, back, f"multiply the learning rate by {plain_factor(RESCUE_SCALE)}{_lr_change(frame)}",
                   clip, f"resume, warming up over {RESCUE_WARMUP} steps"),
        say(""), say(lost), say("u undoes 3 and 4 at any time.", "dim")), "leave it alone", "rescue")


def ask_checkpoint(frame: Frame) -> Question:
    """Before a checkpoint is written."""
    return Question("Write a checkpoint?", (
        say("Weights, optimizer and random state go to the run's directory,"),
        say(f"{_boundary(frame)}."),
        say("Written aside, flushed, renamed into place, with a sha256 manifest.", "dim"),
        say("Training waits only for the copy in memory.", "dim")), "not now", "write it")


def ask_undo(frame: Frame) -> Question:
    """Before the overrides are undone."""
    overrides, lr = frame.facts.overrides, frame.facts.lr
    rows = []
    if overrides.lr_scale != 1.0:
        own = frame.facts.lr_scheduled   # not lr through its factor: a warm-up takes more of it away
        back = "" if lr is None or own is None else f": {rate(lr)} → {rate(own)}"
        rows.append(f"the learning rate is the script's own again{back}")
    if overrides.clip is not None:
        rows.append(f"gradients are not clipped at {plain_factor(overrides.clip)} any more")
    return Question("Undo the overrides?", (
        *_numbered(*rows), say(""), say("The weights stay as they are; this goes on from here.", "dim")),
        "keep them", "undo")


def ask_end(frame: Frame) -> Question:
    """Before the run is ended."""
    kept = frame.facts.checkpoint
    disk = "no checkpoint has been written: c writes one" if kept is None else f"newest checkpoint: step {steps(kept)}"
    return Question("End this run?", (
        say(f"The training loop leaves {_boundary(frame)}."),
        say("What is only in memory is gone then; logs and checkpoints stay."),
        say(f"On disk: {disk}.", "warning" if kept is None else "dim")), "let it live", "end the run")
