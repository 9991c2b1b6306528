"""One run on all ranks, and the person who watches it: what the scenes of many ranks are played with."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import tuimon
from tests.ranks.measuring import ROWS, ddp, net
from tuimon.control.commands import Command
from tuimon.control.spool import new_id, submit
from tuimon.record.events import EventReader
from tuimon.record.rundir import RunDir

LONGEST = 60.0
"""Seconds that a scene may take."""


class Play:
    """One run on all ranks, and on rank 0 the person who watches it."""

    def __init__(
        self, place: Path, wrap: Callable[[nn.Module], nn.Module] = ddp, *, clips: bool = False, straggles: bool = False,
        attaches: bool = True, **options: Any,
    ) -> None:
        self.rank, self.place, self._clips, self._options = dist.get_rank(), place, clips, options
        self._late = random.Random(self.rank) if straggles else None
        self.model = wrap(net())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.source = torch.Generator().manual_seed(self.rank)
        self.monitor: Any = None
        if attaches:
            self.attach()
        self.events = EventReader(place / "events.jsonl")
        self.seen: list[Any] = []
        self.answers: dict[str, str] = {}
        """Of rank 0: by id, what became of a command, and why."""
        self.asked: list[tuple[str, str]] = []
        """Ids and verbs, in turn."""
        self.step, self.until = 0, time.monotonic() + LONGEST
        self.caught = 0
        """How often Ctrl+C got through."""
        self._going = torch.ones(())

    def attach(self) -> None:
        if self.monitor is None:
            self.monitor = tuimon.attach(self.model, self.optimizer, run_dir=self.place, **self._options)

    def train(self, scale: float = 1.0) -> None:
        """One step of all ranks."""
        if self._late is not None and self._late.random() < 0.2:
            time.sleep(self._late.random() * 0.02)
        given = torch.randn(ROWS, 6, generator=self.source) * scale
        nn.functional.mse_loss(self.model(given), torch.zeros(ROWS, 3)).backward()
        if self._clips:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    def send(self, verb: str, **args: Any) -> str:
        command = Command(new_id(), verb, args, issued=time.time())  # type: ignore[arg-type]
        self.asked.append((command.id, verb))
        submit(RunDir(self.place).commands, command)
        return command.id

    def look(self) -> dict[str, str]:
        """On rank 0: what became of commands so far."""
        self.seen += self.events.poll()
        self.answers = {e.text("id"): f"{e.text('outcome')} {e.text('why')}".strip() for e in self.seen
                        if e.kind == "command" and e.text("outcome") in ("refused", "applied")}
        return self.answers

    def agreed(self, wish: Callable[[], bool]) -> bool:
        """Whether rank 0 wishes to go on, told to all by training's own means."""
        if self.rank == 0:
            self._going.fill_(wish())
        dist.broadcast(self._going, 0)
        return bool(self._going)

    def train_until(self, is_so: Callable[[], bool]) -> None:
        """Of rank 0."""
        while self.agreed(lambda: not is_so() and time.monotonic() < self.until):
            try:
                self.train()
            except KeyboardInterrupt:   # after the optimizer's step
                self.caught += 1

    def told(self, verb: str, **args: Any) -> None:
        """Train until a command has been answered."""
        asked = self.send(verb, **args) if self.rank == 0 else ""
        self.train_until(lambda: asked in self.look())

    def weights(self) -> str:
        """A digest of all this rank holds."""
        total = hashlib.sha256()
        state = [v for p in self.model.parameters() for v in self.optimizer.state[p].values() if isinstance(v, Tensor)]
        for tensor in [*self.model.parameters(), *state]:
            total.update(getattr(tensor, "to_local", lambda t=tensor: t)().detach().numpy().tobytes())
        return total.hexdigest()

    def met(self) -> bool:
        """Whether the ranks have met: on rank 0, a snapshot was taken behind the first."""
        self.look()
        return sum(e.kind == "snapshot" for e in self.seen) > 1

    def train_while(self, person: Person) -> None:
        """Until they have said and seen all."""
        self.train_until(lambda: not person.is_alive())
        for _ in range(5):
            self.train()

    def is_held(self) -> bool:
        return " held " in f" {self.monitor!r} "

    def close(self) -> dict[str, Any]:
        if self.monitor is not None:
            self.monitor.close()
        self.look()
        applied = [e for e in EventReader(RunDir(self.place).events_of(self.rank)).poll() if e.kind == "command"
                   and e.text("outcome") == "applied" and e.text("verb") != "checkpoint"]
        return {"step": self.step, "weights": self.weights(),
                "answers": [(verb, self.answers.get(asked, "")) for asked, verb in self.asked],
                "notes": [e.text("text") for e in self.seen if e.kind == "note"], "applied": [(e.text("verb"), e.step) for e in applied],
                "norms": [e.fields["grad_norm"] for e in self.seen if e.kind == "rescue" and e.text("tick") == "held"]}


class Person(threading.Thread):
    """Of rank 0: says one thing after the other, each once the one before was answered. On other ranks nobody."""

    def __init__(self, play: Play, orders: list[tuple[str, dict[str, Any]]], draw: random.Random | None = None) -> None:
        super().__init__(daemon=True)
        self._play, self._orders, self._draw = play, orders, draw
        if play.rank == 0:
            self.start()

    def run(self) -> None:
        play = self._play
        for verb, args in self._orders:
            if self._draw is not None:
                time.sleep(self._draw.random() * 0.05)
            asked = play.send(verb, **args)
            while asked not in play.look() and time.monotonic() < play.until:
                time.sleep(0.005)


def states(play: Play) -> list[str]:
    """That a rank was in, with the reason."""
    return [f"{e.text('state')}: {e.text('why')}" for e in EventReader(RunDir(play.place).events_of(play.rank)).poll()
            if e.kind == "state"]
