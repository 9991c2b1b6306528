"""What a key does: one literal table that feeds bindings, footer, help screen and README. Pure.

An action that asks something of the run is confirmed in words that say exactly what will happen, in the numbers of
this run. It is refused here only where the run would refuse it too, with the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from tuimon.control.states import Refuse, Verb, outcome
from tuimon.diagnosis.figures import step as steps
from tuimon.record.readonly import ONLY_LOOKS
from tuimon.viewer.lines import Line, Span, dim, measured
from tuimon.viewer.places import PLACES
from tuimon.viewer.questions import (
    RESCUE_CLIP,
    RESCUE_SCALE,
    RESCUE_WARMUP,
    Question,
    ask_checkpoint,
    ask_end,
    ask_hold,
    ask_pause,
    ask_rescue,
    ask_undo,
    is_waiting,
)
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place


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
    """Footer importance: 0 never; where room is short, 1 goes first, and of equals the later one; 3 stays."""
    group: Literal["run", "look", "place"] = "look"
    places: tuple[Place, ...] = ()
    """Where it works; none: everywhere."""
    writes: bool = False
    """Whether it changes a run's files without asking the run."""

    def bar(self, frame: Frame) -> str:
        """Why it can never be done from here, whatever the run does; "" where it can."""
        if self.order is not None:
            return frame.barred
        return ONLY_LOOKS if self.writes and frame.read_only else ""

    def refusal(self, frame: Frame) -> str | None:
        """Why it cannot be done now, or None."""
        if bar := self.bar(frame):
            return bar
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


def _pause_order(frame: Frame) -> Order:
    return Order("resume" if is_waiting(frame) else "pause", {})


def _rescue_order(frame: Frame) -> Order:
    args: dict[str, Any] = {"lr_scale": RESCUE_SCALE, "max_norm": RESCUE_CLIP, "warmup": RESCUE_WARMUP}
    return Order("rescue", args if frame.facts.target is None else {"step": frame.facts.target, **args})


def _play_word(frame: Frame) -> str:
    return "stand" if frame.wanted.speed is not None else "replay"


def _scrub_word(frame: Frame) -> str:
    return "back in time" if frame.wanted.at is None else "earlier, later"


def _back_word(frame: Frame) -> str:
    wanted = frame.wanted
    if wanted.place not in CHARTED and wanted.place != "overview":
        return "back"
    return "no crosshair" if wanted.cursor is not None else "back to now" if wanted.at is not None else "back"


def _pause_word(frame: Frame) -> str:
    return "go on" if is_waiting(frame) else "pause"


def _is_table(frame: Frame) -> bool:
    """Whether the layers are a table of all parameters."""
    return frame.wanted.place == "layers" and getattr(frame.wanted.ask, "tensors", False)


def _is_opened(frame: Frame) -> bool:
    """Whether rows to read stand where the picture of the layers stood."""
    return _is_table(frame) or (frame.wanted.place == "layers" and getattr(frame.wanted.ask, "layer", None) is not None)


CHARTED: Final[tuple[Place, ...]] = ("overview", "loss", "layers", "system")
"""Where steps run along an axis: what is looked at is the same in all of them."""
AXES: Final[tuple[Place, ...]] = (*CHARTED, "compare")
"""Where one can look closer: several runs have an axis of their own."""
STEERING: Final[tuple[Place, ...]] = ("overview", "layers", "loss", "incidents", "console", "system", "ranks")
"""Where one run fills the screen, so that a key can only mean this one."""


def _go(place: Place, key: str, weight: int = 0, shown: str = "") -> Action:
    info = PLACES[place]
    return Action(f"go_{place}", (key,), shown or key, f"{info.title}: {info.what}", lambda _: info.title,
                  weight=weight, group="place", places=tuple(name for name in PLACES if name != place and not (
                      name == "gallery" and place in STEERING)))


