"""Training scripts that can be interrupted and gone on with: python resumable.py PLACE CASE... prints the losses of each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tuimon

TOTAL = 14
CASES = ("schedule", "scaler", "bf16, compiled", "two optimizers, reordered", "stateful loader")


class Numbers(torch.utils.data.Dataset[Any]):
    """24 samples, each drawn with what is random in a data set: an augmentation."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.linspace(0, 1, 6) * (1 + i) + 0.01 * torch.rand(6)


def loader_of(case: str) -> Any:
    if case == "stateful loader":
        from torchdata.stateful_dataloader import StatefulDataLoader

        return StatefulDataLoader(Numbers(), batch_size=3, shuffle=True)
    return None


def train(run_dir: Path, case: str, *, resumed: bool, upto: int = TOTAL, at: int = 0) -> list[float]:
    """The losses; a checkpoint is asked for at step `at`, by the script itself."""
    torch.set_num_threads(1)
    torch.manual_seed(99 if resumed else 1)
    dtype = torch.bfloat16 if case.startswith("bf16") else torch.float32
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 6)).to(dtype)
    model: nn.Module = torch.compile(net, backend="aot_eager") if case.startswith("bf16") else net  # type: ignore[assignment]
    parts = [list(net[0].parameters()), [p for m in net[1:] for p in m.parameters()]]
    if case.startswith("two"):
        parts = [list(reversed(p)) if resumed else p for p in parts]
        opts: list[torch.optim.Optimizer] = [torch.optim.SGD(parts[0], 0.05, momentum=0.9), torch.optim.AdamW(parts[1], 1e-2)]
    else:
        opts = [torch.optim.AdamW(net.parameters(), 1e-2)]
    schedules = [torch.optim.lr_scheduler.OneCycleLR(o, 1e-2, total_steps=40) for o in opts]
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=4, enabled=case == "scaler")
    loader = loader_of(case)
    found = tuimon.resume(run_dir, model, *opts) if resumed else None
    mine = run_dir.with_name("second") if resumed else run_dir  # the process of the first one lives: it is the test
    monitor = tuimon.attach(model, *opts, run_dir=mine, resumed=found)
    step, losses = found.step if found else 0, []
    with monitor:
        if not resumed:
            monitor.probe.overrides.set(lr_scale=0.5, clip=None if case.startswith("two") else 0.5, warmup_from=0, warmup_steps=20)
        while step < upto:
            for x in loader if loader is not None else (torch.rand(4, 6) for _ in range(5)):
                if step == upto:
                    break
                if step + 1 == at:
                    monitor.checkpoint()
                loss = (model(x.to(dtype)) - x.to(dtype)).float().square().mean()
                scaler.scale(loss).backward()
                for opt in opts:
                    scaler.step(opt)
                scaler.update()
                for opt, schedule in zip(opts, schedules, strict=True):
                    opt.zero_grad()
                    schedule.step()
                losses.append(loss.item())
                step += 1
    return losses


if __name__ == "__main__":
    print(json.dumps({case: train(Path(sys.argv[1]) / case / "run", case, resumed=True) for case in sys.argv[2:]}))
