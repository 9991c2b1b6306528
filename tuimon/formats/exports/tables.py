"""Exports as lines of text: CSV with a column a metric, JSON lines with what was measured. Writes to what it is given.

    csv     step,time[,attempt],loss,...     an empty cell where nothing was measured; nan, inf, -inf; attempt only
                                             where there are several; layers as columns "layer_grad_norm/blocks.0"
    jsonl   {"step": 1, "time": ..., "loss": 2.5, "layer_grad_norm": {"blocks.0": 0.1}}
                                             "NaN", "Infinity", "-Infinity"; an event is
            {"step": 9, "time": ..., "attempt": 1, "tuimon_event": {"kind": "snapshot", ...}}

Numbers are written so that reading them gives the same ones: metrics as doubles, layers as singles.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import BinaryIO, Final

import numpy as np

from tuimon.formats.exports.blocks import Block, Origin, Survey
from tuimon.formats.exports.layerwise import LayerName
from tuimon.formats.exports.patterns import ABSENT, FINITE, JSON_WORDS, WORDS, Cells, cells_of, lines_of
from tuimon.formats.exports.titles import titles
from tuimon.formats.table import EVENT
from tuimon.record.chunk import Bools, Floats
from tuimon.record.events import Event
from tuimon.record.plain import finite

_DOUBLE: Final = "%r"
_SINGLE: Final = "%.9g"
"""As many digits as tell one single from the next."""


class CsvSink:
    """One table with a header. Events are not for it."""

    def __init__(self, stream: BinaryIO, survey: Survey, _origin: Origin) -> None:
        self._stream, self._survey = stream, survey
        self._attempts = survey.attempts > 1
        named = titles([*survey.names, *(f"{kind}/{layer}" for kind, layer in survey.layers)])
        self._forms = [_DOUBLE] * len(survey.names) + [_SINGLE] * len(survey.layers)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(
            ["step", "time", *(["attempt"] if self._attempts else []), *named.values()])
        stream.write(text.getvalue().encode())

    def write(self, block: Block, _events: Sequence[Event]) -> None:
        """Rows."""
        middle = f",{block.attempt}" if self._attempts else ""

        def template(pattern: tuple[int, ...]) -> str:
            words = [form if code == FINITE else WORDS.get(code, "")
                     for form, code in zip(self._forms, pattern[2:], strict=True)]
            return f"%d,{_DOUBLE if pattern[1] else ''}{middle},{','.join(words)}\n"

        self._stream.write("".join(lines_of(_columns(block, self._survey), template)).encode())

    def end(self, _events: Sequence[Event]) -> None:
        """Nothing follows the rows."""


class JsonLinesSink:
    """One object a row, events in their places."""

    def __init__(self, stream: BinaryIO, survey: Survey, _origin: Origin) -> None:
        self._stream, self._survey = stream, survey
        self._attempts = survey.attempts > 1
        title = titles(survey.names)
        self._keys = [_text(title[name]) for name in survey.names]

    def write(self, block: Block, events: Sequence[Event]) -> None:
        """Rows, each followed by what happened when it was the last."""
        ending = f', "attempt": {block.attempt}' if self._attempts else ""

        def template(pattern: tuple[int, ...]) -> str:
            metrics, layers = pattern[2:2 + len(self._keys)], pattern[2 + len(self._keys):]
            parts = [f"{key}: {_word(code, _DOUBLE)}"
                     for key, code in zip(self._keys, metrics, strict=True) if code != ABSENT]
            time = f', "time": {_DOUBLE}' if pattern[1] else ""
            said = ", ".join([f'"step": %d{time}{ending}', *parts, *self._nested(layers)])
            return f"{{{said}}}\n"

        lines = lines_of(_columns(block, self._survey), template)
        after = np.searchsorted(block.steps, [event.step for event in events], side="right").tolist()
        places = [at if event.attempt == block.attempt else 0 for at, event in zip(after, events, strict=True)]
        for at, i in sorted(zip(places, range(len(events)), strict=True), reverse=True):
            lines.insert(at, _event(events[i]))
        self._stream.write("".join(lines).encode())

    def end(self, events: Sequence[Event]) -> None:
        """What happened behind the last row."""
        self._stream.write("".join(map(_event, events)).encode())

    def _nested(self, codes: tuple[int, ...]) -> list[str]:
        """Objects {layer: value}, one for each thing that is measured of layers."""
        found: dict[str, list[str]] = {}
        for (kind, layer), code in zip(self._survey.layers, codes, strict=True):
            if code != ABSENT:
                found.setdefault(kind, []).append(f"{_text(layer)}: {_word(code, _SINGLE)}")
        return [f"{_text(kind)}: {{{', '.join(parts)}}}" for kind, parts in found.items()]


def _columns(block: Block, survey: Survey) -> list[Cells]:
    """Steps, times, metrics and layers of a block, in the order of the survey."""
    n = len(block)
    nothing = Cells(np.zeros(n), np.zeros(n, np.uint8))
    found = [Cells(block.steps, np.full(n, FINITE, np.uint8)), cells_of(block.times, block.times != 0)]
    found += [cells_of(*block.columns[name]) if name in block.columns else nothing for name in survey.names]
    found += [cells_of(*spread(block, key)) if key in block.layers else nothing for key in survey.layers]
    return found


def spread(block: Block, key: LayerName) -> tuple[Floats, Bools]:
    """One layer as a column (n,) of the block."""
    at, values = block.layers[key]
    full, present = np.full(len(block), np.nan), np.zeros(len(block), np.bool_)
    full[at], present[at] = values, True
    return full, present


def _text(name: str) -> str:
    """A JSON string within a % template."""
    return json.dumps(name).replace("%", "%%")


def _word(code: int, form: str) -> str:
    return form if code == FINITE else JSON_WORDS[code]


def _event(event: Event) -> str:
    told = {"kind": event.kind, **event.fields}
    body = {"step": event.step, "time": event.time, "attempt": event.attempt, EVENT: told}
    return json.dumps(finite(body), allow_nan=False) + "\n"