ACTIONS: Final[tuple[Action, ...]] = (
    Action("pause", ("space",), "space", "pause at the next step boundary, or go on", _pause_word,
           _pause_order, ask_pause, 2, "run", STEERING),
    Action("hold", ("x",), "x", "emergency stop: hold the run at its next step boundary", lambda _: "hold",
           lambda _: Order("hold", {}), ask_hold, 2, "run", STEERING),
    Action("rescue", ("r",), "r", "hold, restore healthy snapshot, lr x0.1, clip 1.0, go on",
           lambda _: "rescue", _rescue_order, ask_rescue, 2, "run", STEERING),
    Action("checkpoint", ("c",), "c", "write a checkpoint to disk now", lambda _: "checkpoint",
           lambda _: Order("checkpoint", {}), ask_checkpoint, 1, "run", STEERING),
    Action("undo", ("u",), "u", "undo the overrides of a rescue", lambda _: "undo",
           lambda _: Order("undo-overrides", {}), ask_undo, 1, "run", STEERING),
    Action("end", ("k",), "k", "end the run at its next step boundary", lambda _: "end",
           lambda _: Order("stop", {}), ask_end, 0, "run", ("overview",)),
    _go("overview", "v"),
    _go("incidents", "i", 2),
    _go("layers", "l", 1),
    _go("loss", "a", 1),
    _go("console", "o", 1),
    _go("guide", "g", 1),
    _go("system", "m", 1),
    _go("ranks", "W"),
    _go("runs", "b", 1),
    _go("settings", "comma", shown=","),
    Action("panel", tuple("1234567"), "1-7", "show or hide a panel; on a small screen: choose a chart",
           lambda _: "panels", weight=1, places=("overview", "system")),
    Action("maximise", ("enter",), "enter", "the chosen chart alone, and back", lambda _: "large",
           places=("overview",)),
    Action("next_chart", ("tab",), "tab", "choose the next chart", lambda _: "next", places=("overview", "compare")),
    Action("log_axis", ("y",), "y", "logarithmic or linear axis for the chosen chart", lambda _: "log", weight=1,
           places=("overview", "compare", "loss")),
    Action("smoother", ("plus", "equals_sign"), "+", "smooth the chosen chart more", lambda _: "smooth",
           places=("overview", "compare")),
    Action("rougher", ("minus",), "-", "smooth the chosen chart less", lambda _: "rough",
           places=("overview", "compare")),
    Action("zones", ("n",), "n", "behind the data: what is usual here, the notebook's zones, nothing",
           lambda _: "zones", places=("overview",)),
    Action("point", ("left", "right", "shift+left", "shift+right", "home", "end"), "←→",
           "crosshair: the values at a step, in every chart; shift: faster", lambda _: "values", weight=1,
           places=("overview", "loss", "compare")),
    Action("zoom", ("z", "Z"), "z Z", "zoom in and out, around the crosshair", lambda _: "zoom", places=AXES),
    Action("pan", ("H", "L"), "H L", "move along the steps by half a screen", lambda _: "along", places=AXES),
    Action("whole", ("0",), "0", "every step", lambda _: "all steps", places=AXES),
    Action("follow", ("f",), "f", "only the newest steps, as they come; again: every step", lambda _: "follow",
           places=CHARTED),
    Action("scrub", ("left_square_bracket", "right_square_bracket"), "[ ]",
           "the whole panel as it was a little earlier or later", _scrub_word, weight=1,
           places=(*CHARTED, "incidents")),
    Action("jump", ("left_curly_bracket", "right_curly_bracket"), "{ }",
           "to the incident or event before or after", lambda _: "events", places=(*CHARTED, "incidents")),
    Action("play", ("p",), "p", "replay: let time run from here, or stand", _play_word, places=("overview", "loss")),
    Action("speed", ("less_than_sign", "greater_than_sign"), "< >", "replay slower or faster, 1x to 1000x",
           lambda _: "speed", places=("overview", "loss")),
    Action("choose", ("up", "down", "k", "j"), "↑↓", "the one above, the one below (or k, j)",
           lambda _: "choose", weight=2, places=("incidents", "settings")),
    Action("prefer", ("left", "right", "enter"), "←→", "the value before, the next one (or enter)",
           lambda _: "change", weight=2, places=("settings",)),
    Action("forget", ("delete", "backspace"), "del", "back to what it is by itself", lambda _: "default",
           weight=2, places=("settings",)),
    Action("read", ("pageup", "pagedown"), "pgdn", "read on; pgup reads back", lambda _: "more",
           weight=1, places=("incidents",)),
    Action("visit", ("enter",), "enter", "the whole panel as it was at that moment",
           lambda _: "go there", weight=2, places=("incidents",)),
    Action("layer", ("up", "down", "k", "j", "pageup", "pagedown"), "↑↓",
           "the layer above, the layer below (or k, j); in a table: read on",
           lambda frame: "read" if _is_opened(frame) else "layer", weight=2,
           places=("layers",)),
    Action("moment", ("left", "right", "shift+left", "shift+right", "home", "end"), "←→",
           "the value at a step; shift: faster", lambda _: "step", weight=2, places=("layers",)),
    Action("open_layer", ("enter",), "enter", "open a layer: its history and its tensors",
           lambda _: "open", weight=2, places=("layers",)),
    Action("quantity", ("t", "T"), "t", "the next quantity; T the one before", lambda _: "quantity",
           weight=2, places=("layers",)),
    Action("worst", ("w",), "w", "worst first, or the order of the model", lambda _: "worst", weight=1,
           places=("layers",)),
    Action("filter", ("slash",), "/", "only layers and tensors whose names contain these words",
           lambda _: "filter", weight=1, places=("layers",)),
    Action("unfold", ("d",), "d", "one row a layer, or all in one picture", lambda _: "unfold", weight=1,
           places=("layers",)),
    Action("parameters", ("p",), "p", "the table of all parameters, and back",
           lambda frame: "layers" if _is_table(frame) else "parameters", weight=1, places=("layers",)),
    Action("target", ("t", "slash"), "t", "say when the loss will be at a value", lambda _: "target",
           weight=2, places=("loss",)),
    Action("read_on", ("up", "down", "k", "j", "pageup", "pagedown"), "↑↓",
           "read on, read back", lambda _: "read", weight=1, places=("loss",)),
    Action("roll", ("up", "down", "k", "j"), "↑↓", "a row up, a row down (or k, j)", lambda _: "scroll",
           weight=1, places=("console",)),
    Action("page", ("pageup", "pagedown"), "pgup", "a screen up; pgdn a screen down",
           lambda _: "screen", places=("console",)),
    Action("edge", ("home", "end"), "end", "the newest line, followed; home the first",
           lambda _: "newest", weight=1, places=("console",)),
    Action("tail", ("f",), "f", "follow what is printed, or stand", lambda _: "follow", weight=2,
           places=("console",)),
    Action("search", ("slash",), "/", "search; a regular expression, if it is one", lambda _: "search",
           weight=2, places=("console",)),
    Action("match", ("n", "N"), "n N", "the next line that was found, or the one before",
           lambda _: "next", weight=1, places=("console",)),
    Action("wrap", ("w",), "w", "wrap long lines, or cut them", lambda _: "wrap", weight=1,
           places=("console",)),
    Action("sideways", ("left", "right"), "←→", "along lines that are cut", lambda _: "along",
           places=("console",)),
    Action("numbers", ("number_sign",), "#", "number the lines", lambda _: "numbers",
           places=("console",)),
    Action("chapter", ("up", "down", "k", "j"), "↑↓", "the chapter above, the one below (or k, j)",
           lambda _: "chapter", weight=2, places=("guide",)),
    Action("turn", ("pageup", "pagedown"), "pgdn", "read on; pgup reads back", lambda _: "more", weight=2,
           places=("guide",)),
    Action("again", ("enter",), "enter", "draw the curves again", lambda _: "draw again", weight=2,
           places=("guide",)),
    Action("try_it", ("t",), "t", "what to type to try it", lambda _: "try it", weight=2,
           places=("guide",)),
    Action("runs_pick", ("up", "down", "k", "j", "pageup", "pagedown", "home", "end"), "↑↓",
           "another run (or k, j, pgup, pgdn, home, end)", lambda _: "choose", places=("runs",)),
    Action("open_run", ("enter",), "enter", "open this run in the panel", lambda _: "open", weight=2,
           places=("runs", "compare")),
    Action("runs_mark", ("space",), "space", "mark this run, to compare it", lambda _: "mark", weight=2,
           places=("runs",)),
    Action("runs_compare", ("d",), "d", "lay the marked runs over each other", lambda _: "compare",
           weight=2, places=("runs",)),
    Action("runs_filter", ("slash",), "/", "only some runs, such as lr>1e-3 state:died -seed age<2d",
           lambda _: "filter", weight=2, places=("runs",)),
    Action("runs_sort", ("t",), "t", "sort by age, loss, steps, verdict, size, name", lambda _: "sort", weight=1,
           places=("runs",)),
    Action("runs_rename", ("e",), "e", "call this run something else", lambda _: "rename", weight=1,
           places=("runs",), writes=True),
    Action("runs_note", ("n",), "n", "note something about this run", lambda _: "note", weight=1,
           places=("runs",), writes=True),
    Action("runs_delete", ("delete",), "del", "delete this run, never a live one", lambda _: "delete",
           weight=1, places=("runs",), writes=True),
    Action("compare_front", ("up", "down", "k", "j"), "↑↓", "bring another run to the front (or k, j)",
           lambda _: "front", weight=2, places=("compare",)),
    Action("compare_chart", ("1", "2", "3", "4", "5"), "1-5", "choose a chart; again: large, and back",
           lambda _: "charts", weight=2, places=("compare",)),
    Action("compare_across", ("t",), "t", "along steps, time or tokens", lambda _: "time", weight=2,
           places=("compare",)),
    Action("compare_differences", ("d",), "d", "all that differs between the runs", lambda _: "differences",
           weight=2, places=("compare",)),
    Action("pick", ("left", "right", "up", "down", "tab"), "←→↑↓", "choose a run", lambda _: "choose",
           weight=2, places=("gallery",)),
    Action("open", ("enter",), "enter", "the chosen run alone; esc comes back", lambda _: "open",
           weight=2, places=("gallery",)),
    Action("machine_order", ("t",), "t", "processes in their tree's order, by processor, by memory",
           lambda _: "order", weight=1, places=("system",)),
    Action("machine_rows", ("up", "down", "k", "j", "pageup", "pagedown"), "↑↓", "read on among processes, read back",
           lambda _: "processes", places=("system",)),
    Action("rank_rows", ("up", "down", "k", "j", "pageup", "pagedown", "home", "end"), "↑↓",
           "read on among ranks, read back", lambda _: "ranks", weight=1, places=("ranks",)),
    Action("rank_order", ("w",), "w", "those that are lost or slow first, or by number", lambda _: "worst first",
           weight=2, places=("ranks",)),
    Action("back", ("escape",), "esc", "one layer out: crosshair, the present, every step, the overview", _back_word,
           weight=1),
    Action("picture", ("s", "ctrl+s"), "s", "save this screen as a picture (SVG, and PNG) in this directory",
           lambda _: "picture"),
    Action("palette", ("ctrl+p",), "ctrl+p", "find what can be done here by a few letters", lambda _: "find"),
    Action("help", ("question_mark", "h"), "?", "this help", lambda _: "help", weight=3),
    Action("log_in", ("R",), "R", "of a run over ssh whose link is down: log in there again, with this terminal",
           lambda _: "log in again"),
    Action("suspend_process", ("ctrl+z",), "ctrl+z", "the shell for a while; fg comes back", lambda _: "shell"),
    Action("leave", ("q", "ctrl+c"), "q", "leave this screen (training goes on; demo and run ask)", lambda _: "quit",
           weight=3),
)
"""Every key, in the order of footer and help."""


