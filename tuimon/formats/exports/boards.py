"""An export as TensorBoard reads it: scalars; as texts, what a run is and what happened. Writes to what it is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import BinaryIO

from tuimon.formats.exports import wire
from tuimon.formats.exports.blocks import Block, Origin, Survey, facts
from tuimon.formats.exports.tables import spread
from tuimon.formats.exports.titles import titles
from tuimon.record.events import Event
from tuimon.record.plain import finite


class TfeventsSink:
    """One event file."""

    def __init__(self, stream: BinaryIO, survey: Survey, origin: Origin) -> None:
        self._stream, self._names = stream, titles(survey.names)
        self._board = Board()
        stream.write(wire.beginning(survey.first_time))
        stream.write(wire.text(survey.first_time, 0, "tuimon/run", as_markdown(facts(origin))))

    def write(self, block: Block, events: Sequence[Event]) -> None:
        """Rows, then what happened among them."""
        self._stream.write(self._board.rows(block, self._names) + b"".join(map(told, events)))

    def end(self, events: Sequence[Event]) -> None:
        """What happened behind the last row."""
        self._stream.write(b"".join(map(told, events)))


class Board:
    """What of a run stands in an event file so far."""

    def __init__(self, attempt: int = 0, step: int | None = None) -> None:
        """Attempt and step of the last row that stands in it; None: no row does."""
        self.attempt, self.step = attempt, step

    def rows(self, block: Block, names: dict[str, str]) -> bytes:
        """A block's records; before those of an attempt that goes back, the word that the later ones are void."""
        first = int(block.steps[0])
        back = self.step is not None and block.attempt != self.attempt and first <= self.step
        self.attempt, self.step = block.attempt, int(block.steps[-1])
        columns = {names.get(name, name): column for name, column in block.columns.items()}
        columns |= {f"{kind}/{layer}": spread(block, (kind, layer)) for kind, layer in block.layers}
        begins = wire.start(float(block.times[0]), first) if back else b""
        return begins + wire.scalars(block.steps, block.times, columns)


def told(event: Event) -> bytes:
    """What happened, as a text: incidents in words, everything else with its fields."""
    if event.kind == "incident":
        return wire.text(event.time, max(event.step, 0), "tuimon/incidents", incident(event))
    body = {"kind": event.kind, "attempt": event.attempt, **event.fields}
    return wire.text(event.time, max(event.step, 0), f"tuimon/events/{event.kind}", as_markdown(body))


def incident(event: Event) -> str:
    """One change of an incident as Markdown: how bad, what, since when, where, why."""
    onset, layer = event.whole("onset_step"), event.text("layer")
    when = f" since step {onset}" if onset is not None else ""
    where = f" in `{_code(layer)}`" if layer else ""
    change = f" ({_plain(event.text('change'))})" if event.text("change") else ""
    severity, headline = event.text("severity") or "incident", _plain(event.text("headline"))
    head = f"**{_plain(severity)}**{change}: {headline}{when}{where}"
    code = f"{event.text('code')} {event.text('rule')}".strip()
    return "\n\n".join(part for part in (head, _plain(event.text("why")), f"`{_code(code)}`" if code else "") if part)


def as_markdown(body: dict[str, object]) -> str:
    """Fields as a table; what stands in it is somebody else's and is shown as it is."""
    rows = []
    for key, value in body.items():
        words = value if isinstance(value, str) else json.dumps(finite(value), allow_nan=False)
        rows.append(f"| {_plain(str(key))} | `{_code(words)}` |")
    return "\n".join(["| | |", "|---|---|", *rows])


def _code(words: str) -> str:
    """Within backquotes, in one line of a table."""
    line = " ".join(words.replace("`", "'").replace("|", "\\|").split())
    return line[:2000] or " "


def _plain(words: str) -> str:
    """Text that Markdown leaves alone."""
    return "".join("\\" + c if c in "\\`*_{}[]<>#|" else c for c in " ".join(words.split()))[:4000]
