"""What tests of frameworks read and say: events, commands by the spool, weights."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tuimon
from tuimon.control.commands import Command
from tuimon.control.spool import new_id, submit

DEADLINE = 30.0
VOCABULARY, LENGTH = 32, 12


def sentences(count: int, seed: int = 1) -> list[dict[str, torch.Tensor]]:
    """Random tokens, each predictable from the one before."""
    starts = torch.randint(0, VOCABULARY, (count, 1), generator=torch.Generator().manual_seed(seed))
    tokens = (starts + torch.arange(LENGTH)) % VOCABULARY
    return [{"input_ids": row, "labels": row.clone()} for row in tokens]


def events(run_dir: Path, kind: str = "") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines() if line]
    return [event for event in found if kind in ("", event["kind"])]


def ending_of(run_dir: Path) -> tuple[str, str | None]:
    end = events(run_dir, "end")[-1]
    return end["state"], end["error"]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.005)


def tell(monitor: tuimon.Monitor, verb: str, **args: Any) -> None:
    """Put a command into the spool, as a viewer does; back when the run will see it at its next step boundary."""
    submit(monitor.run_dir / "commands", Command(new_id(), verb, args, issued=time.time()))  # type: ignore[arg-type]
    wait_for(lambda: bool(monitor._recorder.mailbox._letters))


def outcomes(run_dir: Path, verb: str) -> list[str]:
    return [e["outcome"] for e in events(run_dir, "command") if e["verb"] == verb]


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
