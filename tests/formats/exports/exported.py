"""Runs and logs for the tests of exports."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from tuimon.formats import Reading, read
from tuimon.formats.exports.export import Wish, export
from tuimon.formats.sources import only
from tuimon.record.chunk import Mark
from tuimon.record.events import EventWriter
from tuimon.record.liveness import identity
from tuimon.record.probes import ProbeEntry, ProbeRow
from tuimon.record.rundir import RunDir, RunInfo, prepare_run
from tuimon.record.segments import LogWriter, Row, TensorRow, WeightRow
from tuimon.record.tensors import TensorEntry

STARTED = 1_700_000_000.0
TENSORS = (
    TensorEntry("blocks.0.w.weight", (2, 2), "float32"), TensorEntry("blocks.0.w.bias", (2,), "float32"),
    TensorEntry("head.weight", (4,), "float32"),
)
PROBES = (ProbeEntry("blocks.0.attn", "attention_entropy"), ProbeEntry("", "logit_mean"))


def logged(path: Path, records: list[dict]) -> str:
    """Records as a log of another tool."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def again(path: str, to: str, target: Path, **wish) -> Reading:
    """Exported, and read back."""
    export(only(path), Wish(to, str(target), force=True, **wish))
    return read(target)


def same(one: Reading, other: Reading, kind: str = "csv") -> None:
    """The same steps, the same presence, the same values, those that are not finite included."""
    assert len(one.chunks) == len(other.chunks)
    for a, b in zip(one.chunks, other.chunks, strict=True):
        assert a.steps.tolist() == b.steps.tolist()
        np.testing.assert_array_equal(a.times, b.times)
        assert [(m.step, m.kind, m.fields) for m in a.marks] == [(m.step, m.kind, m.fields) for m in b.marks]
        assert set(a.columns) == set(b.columns)
        for name, values in a.columns.items():
            np.testing.assert_array_equal(a.present[name], b.present[name])
            with np.errstate(over="ignore"):
                wanted = values.astype(np.float32).astype(np.float64) if kind == "tfevents" else values
            np.testing.assert_array_equal(wanted[a.present[name]], b.columns[name][a.present[name]])
    assert one.context.tensor_names == other.context.tensor_names
    assert one.context.probes == other.context.probes
    for a, b in zip(one.chunks, other.chunks, strict=True):
        for name in ("steps", "grad", "update", "grad_seen"):
            np.testing.assert_array_equal(getattr(a.tensors, name), getattr(b.tensors, name))
        np.testing.assert_array_equal(a.weights.steps, b.weights.steps)
        np.testing.assert_array_equal(a.weights.values, b.weights.values)
        np.testing.assert_array_equal(a.probes.steps, b.probes.steps)
        np.testing.assert_array_equal(a.probes.seen, b.probes.seen)
        np.testing.assert_array_equal(a.probes.values[a.probes.seen], b.probes.values[b.probes.seen])


class Run:
    """A run that is being written."""

    def __init__(self, root: Path, name: str = "blind-owl") -> None:
        self.dir = RunDir(root / name)
        root.mkdir(exist_ok=True)
        prepare_run(self.dir)
        self.attempt = 0
        self.begin(0)

    def begin(self, from_step: int) -> None:
        """An attempt, by this process."""
        self.attempt += 1
        self.dir.write_info(RunInfo(
            "blind-owl", identity(), self.attempt, ("train.py", "--lr", "1e-3"), STARTED, model="GPT `2L`",
            total_steps=100, tensors=TENSORS, probes=PROBES,
        ))
        self.log = LogWriter(self.dir.metrics, attempt=self.attempt, from_step=from_step, tensors=3, probes=2)
        self.events = EventWriter(self.dir.events, self.attempt)

    def steps(self, first: int, last: int, **values: float) -> None:
        """Rows with a loss that tells step and attempt, a gradient norm at even steps, and what is given."""
        self.log.append([
            Row(step, STARTED + step, {"loss": step + self.attempt / 10, **({"grad_norm": 0.5} if step % 2 == 0 else {}), **values})
            for step in range(first, last + 1)
        ])

    def layers(self, step: int) -> None:
        """Norms and updates of three tensors, the last without a gradient and norm of its own, and two probes."""
        self.log.append([
            TensorRow(step, np.array([3, 4, math.nan], np.float32), np.array([True, True, False]), np.array([0.1, 0.1, 0.2], np.float32)),
            WeightRow(step, np.array([6, 8, math.nan], np.float32), np.array([True, True, False])),
            ProbeRow(step, np.array([0.75, -2], np.float32), np.array([True, True])),
        ])

    def mark(self, mark: Mark) -> None:
        """A break."""
        self.log.append([mark])

    def incident(self, step: int, **fields) -> None:
        """An event of the kind that the recording process writes."""
        self.events.append("incident", step, STARTED + step, {
            "rule": "loss-spike", "code": "T103", "severity": "warning", "change": "opened", "onset_step": step - 1,
            "layer": "blocks.0", "headline": "loss *spiked*", "why": "It is 9 times its usual.", **fields,
        })

    def end(self) -> None:
        """As a run that has come to its end."""
        self.events.append("end", 0, STARTED, {"state": "finished"})