def find(name: str) -> Action:
    """The action of that name."""
    return next(action for action in ACTIONS if action.name == name)


@lru_cache(maxsize=len(PLACES))
def actions_at(place: Place) -> tuple[Action, ...]:
    """The keys of one screen."""
    return tuple(action for action in ACTIONS if not action.places or place in action.places)


_TRAVEL: Final = ("scrub", "jump", "play", "back")
"""What is wanted in the past."""
_OF_PICTURE: Final = ("moment", "open_layer", "unfold")
"""What works on the picture of the layers only, and not on what is opened there."""


def _weight(action: Action, frame: Frame) -> int:
    """What matters now: in the past the way through time; nothing that cannot be done from here, or not any more."""
    wanted = frame.wanted
    if action.name == "log_in":
        return {"refused": 3, "down": 1}.get(frame.way, 0)
    if action.bar(frame):
        return 0
    if action.order is not None:
        if not frame.is_live:
            return 0
        return 3 if action.name == "end" and is_waiting(frame) else min(action.weight, 2 if wanted.is_now else 1)
    if action.name == "go_ranks":
        return 0 if frame.crew.world < 2 else 2 if frame.crew.lost or frame.crew.slow else 1
    if (action.name in _OF_PICTURE and _is_opened(frame)) or (action.name == "quantity" and _is_table(frame)):
        return 0
    if not wanted.is_now and (action.name in _TRAVEL or (action.name == "speed" and wanted.speed is not None)):
        return 2
    if not wanted.window.is_whole and action.name == "whole":
        return 2
    return 2 if action.name == "back" and wanted.cursor is not None and wanted.place in CHARTED else action.weight


