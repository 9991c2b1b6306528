"""What changed between two frames, in whole sentences: for screen readers, logs, and terminals that draw nothing. Pure.

Nothing is said where nothing changed, and nothing twice. Numbers that move with every step are no change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tuimon.control.states import State
from tuimon.diagnosis.figures import counted, number
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.story import EventLine, lowered
from tuimon.viewer.lines import text_of
from tuimon.viewer.text import clean
from tuimon.viewer.verdict import since
from tuimon.viewer.views import CrewView, Frame, IncidentView

LONGEST: Final = 600
"""Characters of one sentence."""
_SAID: Final = {"info": "Note", "warning": "Warning", "critical": "Critical"}
_STATES: Final[dict[State, str]] = {
    "starting": "The run is starting.",
    "running": "The run is running.",
    "paused": "The run is paused at step {at}; everything stays in memory.",
    "held": "The run is held at step {at}: it stands still, with everything in memory, until somebody decides.",
    "stopping": "The run has been asked to stop, and leaves at its next step boundary.",
    "finished": "The run has finished after {steps}.",
    "stopped": "The run was stopped, as asked, at step {at}.",
    "crashed": "The run has crashed at step {at}.",
    "died": "The run has died at step {at}.",
}
_WORDS: Final = str.maketrans({"→": "to", "–": "-", "…": "...", "×": "x", "±": "+-", "≥": ">=", "≤": "<="})
"""What speech and old terminals stumble over."""


def sentences(before: Frame | None, frame: Frame) -> tuple[str, ...]:
    """What to say about `frame` after `before`; None: it is the first that is told."""
    told = _beginning(frame) if before is None else _changes(before, frame)
    return tuple(clean(sentence.translate(_WORDS), LONGEST) for sentence in told)


def progress(frame: Frame) -> str:
    """Where a run stands, in one sentence."""
    header = frame.header
    total = f" of {steps(header.total)}" if header.total else ""
    loss = "no loss measured" if frame.facts.loss is None else f"loss {number(frame.facts.loss)}"
    left = f", {header.eta} to go" if header.eta else ""
    return f"Step {steps(frame.facts.step)}{total}, {loss}{left}."


def _beginning(frame: Frame) -> Iterator[str]:
    header = frame.header
    what = header.what.removesuffix(frame.crew.words).removesuffix(" · ")
    what = f", {what.replace(' · ', ' on ')}" if what else ""
    ranks = f", on {frame.crew.world} ranks" if frame.crew.world > 1 else ""
    yield f"This is {header.name}{what}{ranks}."
    yield from _standing(frame)
    yield from _ranks(CrewView(frame.crew.world), frame)
    if frame.is_live and frame.facts.step:
        yield progress(frame)
    for view in frame.incidents:
        if view.incident.state == "open":
            yield _opened(view)
    if frame.is_live and frame.facts.step and not _worried(frame):
        yield "Nothing is wrong as far as can be told."
    if frame.problem:
        yield _problem(frame)


def _changes(before: Frame, frame: Frame) -> Iterator[str]:
    begins = bool(frame.facts.step and not before.facts.step)
    if begins:
        total = f" of {steps(frame.header.total)}" if frame.header.total else ""
        yield f"Training has begun: step {steps(frame.facts.step)}{total}."
    if _state(frame) != _state(before) and frame.state != before.state and not (begins and frame.state == "running"):
        yield from _standing(frame)
    for line in _new_lines(before, frame):
        yield f"At step {steps(line.step)}: {_ended(line.text)}"
    yield from _incidents(before, frame)
    yield from _ranks(before.crew, frame)
    if _worried(before) and not _worried(frame) and frame.is_live:
        yield f"Nothing is wrong any more, now at step {steps(frame.facts.step)}."
    if frame.is_live:
        yield from _silence(before, frame)
    if frame.problem and frame.problem != before.problem:
        yield _problem(frame)


def _problem(frame: Frame) -> str:
    advice = "; nothing more comes until this is ended and begun again" if frame.way in ("refused", "gone") else ""
    return _sentence(f"{frame.problem}{advice}")


def _standing(frame: Frame) -> Iterator[str]:
    """Its state; of a run that is over also its last numbers and what is left of it. Incidents are told apart."""
    yield _state(frame)
    if frame.is_live:
        return
    for line in frame.verdict[1:3]:
        words = text_of(line)
        for view in frame.incidents:
            words = words.removesuffix(f" {since(view.incident)}")
        yield _sentence(words)


def _state(frame: Frame) -> str:
    at = steps(frame.facts.step)
    if frame.state in ("crashed", "died", "finished", "stopped") and not frame.facts.step:
        return f"The run {'has ' if frame.state != 'stopped' else 'was '}{frame.state} before any training step."
    if frame.state in ("starting", "running") and not frame.facts.step:
        return "The run has not trained yet."
    return _STATES[frame.state].format(at=at, steps=counted(frame.facts.step, "step"))


def _ranks(before: CrewView, frame: Frame) -> Iterator[str]:
    """Which ranks are not there, and who holds the others up."""
    crew = frame.crew
    if crew.lost != before.lost:
        yield (f"Of {crew.world} ranks not all are there: {crew.lost}." if crew.lost else
               f"All {crew.world} ranks are there again.")
    if crew.slowest != before.slowest:
        yield _sentence(crew.slow or "no rank holds the others up any more")


def _new_lines(before: Frame, frame: Frame) -> list[EventLine]:
    """What the diary has gained; healthy snapshots come by the minute and are no news."""
    known = Counter((line.step, line.text) for line in before.events)
    new = []
    for line in frame.events:
        if line.is_incident or line.mark == "snapshot":
            continue
        named = (line.step, line.text)
        if known[named]:
            known[named] -= 1
        else:
            new.append(line)
    return new


def _incidents(before: Frame, frame: Frame) -> Iterator[str]:
    known = {view.key: view.incident for view in before.incidents}
    for view in frame.incidents:
        was, now = known.get(view.key), view.incident
        if was is None and now.state == "open":
            yield _opened(view)
        elif was is None:
            yield f"{_headline(view)}, and over at step {steps(now.resolved_step or now.detected_step)}."
        elif was.state == "open" and now.state == "resolved":
            yield f"Over: {lowered(now.headline)}, at step {steps(now.resolved_step or now.detected_step)}."
        elif was.severity != now.severity:
            yield f"{_SAID[now.severity]} now: {lowered(now.headline)}. {_ended(now.why)}".rstrip()


def _headline(view: IncidentView) -> str:
    incident = view.incident
    where = f", worst in {incident.layer}" if incident.layer else ""
    return f"{_SAID[incident.severity]}: {lowered(incident.headline)} since step {steps(incident.onset_step)}{where}"


def _opened(view: IncidentView) -> str:
    """A sign is named after its cause, and has no advice of its own."""
    incident = view.incident
    if view.depth:
        return f"{_headline(view)}, another sign of it."
    advice = " ".join(_sentence(one) for one in incident.next[:2])
    sure = f"Confidence: {incident.confidence}."
    return " ".join(part for part in (f"{_headline(view)}.", _ended(incident.why), sure, advice) if part)


def _worried(frame: Frame) -> bool:
    return any(view.incident.state == "open" and view.incident.severity != "info" for view in frame.incidents)


def _silence(before: Frame, frame: Frame) -> Iterator[str]:
    """A slow step is no news; a minute without any is."""
    was, now = _is_silent(before), _is_silent(frame)
    if now and not was:
        yield f"Nothing new has been written for a minute, since step {steps(frame.facts.step)}."
    if was and not now and frame.state == before.state:
        yield f"It writes again, now at step {steps(frame.facts.step)}."


def _is_silent(frame: Frame) -> bool:
    status = frame.header.status
    return ("stale" in status or "silent" in status) and not status.endswith(" s")


def _sentence(text: str) -> str:
    return _ended(text[:1].upper() + text[1:])


def _ended(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
