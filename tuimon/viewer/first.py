"""The frame of the first paint: words and waiting charts, before anything has been read. Pure; loads next to nothing.

It equals what `frame.build_frame` says of a run of which nothing is known, without the rules, the log and numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tuimon.diagnosis.figures import span
from tuimon.diagnosis.limits import HEALTHY_UPDATE
from tuimon.record.metrics import METRICS
from tuimon.record.readonly import ONLY_LOOKS
from tuimon.viewer.lines import Line, Span, say
from tuimon.viewer.views import BadgeView, BandView, ChartView, Facts, Frame, Header, HeatView

if TYPE_CHECKING:
    from tuimon.diagnosis.model import Category

LABELS: Final[dict[Category, str]] = {
    "loss": "LOSS", "gradients": "GRADIENTS", "updates": "UPDATES", "numerics": "NUMERICS", "layers": "LAYERS",
    "generalisation": "VALIDATION", "throughput": "SPEED", "activations": "ACTIVATIONS"}
SHORT: Final = {"GRADIENTS": ("GRADS", "GRAD"), "UPDATES": ("UPDATES", "UPD"), "NUMERICS": ("NUMERICS", "NUM"),
                "LAYERS": ("LAYERS", "LAY"), "VALIDATION": ("VALID", "VAL"), "SPEED": ("SPEED", "SPD"),
                "ACTIVATIONS": ("ACTIVE", "ACT"), "RANKS": ("RANKS", "RNK")}
"""Labels where there is little room, and where there is less."""
OPTIONAL: Final = {"activations"}
"""Shown only when there is something to say."""
NOTEBOOK_GRADIENT: Final = BandView(0.1, 10, healthy=True, word="healthy 0.1–10",
                                   beyond="danger >10, vanishing <0.1")
NOTEBOOK_RATIO: Final = BandView(1e-5, 0.1, healthy=True, word="healthy 1e-5–0.1", beyond="too high >0.1")
UPDATE_BAND: Final = BandView(*HEALTHY_UPDATE, healthy=True, word=f"healthy {span(*HEALTHY_UPDATE)}")
ZONES: Final = {"grad_norm": (NOTEBOOK_GRADIENT,), "update_ratio": (NOTEBOOK_RATIO,),
                "grad_param_ratio": (NOTEBOOK_RATIO,)}
"""The notebook's bands per chart."""
WAITING: Final = {"loss": "waiting for the first loss", "grad_norm": "waiting for the first gradients",
                  "update_ratio": "waiting for the first update", "grad_param_ratio": "waiting for the first update",
                  "lr": "waiting for the first step", "throughput": "waiting for the first step",
                  "step_time": "waiting for the first step", "memory": "waiting for the first step"}
"""What each chart waits for."""
HARMLESS: Final = "Training runs in a process of its own: leaving this screen never harms it."


OPENING: Final = "what it has written so far is being read"
"""What is awaited until something has been read: whether there has been a first step is not known."""


OPENED: Final = ("Opening the run", f"{OPENING[:1].upper()}{OPENING[1:]}.")
"""How that is said, in a title and a sentence."""


def nothing_yet(awaited: str, third: Line) -> tuple[Line, ...]:
    """The verdict before the first step."""
    if awaited == OPENING:
        return ((Span(f"◌ {OPENED[0]}", "dim"),), say(OPENED[1]), third)
    return ((Span("◌ Waiting for the first step", "dim"),), say(awaited[:1].upper() + awaited[1:]), third)


def empty_frame(name: str, awaited: str, *, read_only: bool = False) -> Frame:
    """Before anything has been read: what the first paint shows."""
    words = nothing_yet(awaited, say(HARMLESS, "dim"))
    badges = tuple(BadgeView(label, "", "◌", "dim", category)
                   for category, label in LABELS.items() if category not in OPTIONAL)
    return Frame(
        header=Header(name, "", "", 0, None, "", "◌ waiting", "dim"), badges=badges, verdict=words, narrow=words,
        tone="dim", charts=tuple(map(_chart, ("loss", "grad_norm", "update_ratio", "lr", "step_time", "memory"))),
        heat=HeatView(), marks=(), events=(), about=0, state="starting", is_live=True, facts=Facts(name=name),
        read_only=read_only, barred=ONLY_LOOKS if read_only else "")


def _chart(name: str) -> ChartView:
    metric, bands = METRICS[name], (UPDATE_BAND,) if name == "update_ratio" else ()
    return ChartView(name, metric.label, metric.log_axis, "", None, WAITING[name],
                     note=bands[0].word if bands else "", bands=bands, zones=ZONES.get(name, ()))
