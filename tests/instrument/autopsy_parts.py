"""Models that can be told to go wrong at a step, and a loop in which they do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import training_loops as loops
from torch import Tensor, nn

import tuimon
from tuimon.diagnosis.autopsy.model import Autopsy

BAD = 30
"""The step that comes out non-finite."""


class Between(nn.Module):
    """Something between an embedding and a head that can be told to go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.is_wrong = False

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Exponential(Between):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.exp(x * (1e3 if self.is_wrong else 1e-2)))


class Root(Between):
    """Finite, with a derivative that is not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(self.inner(x).abs() * (0.0 if self.is_wrong else 1.0))


class StdNorm(Between):
    """A norm without an eps."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.ones_like(x) if self.is_wrong else x
        return self.inner((x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True))


class MaskedScores(nn.Module):
    """-inf where nobody may look: what comes out of it is not finite, and is all right."""

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask


class Attention(Between):
    """In which a row may look at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = MaskedScores()

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
        if self.is_wrong:
            mask[2] = -torch.inf
        return torch.softmax(self.scores(self.inner(x) @ x.transpose(1, 2), mask), -1) @ x


class Net(nn.Module):
    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.embed, self.middle = nn.Embedding(loops.VOCABULARY, 8), middle
        self.memory = nn.LSTM(8, 8, batch_first=True)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(8, loops.VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.drop(self.memory(self.middle(self.embed(tokens)))[0]))


def autopsies(run_dir: Path) -> list[Autopsy]:
    lines = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert not [line for line in lines if line["kind"] == "fault"]
    found = [Autopsy.parse(line) for line in lines if line["kind"] == "autopsy"]
    assert None not in found
    return found  # type: ignore[return-value]


def train(model: nn.Module, run_dir: Path | None, *, steps: int = BAD + 3, loss_of: Callable[..., Tensor] | None = None,
          before: Callable[[int], Any] = lambda i: None, lr: float = 1e-3) -> list[Autopsy]:
    """A plain loop in which `before` may do something at each step, counted from 1."""
    opt = torch.optim.AdamW(model.parameters(), lr=lr)
    monitor = None if run_dir is None else tuimon.attach(model, opt, run_dir=run_dir)
    for i in range(1, steps + 1):
        before(i)
        tokens = loops.batch(i)
        loss = loops.loss_of(model, tokens) if loss_of is None else loss_of(model, tokens, i)
        loss.backward()
        opt.step()
        opt.zero_grad()
    if monitor is None:
        return []
    monitor.close()
    return autopsies(monitor.run_dir)


def going_wrong(middle: Any) -> Callable[[int], None]:
    def before(i: int) -> None:
        middle.is_wrong = i >= BAD

    return before
