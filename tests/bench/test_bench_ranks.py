"""What reading a run of many ranks costs, and the lane by which they agree. Figures for docs/ranks.md; nothing is asserted of time."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.bench import lane_costs
from tests.ranks.launching import launch
from tuimon.record.ranks import RanksReader
from tuimon.record.segments import LogWriter, Row

NAMES = ("loss", "grad_square", "param_square", "update_square", "lr", "step_time", "data_time", "tokens", "memory",
         "own_time")
SECONDS = 3
STEPS = 10
"""In a second of training."""


@pytest.mark.bench
@pytest.mark.parametrize("world", [64, 512, 4096])
def test_cost_of_reading_ranks(world: int, tmp_path: Path) -> None:
    reader, spent, rows, largest = RanksReader(tmp_path, world), list[float](), 0, 0
    for second in range(SECONDS):
        steps = range(second * STEPS + 1, (second + 1) * STEPS + 1)
        made = [Row(s, float(s), dict.fromkeys(NAMES, 1.0)) for s in steps]
        for rank in range(world):
            # opened for each stretch, so that no more than one file is open: a segment a second, which is rare in life
            log = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0, rank=rank, world=world)
            log.append(made)
            log.close()
        if second == 1:
            tracemalloc.start()
        begun, before = time.perf_counter(), reader.consumed
        while chunks := reader.poll():
            rows += sum(map(len, chunks))
        spent.append(time.perf_counter() - begun)
        largest = reader.consumed - before
        if second == 1:
            memory = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert rows == SECONDS * STEPS
    size = int(np.sum([p.stat().st_size for p in tmp_path.iterdir()]))
    print(f"\n{world} ranks: {spent[-1]:.3f} s per second of training, {largest / 1e6:.2f} MB/s in {world} files, "
          f"{memory / 1e6:.1f} MB at the peak, logs {size / SECONDS * 3600 / 1e9:.2f} GB an hour")


@pytest.mark.bench
@pytest.mark.parametrize("size", [2, 4, 8])
def test_cost_of_the_lane(size: int, tmp_path: Path) -> None:
    """Of a step by step training on the CPU, its ranks all on this machine; ratio of stretches with it and without."""
    found = launch(Path(lane_costs.__file__), tmp_path, (), size)[0]
    print(f"\n{size} ranks: a step of {1e3 * found['without']:.2f} ms, {found['ratio']:.3f} of that with the lane; "
          f"a meeting {1e6 * found['meeting']:.0f} us, one in a hundred {1e3 * found['slowest']:.1f} ms")
