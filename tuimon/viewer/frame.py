"""One frozen picture of a run: everything the screen shows, as values. Pure; knows no terminal and no clock.

`build_frame(sources)` turns what has been read into a Frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from tuimon.control.states import LIVE, State
from tuimon.diagnosis.model import Badge, Diagnosis, Incident, Usual
from tuimon.viewer.lines import Tone, ago, clock, number, rate, tone_of
from tuimon.viewer.story import EventLine, Rescue, Story
from tuimon.viewer.verdict import verdict
from tuimon.viewer.views import BadgeView, Band, ChartMark, ChartView, Facts, Frame, Header, Sources

STALE_STEPS: Final = 3.0
"""LIVE turns to "stale" when the newest row is older than this many usual steps ..."""
STALE_FLOOR: Final = 3.0
"""... and than this many seconds."""
SILENT: Final = 30.0
"""Seconds without a heartbeat after which a run on another machine is called silent."""


LABELS: Final = {"loss": "LOSS", "gradients": "GRADIENTS", "updates": "UPDATES", "numerics": "NUMERICS",
                 "layers": "LAYERS", "generalisation": "VALIDATION", "throughput": "SPEED",
                 "activations": "ACTIVATIONS"}
_OPTIONAL: Final = {"activations"}
"""Shown only when there is something to say."""
NOTEBOOK_GRADIENT: Final = (Band(0.1, 10, "healthy", "ok"), Band(10, 1000, "danger", "critical"),
                            Band(1e-6, 0.1, "vanishing", "warning"))
NOTEBOOK_RATIO: Final = (Band(1e-5, 0.1, "healthy", "ok"), Band(0.1, 10, "too high", "critical"))
UPDATE_BAND: Final = Band(1e-4, 2e-2, "healthy", "ok")
_FROM: Final = {"loss": ("loss", "numerics", "generalisation"), "grad_norm": ("gradients", "layers"),
                "update_ratio": ("updates",), "grad_param_ratio": ("updates",), "lr": ()}
"""Whose incidents colour a chart's current value."""


def effective_state(story: Story, alive: bool | None) -> State:
    """The run's state, with "died" derived: a process that is gone and did not say so."""
    return "died" if story.state in LIVE and not story.ended and alive is False else story.state


def _status(sources: Sources, state: State) -> tuple[str, Tone]:
    ended: dict[str, tuple[str, Tone]] = {
        "finished": ("✓ finished", "ok"), "stopped": ("◼ stopped", "dim"), "crashed": ("✖ crashed", "critical"),
        "died": ("✝ died", "critical"), "held": ("◼ HELD", "warning"), "paused": ("‖ PAUSED", "info"),
        "stopping": ("◼ stopping", "warning")}
    if state in ended:
        return ended[state]
    if sources.alive is None and sources.silence > SILENT:
        return f"◌ silent {ago(sources.silence)}", "warning"
    if not sources.step:
        return "◌ waiting", "dim"
    if sources.age > max(STALE_FLOOR, STALE_STEPS * (sources.step_time or 0.0)):
        return f"◌ stale {ago(sources.age)}", "warning"
    return "● LIVE", "ok"


def _header(sources: Sources, state: State) -> Header:
    status, tone = _status(sources, state)
    eta = ""
    if state in ("running", "starting") and sources.total and sources.step_time and sources.step < sources.total:
        eta = clock((sources.total - sources.step) * sources.step_time)
    what = " · ".join(part for part in (sources.model, sources.device) if part)
    return Header(sources.name, what, sources.device, sources.step, sources.total, eta, status, tone)


def _badge(badge: Badge, *, begun: bool) -> BadgeView:
    label = LABELS.get(badge.category, badge.category.upper())
    if badge.severity is None and (badge.word != "ok" or not begun):
        return BadgeView(label, badge.word if begun else "waiting", "◌", "dim")
    tone = tone_of(badge.severity)
    glyph = {"ok": "●", "info": "◆", "warning": "▲", "critical": "✖"}[tone]
    return BadgeView(label, badge.word, glyph, tone)


def _value_tone(name: str, value: float | None, badges: Mapping[str, Badge]) -> Tone:
    if value is not None and not math.isfinite(value):
        return "critical"
    worst: Tone = "plain"
    for category in _FROM.get(name, ()):
        severity = badges[category].severity if category in badges else None
        if severity == "critical" or (severity == "warning" and worst != "critical"):
            worst = severity
    return worst


def span_of(low: float, high: float) -> str:
    """A range in words: 0.9–1.4."""
    return f"{number(low)}–{number(high)}"


def _usual(usual: Usual | None) -> tuple[tuple[Band, ...], str]:
    if usual is None or not (math.isfinite(usual.low) and math.isfinite(usual.high)):
        return (), ""
    return (Band(usual.low, usual.high, "usual", "dim"),), f"usual {span_of(usual.low, usual.high)}"