def _placed(action: Action, weight: int, place: Place) -> int:
    """What a weight comes to on a screen: outside the overview its own keys go first; brake and way back stay."""
    if place == "overview":
        return 2 * weight - (action.group == "place")
    if action.name == "back":
        return 6
    return 2 * weight - {"look": 0, "run": int(action.name != "hold"), "place": 2}[action.group]


def _from_left(action: Action) -> int:
    """The order of a footer: the run, what is done here, where else one can be, how to get away."""
    return {"run": 0, "place": 2}.get(action.group, 1 if action.places else 3)


@lru_cache(maxsize=len(PLACES))
def _in_footer(place: Place) -> tuple[Action, ...]:
    return tuple(sorted(actions_at(place), key=_from_left))


def footer(frame: Frame, place: Place = "overview") -> tuple[tuple[int, Line], ...]:
    """The footer's entries in this state, each with its weight: what cannot be done now is dim."""
    entries: list[tuple[int, Line]] = []
    for action in _in_footer(place):
        weight = _weight(action, frame)
        if weight:
            weight = _placed(action, weight, place)
            possible = action.refusal(frame) is None
            word = action.word(frame)
            entries.append((weight, (Span(action.shown, "key"), Span(f" {word}", "dim")) if possible else
                            (dim(action.shown), dim(f" {word}"))))
    return tuple(entries)


