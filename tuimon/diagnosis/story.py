"""What the event log tells about a run: a fold over events. Pure.

`tell(story, event)` gives the next story; unknown kinds and odd fields change nothing. What a viewer shows as applied
is here because the run said so (law 8); what it only asked for is added by the feed as a Request of its own.
Text from events is made safe here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast, get_args

from tuimon.control.revision import REVISING, STANDS_BACK
from tuimon.control.states import STATES, State
from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.diagnosis.autopsy.words import subject
from tuimon.diagnosis.figures import age, size, trouble, unrecorded
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.overrides import Overrides
from tuimon.diagnosis.tone import BADGES, Tone
from tuimon.record.events import Event
from tuimon.record.metrics import METRICS
from tuimon.record.text import clean

Outcome = Literal["requested", "received", "deferred", "applied", "refused"]
WAITING: Final[frozenset[str]] = frozenset({"requested", "received", "deferred"})
TICKS: Final = ("held", "restored", "lr", "clip", "warmup")
"""The five ticks of a rescue, in order; "done" and "failed" end it."""
KEPT_LINES: Final = 200
KEPT_REQUESTS: Final = 32
KEPT_HEALTHY: Final = 64
LONGEST: Final = 200
"""Characters kept of a text that came from outside."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command and what has become of it."""

    id: str
    verb: str
    outcome: Outcome
    why: str = ""
    step: int = 0
    time: float = 0.0
    """When its outcome was told (or when it was asked for)."""
    who: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """One finished part of a rescue."""

    name: str
    step: int
    fields: Mapping[str, Any]

    def number(self, field: str) -> float | None:
        """A numeric field; None where it is absent or no number."""
        return self._event.number(field)

    def whole(self, field: str) -> int | None:
        """A whole-number field; None where it is absent or something else."""
        return self._event.whole(field)

    @property
    def _event(self) -> Event:
        """As it stood in the run's events."""
        return Event(0, 0.0, 0, self.step, "rescue", self.fields)


@dataclass(frozen=True, slots=True)
class Rescue:
    """One rescue, under way or over."""

    id: str
    ticks: tuple[Tick, ...] = ()
    done_step: int | None = None
    failed: str | None = None

    def tick(self, name: str) -> Tick | None:
        """The tick of that name, if it has been reported."""
        return next((t for t in self.ticks if t.name == name), None)

    @property
    def is_over(self) -> bool:
        """Whether it was finished or has failed."""
        return self.done_step is not None or self.failed is not None

    @property
    def held_step(self) -> int:
        """The step at which it took hold of the run."""
        held = self.tick("held") or next(iter(self.ticks), None)
        return held.step if held else 0


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line of the run's diary."""

    step: int
    glyph: str
    text: str
    tone: Tone
    mark: Literal["event", "rollback", "snapshot"] | None = None
    """What charts draw at its step, if anything."""
    is_incident: bool = False
    word: str = ""
    """A few words for charts, beside its mark."""
    time: float = 0.0
    """When it was told: wall clock, seconds since the epoch."""
    who: str = ""
    """Who asked for it; "" where nobody did, or nobody knows."""


