"""What a script may hand over and train: every odd number and every odd parameter. Knows torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

import tuimon
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader
from tuimon.torture.ledger import Ledger
from tuimon.torture.looking import read
from tuimon.torture.training import batch, pair, update


class Stubborn:
    """What a script may hand over by mistake: it raises whatever it is asked."""

    def item(self) -> NoReturn:
        """As a tensor of several numbers does."""
        raise RuntimeError("no item")

    def __float__(self) -> NoReturn:
        raise RuntimeError("no float")

    def __repr__(self) -> NoReturn:
        raise RuntimeError("no repr")

    __str__ = __repr__


def taken() -> dict[str, Any]:
    """Odd, and numbers all the same."""
    return {
        "nan": float("nan"), "inf": float("inf"), "overflown": torch.tensor(1e6).half(), "huge": 1e308,
        "one": torch.ones(1), "one_one": torch.ones(1, 1), "live": torch.ones((), requires_grad=True),
        "bf16": torch.tensor(0.5, dtype=torch.bfloat16), "truth": torch.tensor(True), "numpy": np.float32(0.5),
        "array": np.array(0.5), "long_array": np.array([0.5]), "decimal": Decimal("0.5"), "fraction": Fraction(1, 2),
        "f8": torch.tensor(0.5).to(torch.float8_e4m3fn),
        "quantised": torch.quantize_per_tensor(torch.ones(1), 0.1, 0, torch.qint8),
        "large": 2**63 - 1, "sparse": torch.tensor([0.5]).to_sparse(),
    }


def refused() -> dict[str, Any]:
    """Never a number, whatever float() would make of it."""
    return {
        "pair": torch.ones(2), "empty": torch.ones(0), "complex": torch.tensor(1j), "complex_host": 1j,
        "meta": torch.ones((), device="meta"), "none": None, "text": "1.5", "bytes": b"1.5", "mapping": {},
        "list": [1.0], "beyond": 10**400, "stubborn": Stubborn(), "array_of_two": np.ones(2),
        "complex_numpy": np.complex64(1j), "complex_array": np.ones(1, np.complex64), "words": np.array(["1.5"]),
    }


def odd_values(job: Mapping[str, Any], ledger: Ledger) -> None:
    """Whatever is logged, training goes on; what is no number is left out and said once a name."""
    model, optimizer = pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about kinds that it is about to leave
        good, bad = taken(), refused()
    with warnings.catch_warnings(record=True) as caught, tuimon.attach(model, optimizer, run_dir=job["run"]) as monitor:
        warnings.simplefilter("always")
        for step in range(1, 4):
            ledger.done(update(model, optimizer, batch(step)))
            monitor.log(**good, **bad)
            monitor.note(Stubborn())  # type: ignore[arg-type]  # that is the point
    said = [str(w.message) for w in caught if " wants one number" in str(w.message)]
    assert len(said) == len(bad), said
    row = _row(job, 2)
    assert set(good) <= set(row), set(good) - set(row)
    assert not set(bad) & set(row), set(bad) & set(row)
    assert np.isnan(row["nan"]), "NaN became something else"
    assert np.isinf(row["inf"])
    assert np.isinf(row["overflown"])


class Odd(nn.Module):
    """Every kind of parameter that a foreach over gradients could stumble over."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8, sparse=True)
        self.core = nn.Linear(8, 8)
        self.never_used = nn.Linear(3, 3)
        self.nothing = nn.Parameter(torch.empty(0))
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
        self.number = nn.Parameter(torch.tensor(1.0))
        self.wave = nn.Parameter(torch.ones(3, dtype=torch.complex64))

    def forward(self, words: Tensor) -> Tensor:
        """One number."""
        core = self.core(self.words(words)).square().mean()
        total: Tensor = core * self.number + self.wave.abs().sum() * 1e-3 + self.nothing.sum()
        return total


def odd_parameters(job: Mapping[str, Any], ledger: Ledger) -> None:
    """Sparse gradients, none at all, no element, complex, frozen: measured or passed over, trained all the same."""
    for run, closes in ((job["run"], True), (None, False)):
        torch.manual_seed(0)
        model = Odd()
        sparse = torch.optim.SparseAdam(model.words.parameters())
        dense = torch.optim.SGD((p for n, p in model.named_parameters() if "words" not in n), lr=1e-2)
        monitor = tuimon.attach(model, sparse, dense, run_dir=run, detail="full") if closes else None
        for step in range(20):
            loss = model(torch.randint(0, 50, (4, 5), generator=torch.Generator().manual_seed(step)))
            loss.backward()
            sparse.step()  # type: ignore[no-untyped-call]  # untyped in torch
            dense.step()
            sparse.zero_grad()
            dense.zero_grad()
            if monitor is not None:
                ledger.done(float(loss.detach()))
            else:
                assert float(loss.detach()) == ledger.loss(step + 1), "watching has changed the training"
        if monitor is not None:
            monitor.close()
    assert list(read(RunDir(Path(job["run"]))).losses) == list(range(1, 21))
    assert _faults(job) == [], _faults(job)
    assert np.isfinite(_row(job, 5)["grad_norm"])


def many_tensors(job: Mapping[str, Any], ledger: Ledger) -> None:
    """Ten thousand parameters."""
    model = nn.ParameterList([nn.Parameter(torch.full((4,), 1.0)) for _ in range(10_000)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with tuimon.attach(model, optimizer, run_dir=job["run"]):
        for _ in range(job.get("steps_of_many", 30)):
            loss = torch.stack(list(model)).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            optimizer.step()
            optimizer.zero_grad()
            ledger.done(float(loss.detach()))
    assert list(read(RunDir(Path(job["run"]))).losses) == list(range(1, ledger.steps + 1))
    assert _faults(job) == [], _faults(job)


def raising(job: Mapping[str, Any], ledger: Ledger) -> None:
    """The script's own errors, in its hooks, its model and its batches, reach the script and nobody else."""
    model, optimizer = pair()
    errors = 0

    def sometimes(*_: Any) -> None:
        if ledger.steps % 7 == 3 and errors < 5:
            raise LookupError("of the script's own")

    with tuimon.attach(model, optimizer, run_dir=job["run"]) as monitor:
        optimizer.register_step_post_hook(sometimes)
        model.register_forward_hook(sometimes)
        next(model.parameters()).register_hook(sometimes)  # type: ignore[no-untyped-call]  # untyped in torch
        step = 0
        while ledger.steps < 40:
            step += 1
            try:
                loss = update(model, optimizer, batch(step))
            except LookupError:
                errors += 1
                optimizer.zero_grad()
                continue
            ledger.done(loss)
        assert errors == 5
        monitor.log(alive=1.0)
    assert len(read(RunDir(Path(job["run"]))).losses) >= 40 - errors
    assert _faults(job) == [], _faults(job)


def _row(job: Mapping[str, Any], step: int) -> dict[str, float]:
    found = {}
    for chunk in LogReader(RunDir(Path(job["run"])).metrics).poll():
        for name in chunk.columns:
            steps, values = chunk.measured(name)
            if step in steps:
                found[name] = float(values[steps == step][0])
    return found


def _faults(job: Mapping[str, Any]) -> list[str]:
    events = map(json.loads, RunDir(Path(job["run"])).events.read_text().splitlines())
    return [f"{event['part']}: {event['error']}" for event in events if event["kind"] == "fault"]
