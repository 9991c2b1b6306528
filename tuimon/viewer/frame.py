"""One frozen picture of a run: everything the screen shows, as values. Pure; knows no terminal and no clock.

`build_frame(sources)` turns what has been read into a Frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from tuimon.control.states import LIVE, State
from tuimon.diagnosis.figures import UNKNOWN, counted, duration, size, span
from tuimon.diagnosis.model import SEVERITIES, Badge, Diagnosis, Incident, Severity
from tuimon.diagnosis.story import EventLine, Rescue, Story, lowered
from tuimon.diagnosis.tone import BADGES
from tuimon.record.metrics import METRICS
from tuimon.viewer.first import (
    LABELS,
    NOTEBOOK_GRADIENT,
    NOTEBOOK_RATIO,
    OPTIONAL,
    UPDATE_BAND,
    WAITING,
    ZONES,
    empty_frame,
)
from tuimon.viewer.lines import Tone, lapse, measured, rate, tone_of
from tuimon.viewer.sources import Sources
from tuimon.viewer.verdict import verdict
from tuimon.viewer.views import BadgeView, BandView, ChartView, Facts, Frame, Header, MarkView
from tuimon.viewer.wanted import Units

__all__ = ["about", "build_frame", "effective_state", "empty_frame", "is_rescuing"]

STALE_STEPS: Final = 3.0
"""LIVE turns to "stale" when the newest row is older than this many usual steps ..."""
STALE_FLOOR: Final = 3.0
"""... and than this many seconds."""
SILENT: Final = 30.0
"""Seconds without a heartbeat after which a run on another machine is called silent."""
_LEADING: Final = {"loss": "loss", "gradients": "grad_norm", "updates": "update_ratio",
                   "generalisation": "val_loss"}
"""What a category is about, where that is one metric."""
_FROM: Final = {"loss": ("loss", "numerics", "generalisation"), "grad_norm": ("gradients", "layers"),
                "update_ratio": ("updates",), "grad_param_ratio": ("updates",), "throughput": ("throughput",),
                "step_time": ("throughput",)}
"""Whose incidents colour a chart's current value."""


def effective_state(story: Story, alive: bool | None) -> State:
    """The run's state, with "died" derived: a process that is gone and did not say so."""
    return "died" if story.state in LIVE and not story.ended and alive is False else story.state


def _status(sources: Sources, state: State) -> tuple[str, Tone]:
    if sources.present is not None:
        speed = sources.wanted.speed
        return f"{f'▸ {speed}x ·' if speed else '◂'} {counted(sources.newest - sources.step, 'step')} ago", "info"
    ended: dict[str, tuple[str, Tone]] = {
        "finished": ("✓ finished", "ok"), "stopped": ("◼ stopped", "dim"), "crashed": ("✖ crashed", "critical"),
        "died": ("✝ died", "critical"), "held": ("◼ HELD", "warning"), "paused": ("‖ PAUSED", "info"),
        "stopping": ("◼ stopping", "warning")}
    if sources.link is not None and state in LIVE:
        return sources.link
    if state in ended:
        return ended[state]
    if sources.alive is None and sources.silence > SILENT:
        return f"◌ silent {lapse(sources.silence)}", "warning"
    if not sources.step:
        return "◌ waiting", "dim"
    if sources.is_full:
        return f"◌ disk full {lapse(sources.age)}", "warning"
    if sources.age > max(STALE_FLOOR, STALE_STEPS * (sources.step_time or 0.0)):
        return f"◌ stale {lapse(sources.age)}", "warning"
    return "● LIVE", "ok"


def _header(sources: Sources, state: State) -> Header:
    status, tone = _status(sources, state)
    eta = ""
    moves = sources.present is None and state in ("running", "starting")
    if moves and sources.total and sources.step_time and sources.step < sources.total:
        eta = duration((sources.total - sources.step) * sources.step_time, plain=sources.wanted.units.seconds)
    crew = sources.crew
    what = " · ".join(part for part in (sources.model, sources.device, crew.words) if part)
    device = crew.words if crew.lost or crew.slow else " · ".join(filter(None, (sources.device, crew.words)))
    share = sources.values.get("overhead")
    cost = f"{100 * share:.1f} %" if share is not None and math.isfinite(share) else ""
    return Header(sources.name, what, device, sources.step, sources.total, eta, status, tone, cost)


