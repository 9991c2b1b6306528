"""Pairs of processes that meet on a lane: `python lanes.py RANK SIZE STORE OUT` runs all scenarios of one rank."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuimon.instrument.ranks.lane import Lane


def stands(lane: Lane, rank: int, together: Callable[[str], None]) -> dict[str, str]:
    """Rank 1 is late, then says nothing while all stand still."""
    for step in range(1, 60):
        lane.meet([0, 0])
        if step < 30:
            together(f"late/{step}")
    lane.tick([0, 0])
    for _ in range(4):   # more than a rank may run ahead
        if rank:
            time.sleep(0.5)   # evaluates alone, say
        lane.meet([0, 0])
    late = lane.why
    lane.tick([0, 0])
    if rank == 0:
        lane.tick([0, 0])
    together("stood")
    return {"late": late, "stood": lane.why}


def main(rank: int, size: int, store: str, out: str) -> None:
    import torch.distributed as dist

    from tuimon.instrument.ranks.agreeing import WIDTH, Agreeing
    from tuimon.instrument.ranks.lane import Lane
    from tuimon.instrument.ranks.world import Board, World

    shared = dist.FileStore(store, size)
    found: dict[str, object] = {}

    def lane(serial: int, width: int = 2, timeout: float = 5, standing: float = 5) -> Lane:
        world = World(rank, size, rank, serial)
        return Lane(world, Board(world, shared), width, timeout, standing)

    def together(name: str) -> None:
        shared.set(f"{name}/{rank}", "1")
        shared.wait([f"{name}/{k}" for k in range(size)])

    first = lane(0)
    heard = []
    for step in range(1, 200):
        heard.append(first.meet([step, rank]))
        if step < 30:
            together(f"step/{step}")  # training's own collectives
    found["heard"], found["why"] = [h for h in heard if h], first.why
    found["tick"] = first.tick([1.0, rank])

    agreeing = Agreeing(lane(2, WIDTH), Board(World(rank, size, rank, 2), shared), rank, size)
    orders: list[tuple[int, str, str]] = []
    for step in range(1, 120):
        if rank == 0 and step in {50, 51, 70}:
            agreeing.propose(f"order {step}")
        settled = agreeing.meet(lambda text: "no snapshot" if rank == 1 and text == "order 51" else "")
        if settled is not None:
            orders.append((step, settled.text, settled.why))
        if step < 30:
            together(f"agreeing/{step}")
    found["orders"] = orders

    found |= stands(lane(3, timeout=1000, standing=0.5), rank, together)

    partly = lane(1)
    if rank == 0:
        for _ in range(40):
            partly.meet([0, 0])
    found["partly"] = partly.why
    together("last")
    Path(out).write_text(json.dumps(found))
    if rank == size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + 30
    while not first.is_down and time.monotonic() < until:
        first.meet([0, 0])
    found["lost"] = first.why
    Path(out).write_text(json.dumps(found))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
