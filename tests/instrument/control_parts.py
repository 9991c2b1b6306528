"""Commands to a real attached run, as a viewer gives them: through its spool, each at the boundary a test chooses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import tuimon
from tuimon.control.commands import Command, Who
from tuimon.control.spool import new_id, submit
from tuimon.instrument.writer import Pace

DEADLINE = 30.0
FAST = Pace(turn=0.002, poll=0.005, beat=0.05, sync=5.0)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"waited in vain for {what}"
        threading.Event().wait(0.001)
    return found


def events(run_dir: Path) -> list[dict[str, Any]]:
    lines = (run_dir / "events.jsonl").read_text().splitlines() if (run_dir / "events.jsonl").exists() else []
    return [json.loads(line) for line in lines]


class Viewer:
    """The other end of an attached run."""

    def __init__(self, monitor: tuimon.Monitor) -> None:
        self.monitor, self.run_dir = monitor, monitor.run_dir
        monitor._recorder._writer._pace = FAST

    def ask(self, verb: str, **args: Any) -> str:
        """Have a command wait at the next step boundary; its id."""
        command = Command(new_id(), verb, args, issued=time.time(), who=Who("ada", origin="viewer"))  # type: ignore[arg-type]
        submit(self.run_dir / "commands", command)
        wait_for(lambda: any(getattr(letter, "id", "") == command.id
                             for letter in tuple(self.monitor._recorder.mailbox._letters)), f"delivery of {verb}")
        return command.id

    def send(self, verb: str, **args: Any) -> str:
        """The same without waiting: for a run that stands still."""
        command = Command(new_id(), verb, args, issued=time.time(), who=Who("ada", origin="viewer"))  # type: ignore[arg-type]
        submit(self.run_dir / "commands", command)
        return command.id

    def seen(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        return [e for e in events(self.run_dir) if e["kind"] == kind and all(e.get(k) == v for k, v in fields.items())]

    def wait(self, kind: str, **fields: Any) -> dict[str, Any]:
        return wait_for(lambda: self.seen(kind, **fields), f"{kind} {fields}")[-1]

    def outcome(self, command: str) -> dict[str, Any]:
        """What became of a command."""
        return wait_for(lambda: [e for e in self.seen("command", id=command) if e["outcome"] in ("applied", "refused")],
                        "an answer")[0]


def memory(*objects: Any) -> dict[str, int]:
    """Where the tensors of models and optimizers lie."""
    found = {}
    for i, thing in enumerate(objects):
        named = thing.state_dict(keep_vars=True) if isinstance(thing, torch.nn.Module) else {
            f"{j}.{k}": v for j, entries in enumerate(thing.state.values()) for k, v in entries.items()}
        found.update({f"{i}.{k}": v.data_ptr() for k, v in named.items() if isinstance(v, Tensor)})
    return found