def actions_markdown() -> str:
    """The keys as Markdown tables, for the README: those of every place, those of several, then place by place."""
    alone = {name: [action for action in ACTIONS if action.places == (name,)] for name in PLACES}
    wide = [action for action in ACTIONS if not action.places or action.group == "place"]
    run = [action for action in ACTIONS if action.places == STEERING]
    shared = [a for a in ACTIONS if a.group == "look" and len(a.places) > 1]
    parts = ["In every place:", _table(wide), f"Where one run fills the screen ({', '.join(STEERING)}):", _table(run),
             "In several places:", _table(shared, where=True)]
    for name, actions in alone.items():
        rows = [action for action in actions if action.group != "place"]
        if rows:
            parts += [f"{PLACES[name].title.capitalize()}:", _table(rows)]
    return "\n\n".join(parts) + "\n"


def _table(actions: Iterable[Action], *, where: bool = False) -> str:
    rows = [f"| `{a.shown}` | {a.help} |" + (f" {', '.join(a.places)} |" if where else "") for a in actions]
    return "\n".join(["| key | does |" + (" in |" if where else ""), "|---|---|" + ("---|" if where else ""), *rows])


def loss_line(frame: Frame) -> str:
    """Step and loss in a few words, for dialogs about leaving."""
    return f"step {steps(frame.facts.step)}, loss {measured(frame.facts.loss)}"
