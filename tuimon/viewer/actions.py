"""What a key does: one literal table that feeds bindings, footer, help screen and README. Pure.

An action that asks something of the run is confirmed in words that say exactly what will happen, in the numbers of
this run. It is refused here only where the run would refuse it too, with the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tuimon.control.states import Refuse, Verb, outcome
from tuimon.viewer.charts.format import step as steps
from tuimon.viewer.lines import Line, Span, dim, measured, plain_factor, rate, say
from tuimon.viewer.views import Frame

Place = Literal["charts", "incidents"]
"""The screens on which keys work."""

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


@dataclass(frozen=True, slots=True)
class Order:
    """A command to submit."""

    verb: Verb
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """One row of the table."""

    name: str
    """Also the Textual action: `action_<name>` for views, the confirm-and-submit path for orders."""
    keys: tuple[str, ...]
    """Textual key names; the first is the one that is shown."""
    shown: str
    """The key as a person reads it."""
    help: str
    word: Callable[[Frame], str]
    """Footer word in this state."""
    order: Callable[[Frame], Order] | None = None
    question: Callable[[Frame], Question] | None = None
    weight: int = 0
    """Footer importance: 0 never, 1 where there is room, 2 always."""
    group: Literal["run", "look"] = "look"
    place: Place | None = None
    """The screen on which it works; None: on all."""

    def refusal(self, frame: Frame) -> str | None:
        """Why it cannot be done now, or None."""
        if self.order is None:
            return None
        verb = self.order(frame).verb
        answer = outcome(frame.state, verb)
        if isinstance(answer, Refuse):
            return "the run has died" if frame.state == "died" else answer.why
        if verb == "undo-overrides" and not frame.facts.overrides.any:
            return "no override is in force"
        if verb == "rescue" and frame.facts.rescuing:
            return "a rescue is under way"
        return None


def _is_waiting(frame: Frame) -> bool:
    return frame.state in ("paused", "held")


def _numbered(*rows: str) -> tuple[Line, ...]:
    return tuple((Span(f"{i}  ", "strong"), Span(row)) for i, row in enumerate(rows, 1))


def _boundary(frame: Frame) -> str:
    """When a command takes hold: a running loop is some steps further by the time it is confirmed."""
    at = steps(frame.facts.step)
    if _is_waiting(frame):
        return f"at once: it stands at step {at}"
    return f"at its next step boundary (now at step {at})" if frame.facts.step else "at its first step"


def _lr_change(frame: Frame) -> str:
    lr = frame.facts.lr
    return "" if lr is None else f": {rate(lr)} → {rate(lr * RESCUE_SCALE)}"


def _ask_pause(frame: Frame) -> Question:
    if _is_waiting(frame):
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


def _ask_hold(frame: Frame) -> Question:
    return Question("Hold this run?", (
        say(f"Emergency stop: it stands still {_boundary(frame)}."),
        say("Everything stays in memory; nothing is lost by holding."),
        say("From there: r rescues, space goes on as it is, k ends it.", "dim")), "let it run", "hold")


def _ask_rescue(frame: Frame) -> Question:
    facts = frame.facts
    if facts.target is None:
        back = "put back the initial weights: no snapshot has earned its health yet"
        lost = f"All {steps(facts.step)} steps are given up. Data and schedule go on."
    else:
        given = max(0, facts.step - facts.target)
        back = (f"put back the weights and optimizer of step {steps(facts.target)} "
                f"(healthy, {steps(given)} steps ago, verified first)")
        lost = f"The {steps(given)} steps since are given up. Data and schedule go on."
    clips = {True: "the script clips at its own limit", False: "this script does not clip"}.get(facts.clips)  # type: ignore[arg-type]  # None: unknown
    clip = f"clip gradients at {plain_factor(RESCUE_CLIP)}" + (f" ({clips})" if clips else "")
    first = "it is held already" if frame.state == "held" else "hold the run at its next step"
    return Question("Rescue this run?", (
        *_numbered(first, back, f"multiply the learning rate by {plain_factor(RESCUE_SCALE)}{_lr_change(frame)}",
                   clip, f"resume, warming up over {RESCUE_WARMUP} steps"),
        say(""), say(lost), say("u undoes 3 and 4 at any time.", "dim")), "leave it alone", "rescue")


def _ask_checkpoint(frame: Frame) -> Question:
    return Question("Write a checkpoint?", (
        say("Weights, optimizer and random state go to the run's directory,"),
        say(f"{_boundary(frame)}."),
        say("Written aside, flushed, renamed into place, with a sha256 manifest.", "dim"),
        say("Training waits only for the copy in memory.", "dim")), "not now", "write it")


def _ask_undo(frame: Frame) -> Question:
    overrides, lr = frame.facts.overrides, frame.facts.lr
    rows = []
    if overrides.lr_scale != 1.0 and overrides.lr_scale > 0:
        back = "" if lr is None else f": {rate(lr)} → {rate(lr / overrides.lr_scale)}"
        rows.append(f"the learning rate is the script's own again{back}")
    if overrides.clip is not None:
        rows.append(f"gradients are not clipped at {plain_factor(overrides.clip)} any more")
    return Question("Undo the overrides?", (
        *_numbered(*rows), say(""), say("The weights stay as they are; this goes on from here.", "dim")),
        "keep them", "undo")


def _ask_end(frame: Frame) -> Question:
    kept = frame.facts.checkpoint
    disk = "no checkpoint has been written: c writes one" if kept is None else f"newest checkpoint: step {steps(kept)}"
    return Question("End this run?", (
        say(f"The training loop leaves {_boundary(frame)}."),
        say("What is only in memory is gone then; logs and checkpoints stay."),
        say(f"On disk: {disk}.", "warning" if kept is None else "dim")), "let it live", "end the run")


def _pause_order(frame: Frame) -> Order:
    return Order("resume" if _is_waiting(frame) else "pause", {})


def _rescue_order(frame: Frame) -> Order:
    args: dict[str, Any] = {"lr_scale": RESCUE_SCALE, "max_norm": RESCUE_CLIP, "warmup": RESCUE_WARMUP}
    return Order("rescue", args if frame.facts.target is None else {"step": frame.facts.target, **args})


def _pause_word(frame: Frame) -> str:
    return "go on" if _is_waiting(frame) else "pause"


ACTIONS: Final[tuple[Action, ...]] = (
    Action("pause", ("space",), "space", "pause at the next step boundary, or go on", _pause_word,
           _pause_order, _ask_pause, 2, "run"),
    Action("hold", ("x",), "x", "emergency stop: hold the run at its next step boundary", lambda _: "hold",
           lambda _: Order("hold", {}), _ask_hold, 2, "run"),
    Action("rescue", ("r",), "r", "hold, restore healthy snapshot, lr x0.1, clip 1.0, go on",
           lambda _: "rescue", _rescue_order, _ask_rescue, 2, "run"),
    Action("checkpoint", ("c",), "c", "write a checkpoint to disk now", lambda _: "checkpoint",
           lambda _: Order("checkpoint", {}), _ask_checkpoint, 1, "run"),
    Action("undo", ("u",), "u", "undo the overrides of a rescue", lambda _: "undo",
           lambda _: Order("undo-overrides", {}), _ask_undo, 1, "run"),
    Action("end", ("k",), "k", "end the run at its next step boundary", lambda _: "end",
           lambda _: Order("stop", {}), _ask_end, 1, "run", "charts"),
    Action("incidents", ("i",), "i", "incidents: what was found, its curve, what to do, its manual",
           lambda _: "incidents", weight=2, place="charts"),
    Action("panel", ("1", "2", "3", "4"), "1-4", "choose a chart; again: show it large, and back", lambda _: "charts",
           weight=1, place="charts"),
    Action("next_chart", ("tab",), "tab", "choose the next chart", lambda _: "next", place="charts"),
    Action("log_axis", ("y",), "y", "logarithmic or linear axis for the chosen chart", lambda _: "log", weight=1,
           place="charts"),
    Action("smoother", ("plus", "equals_sign"), "+", "smooth the chosen chart more", lambda _: "smooth",
           place="charts"),
    Action("rougher", ("minus",), "-", "smooth the chosen chart less", lambda _: "rough", place="charts"),
    Action("choose", ("up", "down", "k", "j"), "↑↓", "among incidents: the one above, the one below (or k, j)",
           lambda _: "choose", weight=2, place="incidents"),
    Action("read", ("pageup", "pagedown"), "pgdn", "among incidents: read on; pgup reads back", lambda _: "more",
           weight=2, place="incidents"),
    Action("back", ("escape", "i"), "esc", "from the incidents back to the charts", lambda _: "back", weight=2,
           place="incidents"),
    Action("picture", ("ctrl+s",), "ctrl+s", "save this screen as an SVG picture in the current directory",
           lambda _: "picture"),
    Action("help", ("question_mark", "h"), "?", "this help", lambda _: "help", weight=2),
    Action("leave", ("q", "ctrl+c"), "q", "leave this screen (training goes on; demo and run ask)", lambda _: "quit",
           weight=2),
)
"""Every key, in the order of footer and help."""


def find(name: str) -> Action:
    """The action of that name."""
    return next(action for action in ACTIONS if action.name == name)


def actions_at(place: Place) -> tuple[Action, ...]:
    """The keys of one screen."""
    return tuple(action for action in ACTIONS if action.place in (None, place))


def footer(frame: Frame, *, wide: bool, place: Place = "charts") -> tuple[Line, ...]:
    """The footer's entries in this state: what cannot be done now is dim."""
    entries: list[Line] = []
    for action in actions_at(place):
        urgent = action.name == "end" and _is_waiting(frame)
        if action.weight < (1 if wide else 2) and not urgent:
            continue
        possible = action.refusal(frame) is None
        word = action.word(frame)
        entries.append((Span(action.shown, "key"), Span(f" {word}", "dim")) if possible else
                       (dim(action.shown), dim(f" {word}")))
    return tuple(entries)


def actions_markdown() -> str:
    """The keys as a Markdown table, for the README."""
    rows = [f"| `{action.shown}` | {action.help} |" for action in ACTIONS]
    return "\n".join(["| key | does |", "|---|---|", *rows, ""])


def loss_line(frame: Frame) -> str:
    """Step and loss in a few words, for dialogs about leaving."""
    return f"step {steps(frame.facts.step)}, loss {measured(frame.facts.loss)}"