def _badge(badge: Badge, sources: Sources) -> BadgeView:
    label, begun = LABELS.get(badge.category, badge.category.upper()), sources.step > 0
    value = sources.values.get(_LEADING.get(badge.category, ""))
    if badge.severity is None and value is not None and not math.isfinite(value) and any(
            incident.category == "numerics" for incident in sources.diagnosis.open_incidents):
        return BadgeView(label, measured(value), "✖", "critical", badge.category)   # no rule of its own can look
    if badge.severity is None and (badge.word != "ok" or not begun):
        return BadgeView(label, UNKNOWN if begun else "", "◌", "dim", badge.category)
    tone = tone_of(badge.severity)
    return BadgeView(label, badge.word, BADGES[tone], tone, badge.category)


def _severity(name: str, value: float | None, badges: Mapping[str, Badge]) -> Severity | None:
    """How a chart's current value looks: as its worst category does; what is not finite is critical by itself."""
    if value is not None and not math.isfinite(value):
        return "critical"
    found = [badges[c].severity for c in _FROM.get(name, ()) if c in badges]
    return max((s for s in found if s is not None), key=SEVERITIES.index, default=None)


def _bands(sources: Sources, name: str) -> tuple[BandView, ...]:
    notebook = sources.rules == "notebook"
    if name == "grad_norm" and notebook:
        return (NOTEBOOK_GRADIENT,)
    if name == "grad_norm":
        usual = sources.diagnosis.usual.get(name)
        known = usual is not None and math.isfinite(usual.low) and math.isfinite(usual.high)
        return (BandView(usual.low, usual.high, healthy=False, word=f"usual {span(usual.low, usual.high)}"),) \
            if usual is not None and known else ()
    return {"update_ratio": (UPDATE_BAND,), "grad_param_ratio": (NOTEBOOK_RATIO,)}.get(name, ())


def _note(sources: Sources, name: str, bands: tuple[BandView, ...]) -> str:
    if name == "loss" and "val_loss" in sources.values:
        return f"validation {measured(sources.values['val_loss'])}"
    if name == "lr" and sources.story.overrides.any:
        return sources.story.overrides.words
    return bands[0].word if bands else ""


_BY_THE_WAY: Final = {"throughput", "step_time", "memory"}


def _charts(sources: Sources, state: State) -> tuple[ChartView, ...]:
    ratio = "grad_param_ratio" if sources.rules == "notebook" else "update_ratio"
    badges: dict[str, Badge] = {b.category: b for b in sources.diagnosis.badges}
    views = []
    speed = "throughput" if "throughput" in sources.values else "step_time"
    for name in ("loss", "grad_norm", ratio, "lr", speed, "memory"):
        metric = METRICS[name]
        log = metric.log_axis or (name == "loss" and sources.is_wide)
        value, bands = sources.values.get(name), _bands(sources, name)
        label, meaning = sources.story.labels.get(name, ("", ""))
        views.append(ChartView(
            name, metric.label, log, "" if value is None else _said(name, value, sources.wanted.units),
            _severity(name, value, badges), meaning or _empty(name, sources, state),
            _note(sources, name, bands), label, bands, ZONES.get(name, ()), *_pointed(sources, name),
            sources.columns.get(name), sources.columns.get("val_loss") if name == "loss" else None))
    return tuple(views)


def _empty(name: str, sources: Sources, state: State) -> str:
    """What an empty chart waits for, or why it will stay empty."""
    if sources.crew.lost and sources.step:
        own = sources.values.get("rank0_loss") if name == "loss" else None
        return f"not known while {sources.crew.lost}" + ("" if own is None else f"; rank 0's own is {measured(own)}")
    if state not in LIVE:
        return "nothing was measured"
    return "not measured in this run" if sources.step and name in _BY_THE_WAY else WAITING[name]


def _said(name: str, value: float, units: Units) -> str:
    """A value as its chart's title has it."""
    if name == "memory":
        return size(value, binary=units.binary)
    return rate(value) if name == "lr" else measured(value)


def _pointed(sources: Sources, name: str) -> tuple[str, str]:
    """What was measured at the crosshair, or last before it, of a metric and of what is drawn with it."""
    if sources.wanted.cursor is None:
        return "", ""
    value = sources.readout.get(name)
    beside = sources.readout.get("val_loss") if name == "loss" else None
    words = UNKNOWN if value is None else _said(name, value, sources.wanted.units)
    return words, "" if beside is None else measured(beside)


