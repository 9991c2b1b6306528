"""Makes one recording: builds the training of a kind, trains it with tuimon attached, reads its log back.

The same losses for the same kind and seed, on one machine; times and what is measured by the clock differ.
"""

from __future__ import annotations

import math
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

import tuimon
from tests.zoo.kinds import KINDS, Kind
from tests.zoo.recording import Label, Recording
from tests.zoo.training import Training, go
from tuimon.formats.read import read
from tuimon.record.chunk import Chunk

SMOOTH = 5
"""Losses whose median is compared, so that one batch does not decide."""
LEAST = 16
"""Losses that must stay high for a run to be lost."""
NOTHING_YET = 10
"""Steps after which there is something to lose."""


def make(kind: str, seed: int, run_root: Path, kinds: Mapping[str, Kind] = KINDS) -> Recording:
    """Really train it; the run is recorded in `run_root`, in a directory of its own, and stays there."""
    which = kinds[kind]
    run_dir = run_root / f"{kind}-{seed}"
    shutil.rmtree(run_dir, ignore_errors=True)
    with _alone():
        training = _trained(which, seed, run_dir)
    found = read(run_dir)
    losses = np.concatenate([chunk.measured("loss")[1] for chunk in found.chunks]).tolist()
    if training.begins is not None:
        training.onset = training.begins(found.chunks)
    label = Label(kind, which.healthy, which.causes, which.also, training.onset, training.layer or which.layer,
                  which.catastrophic, None if which.healthy else lost(losses, training.onset or 1))
    chunks = tuple(slowed(chunk, training.clock) for chunk in found.chunks)
    return Recording(label, seed, training.model_name, training.optimizer_name, found.context, chunks)


def slowed(chunk: Chunk, clock: float) -> Chunk:
    """The same stretch of a run whose every second took `clock` seconds: a model that many times as large."""
    if clock == 1.0 or not len(chunk):
        return chunk
    times = {"step_time": clock, "data_time": clock, "throughput": 1 / clock}
    columns = {name: values * times.get(name, 1.0) for name, values in chunk.columns.items()}
    return replace(chunk, times=chunk.times[0] + clock * (chunk.times - chunk.times[0]), columns=columns)


def _trained(kind: Kind, seed: int, run_dir: Path) -> Training:
    training = _built(kind, seed)
    if training.interrupted is None:
        go(training, run_dir)
        return training
    go(training, run_dir, checkpoints="auto")
    again = _built(kind, seed)
    again.interrupted, again.optimizers = None, again.optimize(again.model)
    where = tuimon.resume(run_dir, again.model, *again.optimizers)
    go(again, run_dir, where)
    return again


def _built(kind: Kind, seed: int) -> Training:
    torch.manual_seed(zlib.crc32(f"{kind.name} {seed}".encode()))
    return kind.build(seed)


@contextmanager
def _alone() -> Iterator[None]:
    """One thread, nothing said, and the caller's randomness as it was."""
    threads, quiet = torch.get_num_threads(), os.environ.get("TUIMON_QUIET")
    torch.set_num_threads(1)
    os.environ["TUIMON_QUIET"] = "1"
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is planted is warned of, by torch and by tuimon
            yield
    finally:
        torch.set_num_threads(threads)
        os.environ.pop("TUIMON_QUIET") if quiet is None else os.environ.update(TUIMON_QUIET=quiet)


def lost(losses: Sequence[float], onset: int) -> int | None:
    """The step from which on the run is lost, if nobody acts.

    That is the first of two losses in a row that are no numbers; or from which on the loss stays above twice its level
    before the fault, or above where training began. In its first steps a run has nothing to lose.
    """
    finite = [math.isfinite(loss) for loss in losses]
    broken = next((i for i in range(len(losses) - 1) if not finite[i] and not finite[i + 1]), None)
    curve = [loss if ok else math.inf for loss, ok in zip(losses, finite, strict=True)]
    limit = 1.05 * (curve[0] if onset == 1 else median(curve[:3]))
    if onset > 2 * SMOOTH:
        limit = min(limit, 2 * median(curve[max(0, onset - 33):onset - 1]))
    low = (i for i in reversed(range(onset - 1, len(curve)))
           if median(curve[max(onset - 1, i - SMOOTH + 1):i + 1]) <= limit)
    left: int | None = next(low, onset - 2) + 1
    if left is not None and left + LEAST > len(curve):
        left = None
    found = min((i for i in (broken, left) if i is not None), default=None)
    return None if found is None else max(found + 1, NOTHING_YET if onset == 1 else 1)