def _charts(sources: Sources) -> tuple[ChartView, ...]:
    notebook = sources.rules == "notebook"
    usual_bands, usual_foot = _usual(sources.diagnosis.usual.get("grad_norm"))
    ratio = "grad_param_ratio" if notebook else "update_ratio"
    rows: tuple[tuple[str, str, bool, tuple[Band, ...], str], ...] = (
        ("loss", "loss", False, (), ""),
        ("grad_norm", "grad norm", True, NOTEBOOK_GRADIENT if notebook else usual_bands,
         "healthy 0.1–10" if notebook else usual_foot),
        (ratio, "grad/param ratio" if notebook else "update ratio", True,
         NOTEBOOK_RATIO if notebook else (UPDATE_BAND,), "healthy 1e-5–0.1" if notebook else "healthy 1e-4–2e-2"),
        ("lr", "learning rate", False, (), f"overrides: {sources.story.overrides.words}"
         if sources.story.overrides.any else ""),
    )
    badges = {b.category: b for b in sources.diagnosis.badges}
    nothing = (None, None)
    views = []
    for name, title, log, bands, foot in rows:
        value = sources.values.get(name)
        tone = _value_tone(name, value, badges)
        shown = (rate(value) if name == "lr" else number(value)) if value is not None else "–"
        mark = {"warning": " ▲", "critical": " ✖"}.get(tone, "")
        x, y = sources.series.get(name, nothing)
        vx, vy = sources.series.get("val_loss", nothing) if name == "loss" else nothing
        has_val = vx is not None and len(vx) > 0
        if name == "loss" and sources.step:
            foot = f"validation {number(sources.values.get('val_loss'))}" if has_val else ""
        views.append(ChartView(name, title, log, shown + mark, tone, foot, bands, x, y,
                               vx if has_val else None, vy if has_val else None, "validation" if has_val else ""))
    return tuple(views)


def _marks(story: Story, diagnosis: Diagnosis) -> tuple[ChartMark, ...]:
    onsets = tuple(ChartMark(i.onset_step, "onset", tone_of(i.severity)) for i in diagnosis.incidents
                   if i.severity != "info")
    return onsets + tuple(ChartMark(e.step, "event", e.tone) for e in story.lines if e.marks)


def about(incident: Incident | None) -> int:
    """Index of the chart that tells most about an incident."""
    if incident is None:
        return 0
    return {"gradients": 1, "layers": 1, "updates": 2}.get(incident.category, 0)


def _diary(sources: Sources) -> tuple[EventLine, ...]:
    lines = sources.story.lines
    opened = {(line.step, line.text) for line in lines}
    for incident in sources.diagnosis.incidents:
        # The run's own guard may judge by other rules or be off: this viewer's findings are in the diary too.
        words = f"{incident.headline[:1].lower()}{incident.headline[1:]} begins"
        if (incident.onset_step, words) not in opened and not any(text == words for _, text in opened):
            tone = tone_of(incident.severity)
            glyph = {"info": "◆", "warning": "▲"}.get(tone, "✖")
            lines = (*lines, EventLine(incident.onset_step, glyph, words, tone))
    return tuple(sorted(lines, key=lambda line: line.step))


def build_frame(sources: Sources) -> Frame:
    """The picture of what has been read."""
    state = effective_state(sources.story, sources.alive)
    leading = sources.diagnosis.leading
    told = verdict(sources, state)
    story = sources.story
    badges = tuple(_badge(b, begun=sources.step > 0) for b in sources.diagnosis.badges
                   if b.category not in _OPTIONAL or b.severity is not None)
    facts = Facts(
        name=sources.name, step=sources.step, lr=sources.values.get("lr"), loss=sources.values.get("loss"),
        target=story.rescue_target, clips=sources.clips, overrides=story.overrides, checkpoint=story.checkpoint,
        rescuing=is_rescuing(story.rescue, state), step_time=sources.step_time)
    return Frame(
        header=_header(sources, state), badges=badges, verdict=told.wide, narrow=told.narrow, tone=told.tone,
        charts=_charts(sources), heat=sources.heat, marks=_marks(story, sources.diagnosis), events=_diary(sources),
        about=about(leading), state=state, is_live=state in LIVE, facts=facts, revision=sources.revision,
        problem=sources.problem)


def is_rescuing(rescue: Rescue | None, state: State) -> bool:
    """Whether a rescue is under way."""
    return rescue is not None and not rescue.is_over and state in LIVE


def empty_frame(name: str, awaited: str) -> Frame:
    """Before anything has been read: what the first paint shows."""
    return build_frame(Sources(name, Story(), Diagnosis.nothing(), awaited=awaited))