@dataclass(frozen=True, slots=True)
class Story:
    """All that the events say about the run up to now."""

    attempt: int = 0
    state: State = "starting"
    why: str = ""
    error: str = ""
    ended: bool = False
    last_step: int = 0
    overrides: Overrides = field(default_factory=Overrides)
    healthy: tuple[int, ...] = ()
    """Steps of snapshots that have earned their health, oldest first."""
    rescue: Rescue | None = None
    """The latest one."""
    rescues: int = 0
    missing: int = 0
    """Rows of which the run says that they are not in its log."""
    checkpoint: int | None = None
    """Step of the newest checkpoint on disk."""
    requests: tuple[Request, ...] = ()
    revision: str = ""
    """Id of the last order that was applied and changed the run; "" where none has."""
    lines: tuple[EventLine, ...] = ()
    keeps: int = KEPT_LINES
    """Lines that are kept, the newest."""
    faults: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Per metric that means something else than its name says: a few words for its title, and a sentence."""

    @property
    def rescue_target(self) -> int | None:
        """The step a rescue would go back to; None means the initial weights."""
        return self.healthy[-1] if self.healthy else None


def _word(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return "" if value is None else clean(str(value)[: 4 * LONGEST], LONGEST)


def _line(story: Story, step: int, glyph: str, text: str, tone: Tone = "plain", *, word: str = "",
          mark: Literal["event", "rollback", "snapshot"] | None = None, is_incident: bool = False) -> Story:
    line = EventLine(step, glyph, text, tone, mark, is_incident, word)
    return replace(story, lines=(*story.lines, line)[-story.keeps:])


def _attempt(story: Story, event: Event) -> Story:
    fresh = Story(
        attempt=event.attempt, lines=story.lines, keeps=story.keeps, rescues=story.rescues, missing=story.missing,
        checkpoint=story.checkpoint, last_step=event.whole("from_step") or 0,
    )
    from_step, world = event.whole("from_step") or 0, event.whole("world") or 1
    ranks = f" on {world:,} ranks" if world > 1 else ""
    return fresh if event.attempt <= 1 else _line(
        fresh, from_step, "▸", f"attempt {event.attempt} goes on from step {steps(from_step)}{ranks}", mark="event")


def _state(story: Story, event: Event) -> Story:
    name = event.fields.get("state")
    return replace(story, state=name, why=_word(event.fields, "why")) if name in STATES else story


def _command(story: Story, event: Event) -> Story:
    f = event.fields
    outcome = f.get("outcome")
    if outcome not in get_args(Outcome):
        return story   # also an outcome of a later version
    request = Request(
        _word(f, "id"), _word(f, "verb"), cast("Outcome", outcome), _word(f, "why"), event.step, event.time,
        _origin(f.get("who")))
    others = tuple(r for r in story.requests if r.id != request.id)
    if outcome == "refused" and request.why.startswith(STANDS_BACK):   # nobody waits for it: they have just acted
        return _line(replace(story, requests=others), event.step, "▸", request.why, "info")
    story = replace(story, requests=(*others, request)[-KEPT_REQUESTS:])
    if outcome == "refused":
        why = f": {request.why}" if request.why else ""
        return _line(story, event.step, "✖", f"{request.verb or 'a command'} refused{why}", "warning")
    if outcome == "applied" and request.verb in REVISING:
        story = replace(story, revision=request.id)
    if outcome == "applied" and request.verb not in {"rescue", "checkpoint"}:
        return _line(story, event.step, _VERB_GLYPHS.get(request.verb, "▸"), f"{request.verb} applied", "info")
    return story


_VERB_GLYPHS: Final = {"pause": "‖", "resume": "▸", "hold": "◼", "stop": "◼", "undo-overrides": "↺"}


def _rescue(story: Story, event: Event) -> Story:
    identity, name = _word(event.fields, "id"), event.fields.get("tick")
    rescue = story.rescue
    if rescue is None or (rescue.id != identity and name == "held") or (rescue.is_over and name == "held"):
        rescue = Rescue(identity)
        story = replace(story, rescues=story.rescues + 1)
    if name == "failed":
        why = _word(event.fields, "why")
        failed = replace(story, rescue=replace(rescue, failed=why or "no reason given"))
        return _line(failed, event.step, "✖", f"rescue failed: {why or 'no reason given'}", "critical")
    if name == "done":
        story = replace(story, rescue=replace(rescue, done_step=event.step))
        return _line(story, event.step, "✓", "rescue complete, warm-up over", "ok", mark="event")
    if name not in TICKS:
        return story
    tick = Tick(name, event.step, event.fields)
    ticks = (*(t for t in rescue.ticks if t.name != name), tick)
    story = replace(story, rescue=replace(rescue, ticks=ticks))
    if name == "restored":
        back = tick.whole("to_step")
        words = "rescued: initial weights restored" if tick.fields.get("proven") is False else (
            f"rescued: back to the weights of step {steps(back)}" if back is not None else "rescued")
        return _line(story, event.step, "◐", words, "info", mark="rollback", word="rolled back")
    return story


def _override(story: Story, event: Event) -> Story:
    scale = event.number("lr_scale")
    now = Overrides(1.0 if scale is None else scale, event.number("clip"), event.number("warmup_from"),
                    event.whole("warmup_steps"))
    if now.words == story.overrides.words:
        return replace(story, overrides=now)
    text = f"overrides: {now.words}" if now.any else "overrides undone"
    return _line(replace(story, overrides=now), event.step, "↺", text, "info")


def _rollback(story: Story, event: Event) -> Story:
    back = event.whole("to_step")
    if back is None or (story.rescue is not None and not story.rescue.is_over):
        return story   # a rescue tells it itself
    return _line(story, event.step, "◐", f"rolled back to the weights of step {steps(back)}", "info", mark="rollback",
                 word="rolled back")


def _healthy(story: Story, event: Event) -> Story:
    step = event.whole("snapshot_step")
    if step is None:
        return story
    told = replace(story, healthy=tuple(sorted({*story.healthy, step}))[-KEPT_HEALTHY:])
    lines = told.lines
    if lines and lines[-1].glyph == "◆" and lines[-1].text == "healthy snapshot":
        told = replace(told, lines=lines[:-1])   # one line follows the newest: a diary, not a ticker
    return _line(told, step, "◆", "healthy snapshot", "ok", mark="snapshot")


def _void(story: Story, event: Event) -> Story:
    after = event.whole("after_step")
    return story if after is None else replace(story, healthy=tuple(s for s in story.healthy if s <= after))


def _checkpoint(story: Story, event: Event) -> Story:
    if event.fields.get("outcome") == "failed":
        return _line(story, event.step, "✖", f"checkpoint failed: {_word(event.fields, 'why')}", "warning")
    step = event.whole("snapshot_step")
    told = event.number("bytes")
    weight = f", {size(told)}" if told is not None and math.isfinite(told) else ""
    digest = _word(event.fields, "sha256")[:8]
    proof = f", sha256 {digest}" if digest else ""
    at = event.step if step is None else step
    return _line(replace(story, checkpoint=at), at, "▪", f"checkpoint on disk{weight}{proof}", "ok", mark="event")


def lowered(headline: str) -> str:
    """A headline within a sentence."""
    return headline[:1].lower() + headline[1:]


def _incident(story: Story, event: Event) -> Story:
    f = event.fields
    change, onset, headline = f.get("change"), event.whole("onset_step"), _word(f, "headline")
    if change == "opened":
        severity = f.get("severity")
        tone: Tone = severity if severity in ("info", "warning", "critical") else "warning"
        at = event.step if onset is None else onset
        return _line(story, at, BADGES[tone], lowered(headline), tone, is_incident=True)
    if change == "resolved":
        return _line(story, event.step, "●", f"over: {lowered(headline)}", "ok", is_incident=True)
    return story


def _note(story: Story, event: Event) -> Story:
    text = _word(event.fields, "text")
    return _line(story, event.step, "╷", text, "plain", mark="event") if text else story


def _label(story: Story, event: Event) -> Story:
    metric, text = _word(event.fields, "metric"), _word(event.fields, "text")
    if not metric or not text:
        return story
    name = METRICS[metric].label if metric in METRICS else metric
    labels = {**story.labels, metric: (_word(event.fields, "brief"), text)}
    return _line(replace(story, labels=labels), event.step, "╷", f"{name}: {text}")


def _autopsy(story: Story, event: Event) -> Story:
    found = Autopsy.parse(event.fields)
    if found is None:
        return story
    return _line(story, found.step, "✖", f"first non-finite: {clean(subject(found), LONGEST)}", "warning")


def _fault(story: Story, event: Event) -> Story:
    text = f"{_word(event.fields, 'part') or 'a part of tuimon'} switched itself off: {_word(event.fields, 'error')}"
    return _line(replace(story, faults=(*story.faults, text)[-8:]), event.step, "▲", text, "warning")


def _gap(story: Story, event: Event) -> Story:
    rows, events = max(0, event.whole("rows") or 0), max(0, event.whole("events") or 0)
    seconds, why = event.number("seconds"), _word(event.fields, "why")
    lasted = f" for {age(seconds)}" if seconds is not None and 1 <= seconds < math.inf else ""
    if not rows and not events:
        return _line(story, event.step, "●", f"{trouble(why)}{lasted}; nothing was lost", "info")
    said = unrecorded(rows, why, events)
    told = replace(story, missing=story.missing + rows)
    return _line(told, event.step, "▲", f"{said}{lasted}", "warning", mark="event", word=said)


def _end(story: Story, event: Event) -> Story:
    name = event.fields.get("state")
    state: State = name if name in ("finished", "stopped", "crashed") else "stopped"
    return replace(story, state=state, ended=True, error=_word(event.fields, "error"))


_TELL: Final[dict[str, Callable[[Story, Event], Story]]] = {
    "attempt": _attempt, "state": _state, "command": _command, "rescue": _rescue, "override": _override,
    "rollback": _rollback, "snapshot-healthy": _healthy, "snapshot-void": _void, "checkpoint": _checkpoint,
    "incident": _incident, "note": _note, "label": _label, "autopsy": _autopsy, "fault": _fault,
    "gap": _gap, "end": _end,
}


def tell(story: Story, event: Event) -> Story:
    """The story after one more event."""
    told = _TELL.get(event.kind)
    after = story if told is None else told(story, event)
    if after.lines and not after.lines[-1].time:
        line = replace(after.lines[-1], time=event.time, who=_who(after, event))
        after = replace(after, lines=(*after.lines[:-1], line))
    return replace(after, last_step=max(after.last_step, event.step))


def _who(story: Story, event: Event) -> str:
    """Who is behind an event: as it says itself, or as the command that it answers did."""
    asked = _word(event.fields, "id")
    return _origin(event.fields.get("who")) or next((r.who for r in story.requests if asked and r.id == asked), "")


def _origin(who: object) -> str:
    """"viewer, ada on node7 from 10.0.0.9"; as much of it as was said."""
    if not isinstance(who, Mapping):
        return ""
    user, host, client = (_word(who, name) for name in ("user", "host", "ssh"))
    person = " on ".join(part for part in (user, host) if part not in ("", "?")) + (f" from {client}" if client else "")
    return ", ".join(part for part in (_word(who, "origin"), person) if part)
