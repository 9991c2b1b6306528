"""What ranks do that are told something: `python obeying.py PLACE NAME...` plays scenes, each on all ranks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import tuimon
from tests.ranks.measuring import ROWS, ddp, fsdp, net
from tuimon.control.commands import Command
from tuimon.control.spool import new_id, submit
from tuimon.instrument.ranks import meeting
from tuimon.instrument.stopping import TrainingStopped
from tuimon.record.events import EventReader
from tuimon.record.rundir import RunDir

LONGEST = 60.0
"""Seconds that a scene may take."""
ORDERS = 20
AGAIN = 300
ABSENT = 5
"""Seconds for which a rank is stopped: longer than the others wait for it."""


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
                "applied": [(e.text("verb"), e.step) for e in applied],
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


def early(rank: int, place: Path) -> Any:
    """Told something before the ranks have met."""
    play = Play(place)
    play.train()
    if rank == 0:
        play.send("hold")
        while not any(e.kind == "command" for e in play.events.poll()):
            time.sleep(0.001)
    for _ in range(8):   # fewer than it takes them to meet
        play.train()
    return play.close()


def seam(wrap: Callable[[nn.Module], nn.Module], *, clips: bool = False) -> Callable[[int, Path], Any]:
    """One order after the other, each on all ranks or on none."""

    def scene(_rank: int, place: Path) -> Any:
        play = Play(place, wrap, clips=clips)
        play.train_until(play.met)
        play.told("set-lr-scale", scale=0.5)
        play.told("rollback", step=7)
        play.told("rollback")
        play.told("checkpoint")
        play.told("set-clip", max_norm=0.5)
        for _ in range(3):
            play.train()
        play.told("rescue", warmup=2)
        play.told("undo-overrides")
        with contextlib.suppress(TrainingStopped):
            play.told("stop")
        return play.close()

    return scene


def held(rank: int, place: Path) -> Any:
    """Stands still on all ranks until it is resumed; obeys meanwhile."""
    play = Play(place)
    play.train_until(play.met)
    orders: list[tuple[str, dict[str, Any]]] = [
        ("hold", {}), ("set-lr-scale", {"scale": 0.5}), ("rollback", {}), ("resume", {})]
    play.train_while(Person(play, orders))
    return play.close()


def shuffled(rank: int, place: Path) -> Any:
    """Twenty orders at any time, of any kind, while ranks are late in turn."""
    play = Play(place, straggles=True)
    play.train_until(play.met)
    draw = random.Random(7)
    orders: list[tuple[str, dict[str, Any]]] = []
    while len(orders) < ORDERS:
        orders.append(draw.choice([
            ("set-lr-scale", {"scale": draw.choice((0.5, 1.0, 2.0))}), ("set-clip", {"max_norm": draw.choice((0.01, 1.0))}),
            ("rollback", {}), ("rescue", {"warmup": 3}), ("undo-overrides", {})]))
        if draw.random() < 0.2:
            orders += [(draw.choice(("hold", "pause")), {}), ("rollback", {}), ("resume", {})]
    play.train_while(Person(play, orders, draw))
    return play.close()


def partly(who: int) -> Callable[[int, Path], Any]:
    """Attached on one rank only."""

    def scene(rank: int, place: Path) -> Any:
        play = Play(place, attaches=rank == who)
        for _ in range(40):
            play.train()
        if who == 0:
            play.told("hold")
        return play.close()

    return scene


def late(rank: int, place: Path) -> Any:
    """Attached on all, on rank 1 two steps later."""
    play = Play(place, attaches=rank == 0)
    play.train()
    play.train()
    play.attach()
    for _ in range(20):
        play.train()
    play.told("hold")
    return play.close()


def uncoupled(rank: int, place: Path) -> Any:
    """Ranks that nothing holds together do not wait for each other, though one trains on while the other rests."""
    play = Play(place, lambda model: model)
    for _ in range(40 if rank else 4):
        play.train()
    dist.barrier()
    return play.close()


def lacking(rank: int, place: Path) -> Any:
    """Rank 1 has snapshots that cannot be put back, and then none."""
    play = Play(place)
    play.train_until(play.met)
    kept = play.monitor._ref()._snapshots  # whose memory fails
    if rank == 1:
        for slot in kept._slots:
            for name in slot.trained:
                slot.host.tensors[name].fill_(float("nan"))
    play.told("rollback")
    if rank == 1:
        kept.void_after(-1)
    play.told("rollback")
    play.told("set-lr-scale", scale=0.5)
    return play.close()


def brief(steps: int) -> Callable[[int, Path], Any]:
    """Over, on rank 0 two steps earlier, before, while or after the lane is built."""

    def scene(rank: int, place: Path) -> Any:
        play = Play(place)
        for step in range(steps):
            play.train()
            if rank == 0 and step == steps - 3:
                play.monitor.close()
        return play.close()

    return scene


def leaves(rank: int, place: Path) -> Any:
    """Closed on rank 1 in the midst of it: the other goes on, and does not wait."""
    play = Play(place)
    play.train_until(play.met)
    begun = time.monotonic()
    if rank == 1:
        play.monitor.close()
    for _ in range(6):
        play.train()
    play.told("hold")
    return {**play.close(), "seconds": time.monotonic() - begun}


def interrupted(rank: int, place: Path) -> Any:
    """Ctrl+C on rank 1 while all stand still: it gets through, and the other does not stand for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)   # not so where a shell started this beside others
    play = Play(place)
    play.train_until(play.met)
    if rank == 1:
        threading.Thread(target=_when_held, args=(play, signal.raise_signal, signal.SIGINT), daemon=True).start()
    begun = time.monotonic()
    play.told("hold")
    for _ in range(6):
        play.train()
    return {**play.close(), "caught": play.caught, "seconds": time.monotonic() - begun, "states": states(play)}


