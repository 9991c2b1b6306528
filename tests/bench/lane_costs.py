"""One rank of a world that trains with the lane and without it, in turn: `python lane_costs.py PLACE`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from tuimon.instrument.ranks.agreeing import WIDTH, Agreeing
from tuimon.instrument.ranks.lane import Lane
from tuimon.instrument.ranks.world import Board, World

STRETCH, PAIRS, SIZE = 20, 12, 512


def main(place: Path) -> None:
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(SIZE, SIZE), nn.ReLU(), nn.Linear(SIZE, SIZE)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data = torch.randn(128, SIZE)
    world = World(rank, size, rank, 0)
    agreeing = Agreeing(Lane(world, Board(world), WIDTH), Board(world), rank, size)
    spent: dict[bool, list[float]] = {True: [], False: []}
    meetings: list[float] = []

    def train(*, meets: bool) -> None:
        model(data).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if meets:
            begun = time.perf_counter()
            agreeing.meet(lambda _: "")
            meetings.append(time.perf_counter() - begun)

    for _ in range(60):
        train(meets=True)
    assert not agreeing.lane.why, agreeing.lane.why
    meetings.clear()
    for turn in range(2 * PAIRS):
        begun = time.perf_counter()
        for _ in range(STRETCH):
            train(meets=turn % 2 == 0)
        spent[turn % 2 == 0].append((time.perf_counter() - begun) / STRETCH)
    with_it, without = (statistics.median(spent[meets]) for meets in (True, False))
    pairs = [one / other for one, other in zip(spent[True], spent[False], strict=True)]
    (place / f"found-{rank}.json").write_text(json.dumps({
        "with": with_it, "without": without, "ratio": statistics.median(pairs), "meeting": statistics.median(meetings),
        "slowest": sorted(meetings)[int(0.99 * len(meetings))]}))
    agreeing.lane.leave()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
