"""The labelled curves beside the repository as recordings, so that they are scored as the zoo is. Touches the disk.

Where a curve's label has no onset, the whole run is as it is from its first row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from tests.diagnosis import labelled_curves
from tests.zoo.recording import Label, Recording
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk

UPSET: Final = ("early-divergence", "divergence", "exploding-gradients", "learning-rate-too-high", "non-finite")
CAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "divergence": UPSET,
    "loss-spike": ("lr-schedule-fault", "loss-spike", "learning-rate-too-high", "exploding-gradients"),
    "no-learning": ("no-learning", "plateau"),
}
"""What counts as the right first cause, where it is more than the label itself. The spike was planted by a learning
rate that jumped thirtyfold."""
LARGE_START: Final = 12.0
"""Nats at the first step beyond which a GPT of this vocabulary had an oversized output scale (ln V = 10.8)."""


def recordings() -> Iterator[Recording]:
    """All of them. FileNotFoundError where they are not at hand."""
    if labelled_curves.CURVES is None:
        raise FileNotFoundError("the labelled curves do not lie beside this repository (shared/data/curves)")
    yield from _tiny(labelled_curves.CURVES)
    yield from _pretraining()
    yield from _algoperf()


def _tiny(_: Path) -> Iterator[Recording]:
    healthy = 0
    for name, entry in labelled_curves.labels().items():
        chunk, context = labelled_curves.tiny(name)
        if entry["label"] == "healthy":
            yield _recording(_healthy("tinygpt"), healthy, chunk, context)
            healthy += 1
        else:
            onset = entry["onset"]
            label = _sick(f"tinygpt {name}", entry["label"], chunk, int(chunk.steps[0]) if onset is None else onset)
            yield _recording(label, 0, chunk, context)


def _pretraining() -> Iterator[Recording]:
    for i, (_, _, chunk) in enumerate(labelled_curves.scalar_runs("gpt_healthy")):
        also = ("bad-init",) if chunk.columns["loss"][0] > LARGE_START else ()
        yield _recording(_healthy("gpt pre-training", also), i, chunk)


def _algoperf() -> Iterator[Recording]:
    for i, (_, outcome, chunk) in enumerate(labelled_curves.scalar_runs("algoperf")):
        if outcome == "healthy":
            label = _healthy("algoperf")
        else:
            label = _sick(f"algoperf {outcome}", {"diverged": "divergence", "stuck": "no-learning"}[outcome], chunk, None)
        yield _recording(label, i, chunk)


def _healthy(kind: str, also: tuple[str, ...] = ()) -> Label:
    return Label(kind, True, (), also, None, None, False, None)


def _sick(kind: str, slug: str, chunk: Chunk, onset: int | None) -> Label:
    lost = _lost(chunk) if slug == "divergence" else None
    return Label(kind, False, CAUSES.get(slug, (slug,)), (), onset, None, slug == "divergence", lost)


def _lost(chunk: Chunk) -> int:
    """First step at which the loss is no number; the last step where it always is one."""
    steps, loss = chunk.measured("loss")
    bad = np.flatnonzero(~np.isfinite(loss))
    return int(steps[bad[0]] if len(bad) else steps[-1])


def _recording(label: Label, seed: int, chunk: Chunk, context: RunContext | None = None) -> Recording:
    return Recording(label, seed, "curve", "", context or RunContext(), (chunk,))
