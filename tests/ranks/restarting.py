"""What torchrun starts and starts again: the last rank dies in the first round; `python restarting.py OUT`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import torch
import torch.distributed as dist
from torch import nn

import tuimon
from tuimon.record.rundir import RunDir


def is_on_disk(run: RunDir, rank: int) -> bool:
    """Whether a log of this process is there: one that is younger than it."""
    began = psutil.Process().create_time()
    return run.events_of(rank).exists() and any(
        log.stat().st_mtime > began for log in run.metrics.glob(f"r{rank}-*.tlog"))


def main(out: Path) -> None:
    rank, size, again = (int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"))
    # a file, for gloo may find addresses of the round before in the store of torchrun's own [one start of three]
    met = f"file://{out}/met-{os.environ['TORCHELASTIC_RUN_ID']}-{again}"
    dist.init_process_group("gloo", init_method=met, rank=rank, world_size=size)
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = tuimon.attach(model, opt)
    for step in range(1, 9):
        model(torch.randn(4, 3)).square().mean().backward()
        if step == 4 and not again and rank == dist.get_world_size() - 1:
            until = time.monotonic() + 60
            while not is_on_disk(RunDir(monitor.run_dir), rank) and time.monotonic() < until:
                time.sleep(0.01)   # what is not on the disk yet is lost with the process
            os._exit(7)
        opt.step()
        opt.zero_grad()
    monitor.close()
    (out / f"round-{again}-{rank}").write_text(str(monitor.run_dir))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
