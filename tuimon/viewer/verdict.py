"""The verdict block: what a good colleague would say about the run in three lines. Pure.

Headline; the numbers; what to do and which key does it. Each state of a run has its own words. `wide` is for 100
columns and more, `narrow` for less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from tuimon.control.states import LIVE, State
from tuimon.diagnosis.figures import counted, number, span
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.model import Incident, Usual
from tuimon.diagnosis.proof import cleaned
from tuimon.diagnosis.story import TICKS, Rescue
from tuimon.diagnosis.tone import BADGES
from tuimon.viewer.bygone import past_lines
from tuimon.viewer.first import HARMLESS, nothing_yet
from tuimon.viewer.lines import (
    Line,
    Span,
    Tone,
    dim,
    key,
    lapse,
    measured,
    plain_factor,
    rate,
    say,
    strong,
    tone_of,
)
from tuimon.viewer.sources import Sources
from tuimon.viewer.urgent import third_line

GAP: Final = "   "
WATCHED: Final = 100
"""Steps after a rescue for which an incident from before it is given time to close."""


class Verdict(NamedTuple):
    """Three lines for wide screens, three for narrow ones, and the tone of the bar beside them."""

    wide: tuple[Line, ...]
    narrow: tuple[Line, ...]
    tone: Tone


def verdict(sources: Sources, state: State) -> Verdict:
    """What to say about a run in this state."""
    told = _untrained(sources) if sources.story.ended and not sources.reached else _STATES[state](sources)
    if sources.judging:
        told = _lagging(told, sources)
    if sources.present is not None:
        return Verdict(past_lines(told.wide, sources, narrow=False), past_lines(told.narrow, sources, narrow=True),
                       told.tone)
    third = third_line(sources, told.tone) if state in LIVE else None
    if third is None:
        return told
    return Verdict((*told.wide[:2], third), (*told.narrow[:2], third), told.tone)


def _lagging(told: Verdict, sources: Sources) -> Verdict:
    """The same, saying how far the judge has come."""
    if any(sources.judging in span.text for span in told.wide[0]):
        return told
    far = dim(GAP + sources.judging)
    return Verdict(((*told.wide[0], far), *told.wide[1:]), ((told.narrow[0][0], far), *told.narrow[1:]), told.tone)


def _title(glyph: str, words: str, tone: Tone, *facts: str) -> Line:
    tail = (dim(GAP + " · ".join(fact for fact in facts if fact)),) if any(facts) else ()
    return (Span(f"{glyph} {words}", tone), *tail)


def _both(tone: Tone, *lines: Line) -> Verdict:
    return Verdict(lines, lines, tone)


def _offer(*pairs: tuple[str, str]) -> Line:
    """Keys and what they do."""
    spans: list[Span] = []
    for i, (name, words) in enumerate(pairs):
        spans += [Span(GAP if i else ""), key(f" {name} "), Span(f" {words}")]
    return tuple(spans)


def goal(sources: Sources) -> str:
    """Where a rescue would go back to."""
    target = sources.story.rescue_target
    return "the initial weights (no snapshot has earned its health yet)" if target is None else (
        f"step {steps(target)} (healthy)")


def _overrides(sources: Sources) -> Line | None:
    overrides = sources.story.overrides
    if not overrides.any:
        return None
    return (Span(f"Overrides in force: {overrides.words}.   "), key(" u "), Span(" undo"))


def _loss(sources: Sources) -> str:
    loss, trend = sources.values.get("loss"), sources.trend
    if loss is None:
        return "Loss not measured yet"
    if trend is None or not math.isfinite(trend):
        return f"Loss {number(loss)}"
    if abs(trend) < 0.001:
        return f"Loss {number(loss)}, level"
    change = abs(trend) * 100
    said = f"{change:.1f}" if change < 99.95 else f"{change:,.0f}"
    return f"Loss {number(loss)}, {'falling' if trend < 0 else 'rising'} {said} % per 100 steps"


def _gradient(sources: Sources) -> str:
    norm, usual = sources.values.get("grad_norm"), sources.diagnosis.usual.get("grad_norm")
    if norm is None:
        return ""
    return f"Gradient norm {number(norm)}{_range(usual)}."


def _range(usual: Usual | None) -> str:
    return "" if usual is None else f" (usual {span(usual.low, usual.high)})"


def _ratio(sources: Sources) -> str:
    ratio = sources.values.get("update_ratio")
    return "" if ratio is None else f" Update ratio {number(ratio)}."


def _waiting(sources: Sources) -> Verdict:
    facts = sources.statement
    return _both("dim", *nothing_yet(sources.awaited, say(facts) if facts else say(HARMLESS, "dim")))


def _running(sources: Sources) -> Verdict:
    if not sources.step:
        return _waiting(sources)
    incident, rescue = sources.diagnosis.leading, sources.story.rescue
    if rescue is not None and rescue.failed is None and _is_the_news(rescue, incident, sources.step):
        return _rescuing(sources, rescue)
    if incident is not None:
        return _incident(sources, incident)
    if rescue is not None and rescue.done_step is not None and not sources.judging:
        return _again(sources, rescue)
    return _healthy(sources)


def _is_the_news(rescue: Rescue, incident: Incident | None, step: int) -> bool:
    """Whether a rescue is under way, or what was open before it may still be about to close."""
    if rescue.done_step is None:
        return True
    return incident is not None and incident.detected_step <= rescue.held_step and step - rescue.done_step <= WATCHED


def _healthy(sources: Sources) -> Verdict:
    found = [i for i in sources.diagnosis.incidents if i.state == "resolved" and i.severity != "info"]
    past = f"{counted(len(found), 'incident')} so far, all over" if found else "nothing open"
    first = _title("●", "Healthy", "ok", f"{counted(sources.step, 'step')}, {past}")
    ratio, target = sources.values.get("update_ratio"), sources.story.rescue_target
    fits = f"Update ratio {number(ratio)}{_range(sources.diagnosis.usual.get('update_ratio'))}; " if ratio else ""
    last = f"last healthy snapshot {steps(target)}." if target is not None else (
        "no snapshot has earned its health yet.")
    third = _overrides(sources) or (say(sources.statement) if sources.statement else say(
        f"{fits}{last}" if fits else last[:1].upper() + last[1:], "plain"))
    tone: Tone = "ok"
    if sources.judging:   # what nobody has looked at is not called healthy
        words = "Not judged to its end" if sources.gave_up else "Not judged yet"
        first, tone = _title("◌", words, "info", sources.judging), "info"
    wide = (first, say(f"{_loss(sources)}. {_gradient(sources)}"), third)
    return Verdict(wide, (first, say(f"{_loss(sources)}."), third), tone)


def _incident(sources: Sources, incident: Incident) -> Verdict:
    incident = cleaned(incident)   # it names a layer, as somebody's script does
    tone = tone_of(incident.severity)
    glyph = BADGES[tone]
    since = f"since step {steps(incident.onset_step)}"
    layer = f"worst in {incident.layer}" if incident.layer else ""
    first = _title(glyph, incident.headline, tone, since, layer, f"confidence {incident.confidence}")
    short = _title(glyph, incident.headline, tone, f"since {steps(incident.onset_step)}",
                   f"worst {incident.layer}" if incident.layer else "", incident.confidence)
    second = say(incident.why)
    if sources.present is not None:   # what is known of it now would be said of then
        found = _title(glyph, incident.headline, tone, since, f"found at step {steps(incident.detected_step)}")
        gradient = _gradient(sources)
        loss = f"Loss {measured(sources.values.get('loss'))}"
        return Verdict((found, say(f"{_loss(sources)}. {gradient}{_ratio(sources)}")),
                       (found, say(f"{loss}. {gradient}")), tone)
    target = sources.story.rescue_target
    back = "roll back to the initial weights" if target is None else f"roll back to step {steps(target)} (healthy)"
    if incident.severity == "info":
        third = say("; ".join(incident.next) or "Nothing to do.")
        return Verdict((first, second, third), (short, second, third), tone)
    if not incident.rescue_helps:   # going back and training on more slowly would end in the same place
        advised, keys = say(_sentences(incident.next)), _offer(("x", "hold the run"), ("k", "end it"))
        return Verdict((first, second, advised, keys), (short, second, advised, keys), tone)
    near = "the start" if target is None else f"step {steps(target)}"
    wide = _offer(("r", f"{back}, lr x0.1, clip 1.0"), ("x", "hold the run"))
    narrow = _offer(("r", f"back to {near}, lr x0.1, clip 1.0"), ("x", "hold the run"))
    signs = len(sources.diagnosis.event(incident)) - 1
    others = len(sources.diagnosis.open_incidents) - 1 - signs
    more = [f"{counted(signs, 'more sign')} of it"] * bool(signs)
    more += [f"{others} more open"] * bool(others)
    if more:
        first = (*first, dim(f" · {', '.join(more)}"))
    if not incident.next:
        return Verdict((first, second, wide), (short, second, narrow), tone)
    advice = _sentences(incident.next[:1])
    if incident.severity == "critical":   # the key does what the advice says, and is at hand
        return Verdict((first, second, (*wide, dim(f"{GAP}{advice}"))), (short, second, narrow), tone)
    return Verdict((first, second, say(advice), wide), (short, second, say(advice), narrow), tone)


def _sentences(advice: tuple[str, ...]) -> str:
    """The first two pieces of advice as sentences."""
    return " ".join(f"{one[:1].upper()}{one[1:]}." for one in advice[:2]) or "No advice for this one."


def ticks(rescue: Rescue, step: int) -> tuple[tuple[bool, str, str], ...]:
    """The five ticks of a rescue: (done, words, words where there is little room)."""
    held, restored, lr, clip, warmup = (rescue.tick(name) for name in TICKS)
    at = steps(held.step) if held else ""
    back = restored.whole("to_step") if restored else None
    target = "initial weights" if restored and restored.fields.get("proven") is False else (
        steps(back) if back is not None else "")
    scale = plain_factor((lr.number("scale") if lr else None) or 0.1)
    after = lr.number("after") if lr else None
    limit = clip.number("max_norm") if clip else None
    clipped = f"clip {plain_factor(limit)}" if limit is not None else "clip"
    return (
        (held is not None, f"held at {at}" if at else "hold", f"held {at}" if at else "hold"),
        (restored is not None, f"restored {target}".rstrip(), f"back to {target}" if target else "restore"),
        (lr is not None, f"lr x{scale}" + (f" = {rate(after)}" if after is not None else ""), f"lr x{scale}"),
        (clip is not None, clipped, clipped),
        _warmup(rescue, warmup.whole("steps") if warmup else None, warmup.step if warmup else step, step),
    )


def _warmup(rescue: Rescue, total: int | None, begun: int, step: int) -> tuple[bool, str, str]:
    if rescue.done_step is not None:
        return True, f"warmed up at {steps(rescue.done_step)}", f"warm at {steps(rescue.done_step)}"
    if total is None or total <= 0:
        return False, "warm-up", "warm-up"
    count = f"{max(0, min(step - begun, total))}/{total}"
    return False, f"warming up {count}", f"warm-up {count}"


def _tick_line(rescue: Rescue, step: int, *, narrow: bool) -> Line:
    spans = [Span("◐ Rescue", "info")]
    told = ticks(rescue, step)
    under_way = next((i for i, (done, *_) in enumerate(told) if not done), len(told))
    for i, (done, words, short) in enumerate(told):
        glyph, tone = ("✓", "ok") if done else ("◐", "info") if i == under_way else ("◌", "dim")
        gap = "  " if narrow else GAP
        spans += [Span(f"{gap}{glyph} ", tone), Span(short if narrow else words, "plain" if done else tone)]  # type: ignore[arg-type]  # literals
    return tuple(spans)


def _rescuing(sources: Sources, rescue: Rescue) -> Verdict:
    held = rescue.tick("held")
    before = held.number("loss") if held else None
    was = f", was {number(before)} when held" if before is not None else ""
    loss = measured(sources.values.get("loss"))
    now = f"Loss {loss}{was}. {_gradient(sources)}" if rescue.tick("warmup") else f"Loss{was[1:]}." if was else (
        "The run is being put back.")
    third = _overrides(sources) or say("The other parts follow within a step.", "dim")
    if rescue.done_step is not None:
        clean = max(0, sources.step - rescue.done_step)
        now += f" Watching: {counted(clean, 'step')} since the warm-up."
    return Verdict((_tick_line(rescue, sources.step, narrow=False), say(now), third),
                   (_tick_line(rescue, sources.step, narrow=True), say(now), third), "info")


def _again(sources: Sources, rescue: Rescue) -> Verdict:
    done = rescue.done_step or 0
    resolved = [i.resolved_step for i in sources.diagnosis.incidents if i.resolved_step is not None]
    since = max([s for s in resolved if s >= rescue.held_step], default=done)
    first = _title("●", "Healthy again", "ok",
                   f"since step {steps(since)}", f"the rescue at {steps(rescue.held_step)} worked")
    clean = max(0, sources.step - since)
    count = counted(clean, "clean step")
    third = _overrides(sources) or say("No override is in force.", "dim")
    return Verdict((first, say(f"{_loss(sources)}. {_gradient(sources)}{_ratio(sources)} {count}."), third),
                   (first, say(f"{_loss(sources)}; {count}."), third), "ok")


def since(incident: Incident) -> str:
    """What and since when, as a sentence."""
    return f"{incident.headline} since step {steps(incident.onset_step)}."


def _still(sources: Sources) -> str:
    incident = sources.diagnosis.leading
    loss = f"Loss {measured(sources.values.get('loss'))}."
    if incident is None:
        return f"Everything stays in memory; nothing is lost. {loss}"
    return f"{since(incident)} {loss} Everything stays in memory."


def _held(sources: Sources) -> Verdict:
    rescue = sources.story.rescue
    if rescue is not None and not rescue.is_over:
        return _rescuing(sources, rescue)
    first = _title("◼", f"Held at step {steps(sources.step)}", "warning", sources.story.why)
    target = sources.story.rescue_target
    back = "the initial weights" if target is None else f"step {steps(target)} (healthy)"
    wide = _offer(("r", f"rescue: back to {back}, lr x0.1, clip 1.0"), ("space", "go on as it is"), ("k", "end it"))
    near = "the start" if target is None else f"step {steps(target)}"
    narrow = _offer(("r", f"rescue to {near}"), ("space", "go on as it is"), ("k", "end it"))
    second = say(_still(sources))
    return Verdict((first, second, wide), (first, second, narrow), "warning")


def _paused(sources: Sources) -> Verdict:
    return _both("info", _title("‖", f"Paused at step {steps(sources.step)}", "info", sources.story.why),
                 say(_still(sources)), _offer(("space", "go on"), ("k", "end it")))


def _stopping(sources: Sources) -> Verdict:
    return _both("warning", _title("◼", "Stopping", "warning", sources.story.why),
                 say("The training loop has been asked to leave at its next step boundary."),
                 say("Nothing else to do.", "dim"))


def _last(sources: Sources) -> str:
    incident = sources.diagnosis.leading
    tail = f" {since(incident)}" if incident else ""
    known = ", ".join(f"{word} {number(sources.values[name])}" for word, name in
                      (("loss", "loss"), ("gradient norm", "grad_norm")) if name in sources.values)
    return f"{f'Last {known}' if known else 'Neither loss nor gradient norm was measured'}.{tail}"


def _kept(sources: Sources) -> Line:
    step = sources.story.checkpoint
    on_disk = f"Newest checkpoint on disk: step {steps(step)}." if step is not None else (
        "No checkpoint was written to disk.")
    missing = f", but for {counted(sources.story.missing, 'row')}" if sources.story.missing else ""
    return say(f"{on_disk} The log is complete up to step {steps(sources.step)}{missing}.", "dim")


def _printed(sources: Sources) -> Line:
    return say(f"All that it printed: {sources.console}", "dim") if sources.console else say("The log is empty.", "dim")


def _untrained(sources: Sources) -> Verdict:
    """A script that ended before its first step: what it said is all there is."""
    went_wrong = sources.story.state in ("crashed", "died")
    tone: Tone = "critical" if went_wrong else "dim"
    glyph = "✖" if went_wrong else "◼"
    return _both(tone, _title(glyph, "Ended before any training step", tone), say(sources.awaited), _printed(sources))


def _finished(sources: Sources) -> Verdict:
    tone = tone_of(sources.diagnosis.leading.severity) if sources.diagnosis.leading else "ok"
    return _both(tone, _title("✓", "Finished", "ok", counted(sources.reached, "step")), say(_last(sources)),
                 _kept(sources))


def _stopped(sources: Sources) -> Verdict:
    return _both("dim", _title("◼", f"Stopped at step {steps(sources.reached)}", "plain", "as asked"),
                 say(_last(sources)), _kept(sources))


def _crashed(sources: Sources) -> Verdict:
    error = sources.story.error or "the script gave no reason"
    return _both("critical", _title("✖", f"Crashed at step {steps(sources.reached)}", "critical"), say(error),
                 _kept(sources))


def _died(sources: Sources) -> Verdict:
    if not sources.step:
        return _both("critical", _title("✝", "Died before its first step", "critical"), say(sources.awaited),
                     _printed(sources))
    return _both("critical", _title("✝", f"Died at step {steps(sources.step)}", "critical",
                                    f"{lapse(sources.age)} ago"),
                 (strong("Its process is gone without a word: killed, out of memory, or a lost machine. "),
                  Span(_last(sources))), _kept(sources))


_STATES: Final[dict[State, Callable[[Sources], Verdict]]] = {
    "starting": _running, "running": _running, "paused": _paused, "held": _held, "stopping": _stopping,
    "finished": _finished, "stopped": _stopped, "crashed": _crashed, "died": _died,
}
