"""Ranks that hold the same weights, or not: `python twins.py PLACE NAME...`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import tuimon
from tests.ranks.measuring import ROWS, ddp, fsdp, hsdp, net

STEPS = 80
APART = 45
"""The step before which the weights of the last rank are changed."""


def healthy(
    wrap: Callable[[nn.Module], nn.Module], *, micro: int = 1, clips: bool = False, kind: Any = torch.optim.AdamW,
    spoils: Callable[[nn.Module], None] | None = None,
) -> Callable[[int, Path], Any]:
    """Trains; `spoils` does something to the last rank alone."""

    def scene(rank: int, place: Path) -> Any:
        model = wrap(net())
        optimizer = kind(model.parameters(), lr=0.01)
        monitor = tuimon.attach(model, optimizer, run_dir=place)
        torch.manual_seed(rank)
        for step in range(STEPS):
            if step == APART and rank == dist.get_world_size() - 1 and spoils is not None:
                spoils(model)
            for i in range(micro):
                rests = isinstance(model, nn.parallel.DistributedDataParallel) and i < micro - 1
                with model.no_sync() if rests else contextlib.nullcontext():  # type: ignore[operator]
                    nn.functional.mse_loss(model(torch.randn(ROWS, 6)), torch.zeros(ROWS, 3)).backward()
            if clips:
                nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
            optimizer.zero_grad()
        monitor.close()
        return None

    return scene


@torch.no_grad()
def bit(model: nn.Module) -> None:
    """The last bit of one number."""
    for name, parameter in model.named_parameters():
        if name.endswith("first.weight"):
            flat = getattr(parameter, "_local_tensor", parameter).view(-1)
            flat[:1].view(torch.int32).bitwise_xor_(1)


SCENES: dict[str, Callable[[int, Path], Any]] = {
    "ddp": healthy(ddp), "ddp-accumulates-clips": healthy(ddp, micro=2, clips=True), "fsdp": healthy(fsdp),
    "hsdp": healthy(hsdp), "hsdp-clips": healthy(hsdp, clips=True), "ddp-sgd": healthy(ddp, kind=torch.optim.SGD),
    "ddp-bit": healthy(ddp, spoils=bit), "hsdp-bit": healthy(hsdp, spoils=bit),
}


def main(place: Path, names: list[str]) -> None:
    dist.init_process_group("gloo")
    found = {}
    for name in names:
        found[name] = SCENES[name](dist.get_rank(), place / name)
        dist.barrier()
    (place / f"found-{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
