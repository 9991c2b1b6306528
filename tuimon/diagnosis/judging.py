"""Judging without a screen: chunks in, diagnosis out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Diagnosis, RunContext
from tuimon.diagnosis.notebook import NotebookEngine
from tuimon.record.chunk import Chunk


def judge(chunks: Iterable[Chunk], context: RunContext, rules: Literal["tuimon", "notebook"] = "tuimon") -> Diagnosis:
    """The diagnosis of a whole run, by our rules or the notebook's."""
    engine: Engine | NotebookEngine = NotebookEngine(context) if rules == "notebook" else Engine(context)
    for chunk in chunks:
        engine.feed(chunk)
    return engine.diagnosis
