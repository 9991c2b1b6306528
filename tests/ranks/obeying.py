"""What ranks do that are told something: `python obeying.py PLACE NAME...` plays scenes, each on all ranks."""

from __future__ import annotations

import contextlib
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

import torch.distributed as dist
from torch import nn

from tests.ranks.measuring import ddp, fsdp
from tests.ranks.playing import Person, Play, states
from tuimon.instrument import attach
from tuimon.instrument.ranks import meeting
from tuimon.instrument.ranks.world import World
from tuimon.instrument.stopping import TrainingStopped
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir

ORDERS = 20
AGAIN = 300
ABSENT = 5
"""Seconds for which a rank is stopped: longer than the others wait for it."""


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


def unstarted(rank: int, place: Path) -> Any:
    """Attached before torch.distributed was started: each rank is a run of its own."""
    attach.here, was = World, attach.here
    play = Play(place / str(rank))
    attach.here = was
    play.train()
    play.told("set-lr-scale", scale=0.5)
    return play.close()


def unwrapped(rank: int, place: Path) -> Any:
    """Attached before the model was wrapped."""
    play = Play(place, lambda model: model)
    play.model = ddp(play.model)
    for _ in range(40):
        play.train()
    play.told("hold")
    found = play.close()
    measured = {name for chunk in LogReader(RunDir(place).metrics, rank=0).poll() for name in chunk.columns}
    return {**found, "measured": sorted(measured)}


def teams(rank: int, place: Path) -> Any:
    """Each rank is a group of its own, and the one trains on while the other rests."""
    groups = [dist.new_group([0]), dist.new_group([1])]
    play = Play(place, lambda model: nn.parallel.DistributedDataParallel(model, process_group=groups[rank]))
    for _ in range(40):   # together, so that a lane would come about
        play.train()
        dist.barrier()
    for _ in range(20 * rank):
        play.train()
    dist.barrier()
    play.told("hold")
    return play.close()


def trial(rank: int, place: Path) -> Any:
    """Rank 1 tries something out by itself, with the optimizer that is watched."""
    play = Play(place)
    play.train_until(play.met)
    whole, begun = play.model, time.monotonic()
    if rank:
        play.model = whole.module
        for _ in range(5):
            play.train()
        play.model = whole
    for _ in range(5):
        play.train()
    play.told("hold")
    return {**play.close(), "seconds": time.monotonic() - begun}


def joined(rank: int, place: Path) -> Any:
    """Attached before training runs into Join, which rank 1 leaves later: it has more data."""
    play = Play(place)
    play.train_until(play.met)
    begun = time.monotonic()
    with play.model.join():
        for _ in range(20 + 10 * rank):
            play.train()
    play.told("hold")
    return {**play.close(), "seconds": time.monotonic() - begun}


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
    "held": held, "shuffled": shuffled, "only-0": partly(0), "only-1": partly(1), "late": late, "uncoupled": uncoupled, "joined": joined, "trial": trial, "teams": teams, "unstarted": unstarted, "unwrapped": unwrapped,
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