def _marks(story: Story, diagnosis: Diagnosis) -> tuple[MarkView, ...]:
    """Few lines, so that each means something: what the verdict is about, past criticals, events, the way back."""
    leading = diagnosis.leading
    onsets = tuple(MarkView(i.onset_step, "onset", tone_of(i.severity), i.word) for i in diagnosis.incidents
                   if i is leading or (i.state == "resolved" and i.severity == "critical"))
    back = (MarkView(story.healthy[-1], "snapshot", "ok"),) if story.healthy else ()
    events = tuple(MarkView(e.step, e.mark, e.tone, e.word) for e in story.lines if e.mark in ("event", "rollback"))
    return onsets + back + events


_DRAWN: Final = {"loss": 0, "val_loss": 0, "grad_norm": 1, "update_ratio": 2, "grad_param_ratio": 2, "lr": 3,
                 "throughput": 4, "step_time": 4, "memory": 5}
"""Metric -> index of the chart that it is drawn in."""


def _moments(sources: Sources, story: Story) -> tuple[int, ...]:
    """Where an incident was found or was over, and what the run's own diary marks."""
    found = {e.step for e in story.lines if e.mark in ("event", "rollback")}
    for view in sources.present.incidents if sources.present else sources.incidents:
        if view.incident.severity != "info":
            found |= {view.incident.detected_step, view.incident.resolved_step or view.incident.detected_step}
    return tuple(sorted(found))


def about(incident: Incident | None) -> int:
    """Index of the chart that tells most about an incident: what convicts it, or else what its category is about."""
    if incident is None:
        return 0
    drawn = (_DRAWN[e.metric] for e in incident.evidence if e.metric in _DRAWN)
    return next(drawn, {"gradients": 1, "layers": 1, "updates": 2, "throughput": 4}.get(incident.category, 0))


def _diary(sources: Sources) -> tuple[EventLine, ...]:
    """The run's own diary, and this viewer's findings: the run's guard may judge by other rules, or not at all.

    While something critical is open, lesser findings have their badges and leave the diary to it.
    """
    lines = sources.story.lines
    known = {line.text for line in lines if line.is_incident}
    for incident in sources.diagnosis.incidents:
        words, tone = lowered(incident.reopened().headline), tone_of(incident.severity)   # as it began
        if words not in known and tone != "info":
            lines = (*lines, EventLine(incident.onset_step, BADGES[tone], words, tone, is_incident=True))
    if sources.diagnosis.verdict == "critical":
        lines = tuple(line for line in lines if not line.is_incident or line.tone == "critical")
    return tuple(sorted(lines, key=lambda line: line.step))


def build_frame(sources: Sources) -> Frame:
    """The picture of what has been read."""
    state = effective_state(sources.story, sources.alive)
    leading = sources.diagnosis.leading
    told = verdict(sources, state)
    # Keys act on the run as it is, whatever moment is shown.
    story, values = (sources.present.story, sources.present.values) if sources.present else (
        sources.story, sources.values)
    live = effective_state(story, sources.present.alive if sources.present else sources.alive)
    badges = tuple(_badge(b, sources) for b in sources.diagnosis.badges
                   if b.category not in OPTIONAL or b.severity is not None)
    if sources.crew.badge:
        badges += (BadgeView("RANKS", sources.crew.badge, BADGES[sources.crew.tone], sources.crew.tone, "ranks"),)
    newest = sources.newest or sources.step
    facts = Facts(
        name=sources.name, step=max(newest, story.last_step) if story.ended else newest, lr=values.get("lr"),
        lr_scheduled=values.get("lr_scheduled"), loss=values.get("loss"), target=story.rescue_target,
        clips=sources.clips, overrides=story.overrides, checkpoint=story.checkpoint,
        rescuing=is_rescuing(story.rescue, live), revision=story.revision, step_time=sources.step_time)
    return Frame(
        header=_header(sources, state), badges=badges, verdict=told.wide, narrow=told.narrow, tone=told.tone,
        charts=_charts(sources, state), heat=sources.heat, marks=_marks(sources.story, sources.diagnosis),
        events=_diary(sources), about=about(leading), state=live, is_live=live in LIVE, facts=facts,
        read_only=sources.read_only, barred=sources.barred,
        crew=sources.crew, incidents=sources.incidents, unlooked=sources.diagnosis.not_evaluated,
        way=sources.way,
        is_judged=sources.revision > 0 and not sources.judging, revision=sources.revision, problem=sources.problem,
        last=sources.last, span=sources.span, newest=sources.newest, wanted=sources.wanted,
        readout=tuple(sources.readout.items()), moments=_moments(sources, story))


def is_rescuing(rescue: Rescue | None, state: State) -> bool:
    """Whether a rescue is under way."""
    return rescue is not None and not rescue.is_over and state in LIVE
