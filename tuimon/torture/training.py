"""A real training, tiny and always the same: what is tortured. Knows torch; runs in a child of the nursery."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import tuimon
from tuimon.torture.faulty import FOR_EVER, FaultyOS, let_loose, slow
from tuimon.torture.ledger import Ledger

WIDTH = 16


def pair() -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model and what steps it: the same weights every time."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 32), nn.Tanh(), nn.Linear(32, WIDTH))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def batch(step: int) -> Tensor:
    """What the step of that number learns from."""
    return torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(step))


def update(model: nn.Module, optimizer: torch.optim.Optimizer, given: Tensor) -> float:
    """One step; its loss."""
    loss = (model(given) - given).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def train(job: Mapping[str, Any], ledger: Ledger) -> None:
    """Steps until as many are done as the job says, or it is told to stop; each goes into the ledger.

    The job: run (its directory), alone (unwatched), steps, pause (seconds after each), save (steps from one checkpoint
    to the next), disk (how it fails, see `_disk`), clock (steps from one jump to the next), workers (of a loader, and
    start: how they are started), wait (for a word before attaching), ignore (signals).
    """
    if "disk" in job:
        let_loose(_disk(job["disk"], ledger))
    for number in job.get("ignore", ()):
        signal.signal(number, signal.SIG_IGN)
    while job.get("wait") and ledger.is_held:
        time.sleep(0.002)
    model, optimizer = pair()
    with ExitStack() as at_end:
        monitor = None
        if not job.get("alone"):
            monitor = at_end.enter_context(tuimon.attach(
                model, optimizer, run_dir=job["run"], name="torture", detail="light"))
        try:
            for step, given in enumerate(_batches(job), 1):
                ledger.done(update(model, optimizer, given))
                if monitor is not None:
                    if job.get("save") and step % job["save"] == 0:
                        monitor.checkpoint()
                    if monitor.should_stop:
                        break
                if job.get("clock") and step % job["clock"] == 0:
                    _set_clock(86_400.0 if step // job["clock"] % 2 else -86_400.0)
                time.sleep(job.get("pause", 0.0))
        except tuimon.TrainingStopped:
            pass


class Batches(Dataset[Tensor]):
    """The batches of a job, for a loader with workers."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, i: int) -> Tensor:
        return batch(i + 1)


def _batches(job: Mapping[str, Any]) -> Iterator[Tensor]:
    if job.get("workers"):
        yield from DataLoader(Batches(job["steps"]), batch_size=None, num_workers=job["workers"],
                              multiprocessing_context=job.get("start", "fork"))
    else:
        yield from map(batch, range(1, job["steps"] + 1))


def _disk(how: Mapping[str, Any], ledger: Ledger) -> FaultyOS:
    """The disk that a job asks for.

    fail (the N-th operation), last (how many of them, 0: for ever), error, short, strange (an error that no disk has,
    counted), seconds (each takes so long), hang (each hangs while the ledger is held).
    """
    first = how.get("fail", FOR_EVER)
    last = first + how["last"] if how.get("last") else FOR_EVER

    def hang() -> None:
        if ledger.is_held:
            ledger.count()
        while ledger.is_held:
            time.sleep(0.002)

    if how.get("strange"):
        return Strange(first, ledger)
    before = hang if how.get("hang") else slow(how["seconds"]) if how.get("seconds") else None
    return FaultyOS(range(first, last), how.get("error", 28), short=bool(how.get("short")), before=before)


class Strange(FaultyOS):
    """Its N-th operation raises what nobody expects of a disk."""

    def __init__(self, at: int, ledger: Ledger) -> None:
        super().__init__((at,))
        self._ledger = ledger

    def _raised(self) -> Exception:  # type: ignore[override]  # that is the point
        self._ledger.count()
        return MemoryError("strange")


_HONEST = time.time


def _set_clock(by: float) -> None:
    """The wall clock is set, as this process sees it."""
    time.time = lambda: _HONEST() + by
