"""What is said before a run is deleted. Pure."""

from __future__ import annotations

from tuimon.diagnosis.figures import counted, size
from tuimon.record.merged import Host
from tuimon.viewer.lines import say
from tuimon.viewer.places.runs.model import Row, RunsView
from tuimon.viewer.questions import Question
from tuimon.viewer.text import clean


def refusal(row: Row, host: Host | None) -> str:
    """Why it is not even asked; "" where it is. Who deletes looks again. `host`: the other machine that it is on."""
    if why := barred(host):
        return why
    if not row.entry.is_read:
        return "it has not been read yet"
    if row.is_live:
        return f"it is alive ({row.entry.status.state}): end it first"
    return ""


def on(row: Row) -> str:
    """Where it is, if that is not here."""
    return f" on {row.entry.machine}" if row.entry.machine else ""


def barred(host: Host | None) -> str:
    """Why nothing may be written there; "" where it may. None: this machine."""
    if host is None:
        return ""
    if not host.control:
        return f"{host.name} is only looked at; tuimon watch --control lets it order"
    return "" if host.state == "live" else f"{host.name} is not reached now"


def ask_delete(row: Row, view: RunsView) -> Question:
    """What goes, how much it is, and that it stays gone."""
    entry = row.entry
    kept = entry.checkpoints
    parts = [f"its log of {counted(entry.status.step, 'step')}" if entry.status.step else "its log", "events, console"]
    lines = [
        say(f"{row.name}{on(row)}, {size(entry.size, binary=view.binary)}"),
        say(f"Gone for good: {', '.join(parts)}" + (", and your note." if row.note else ".")),
    ]
    if kept:
        lines.append(say(f"Also {counted(kept, 'checkpoint')}: nothing can be resumed from there any more.",
                         "warning"))
    if row.key == view.here:
        lines.append(say("It is the run that this panel shows; what was read stays on the screen.", "warning"))
    lines += [say(""), say(f"The directory is {clean(entry.key, 70)}.", "dim"),
              say("Links in it are removed, not followed.", "dim")]
    return Question("Delete this run?", tuple(lines), "keep it", "delete")
