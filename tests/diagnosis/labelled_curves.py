"""The labelled curves beside the repository, and synthetic ones where those have none."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Diagnosis, RunContext
from tuimon.formats import chunk_of, layers_of
from tuimon.record.chunk import Chunk, TensorRows


def curves() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        found = parent / "shared" / "data" / "curves"
        if found.is_dir():
            return found
    return None


CURVES = curves()
needs_curves = pytest.mark.skipif(CURVES is None, reason="the labelled curves do not lie beside this repository")


def lines(path: Path) -> list[dict]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


@cache
def labels() -> dict[str, dict]:
    return json.loads((CURVES / "tinygpt" / "labels.json").read_text())


@cache
def tiny(name: str) -> tuple[Chunk, RunContext]:
    records = lines(CURVES / "tinygpt" / f"{name}.jsonl.gz")
    return chunk_of(records), layers_of(records)


def scalar_runs(file: str) -> list[tuple[str, str, Chunk]]:
    found = []
    for run in lines(CURVES / f"{file}.jsonl.gz"):
        first = run.get("step0", 0)
        steps = run.get("step") or range(first, first + len(run["loss"]))
        norms = run.get("grad_norm") or [None] * len(run["loss"])
        records = [{"step": s, "loss": a, "grad_norm": g} for s, a, g in zip(steps, run["loss"], norms, strict=True)]
        found.append((run["name"], run["outcome"], chunk_of(records)))
    return found


def judged(chunk: Chunk, context: RunContext | None = None) -> Diagnosis:
    engine = Engine(context or RunContext())
    engine.feed(chunk)
    return engine.diagnosis


def of_rule(diagnosis: Diagnosis, slug: str):
    return [i for i in diagnosis.incidents if i.rule == slug]


def calm(n: int, seed: int = 0, *, layers: int = 0, **changes) -> tuple[dict[str, list], TensorRows | None]:
    """A run that learns well: falling loss with noise, steady gradients, a good update ratio."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    columns = {
        "loss": 2.0 + 3.0 * np.exp(-t / 80) + rng.normal(0, 0.03, n),
        "grad_norm": np.exp(rng.normal(0, 0.1, n)),
        "update_ratio": 2e-3 * np.exp(rng.normal(0, 0.05, n)),
        "lr": np.full(n, 3e-3),
    }
    columns |= changes
    tensors = None
    if layers:
        steps = np.arange(10, n + 1, 10)
        grad = np.exp(rng.normal(0, 0.1, (len(steps), layers))).astype(np.float32)
        tensors = TensorRows(steps, grad, np.full_like(grad, np.nan), np.ones_like(grad, np.bool_))
    return {k: list(map(float, v)) for k, v in columns.items()}, tensors


def layered(n: int) -> RunContext:
    return RunContext(
        vocab_size=150, optimizer="AdamW", eps=1e-8, clips=False, tensor_names=tuple(f"blocks.{i}.weight" for i in range(n)),
        tensor_sizes=(100,) * n, layers={f"blocks.{i}": (i,) for i in range(n)},
    )