def guarded(rank: int, place: Path) -> Any:
    """Rank 0 finds by itself that all is lost, of data that another has; all stop."""
    play = Play(place, on_critical="stop")
    play.train_until(play.met)
    with contextlib.suppress(TrainingStopped):
        while time.monotonic() < play.until:
            play.train(float("nan") if rank == 1 else 1.0)
    return {**play.close(), "states": states(play)}


def dies(how: str, who: int, *, is_held: bool) -> Callable[[int, Path], Any]:
    """A rank is killed or stopped; what the others see. Those that a hang would keep say how long it took."""

    def scene(rank: int, place: Path) -> Any:
        meeting.TIMEOUT = meeting.STANDING = 2.0
        play = Play(place)
        play.train_until(play.met)
        if is_held:
            if rank == 0:
                play.send("hold")
            if rank == who:
                threading.Thread(target=_when_held, args=(play, _end_it, how), daemon=True).start()
        begun, error, first = time.monotonic(), "", play.step
        try:
            for _ in range(AGAIN):
                play.train()
                if rank == who and not is_held and play.step - first == 7:
                    _end_it(how)
        except RuntimeError as raised:
            error = str(raised)[:80]
        found = play.close()
        return {**found, "error": error, "seconds": time.monotonic() - begun, "states": states(play)}

    return scene


def _end_it(how: str) -> None:
    """Of this process."""
    if how == "stop":
        subprocess.Popen(["sh", "-c", f"sleep {ABSENT}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSTOP)


def _when_held(play: Play, what: Callable[[Any], Any], about: Any) -> None:
    while not play.is_held() and time.monotonic() < play.until:
        time.sleep(0.01)
    what(about)


SCENES: dict[str, Callable[[int, Path], Any]] = {
    "early": early, "seam-ddp": seam(ddp), "seam-fsdp": seam(fsdp), "seam-fsdp-clip": seam(fsdp, clips=True),
    "held": held, "shuffled": shuffled, "only-0": partly(0), "only-1": partly(1), "late": late, "uncoupled": uncoupled,
    **{f"brief-{steps}": brief(steps) for steps in range(1, 30)}, "leaves": leaves, "lacking": lacking, "interrupted": interrupted, "guarded": guarded,
    **{f"{how}-{who}{'-held' * is_held}": dies(how, who, is_held=is_held)
       for how in ("kill", "stop") for who in range(4) for is_held in (False, True)},
}


def main(place: Path, names: Iterable[str]) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    found: dict[str, Any] = {}
    for name in names:
        found[name] = SCENES[name](rank, place / name)
        (place / f"found-{rank}.json").write_text(json.dumps(found))
        if name.startswith("kill"):
            os._exit(0)   # the end of the group would wait for the one that was killed
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
