"""What each rank of a small world does: `python measuring.py PLACE NAME...` trains every case bare and watched.

Also, by `truth`, what one process gets that trains the same model on all ranks' data.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import tuimon

STEPS, MICRO, ROWS = 6, 2, 8
CLIP = 0.05


@dataclass(frozen=True)
class Case:
    """One way to train on several ranks."""

    wrap: Callable[[nn.Module], nn.Module]
    clips: bool = False
    accumulates: str = ""
    """"": one batch a step; "no_sync", "unsynced", "synced": two, and what is said for the first."""
    attached: str = "wrapped"
    optimizer: str = "SGD"


class Net(nn.Module):
    """Sizes that two ranks cannot share evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 11), nn.LayerNorm(11), nn.Linear(11, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(x))))


def ddp(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model)


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(ddp(model), backend="eager")  # type: ignore[return-value]


def fsdp(model: nn.Module) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    fully_shard(model.first)  # type: ignore[attr-defined]
    fully_shard(model)
    return model


def hsdp(model: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    shape = (2, dist.get_world_size() // 2)
    fully_shard(model, mesh=init_device_mesh("cpu", shape, mesh_dim_names=("replicate", "shard")))
    return model


CASES = {
    "ddp": Case(ddp),
    "ddp-clip": Case(ddp, clips=True),
    "ddp-adam": Case(ddp, optimizer="AdamW"),
    "ddp-no-sync": Case(ddp, accumulates="no_sync"),
    "ddp-no-sync-clip": Case(ddp, accumulates="no_sync", clips=True),
    "ddp-compiled": Case(compiled),
    "ddp-inner": Case(ddp, attached="inner"),
    "fsdp": Case(fsdp),
    "fsdp-clip": Case(fsdp, clips=True),
    "fsdp-synced": Case(fsdp, accumulates="synced"),
    "fsdp-unsynced": Case(fsdp, accumulates="unsynced"),
    "hsdp": Case(hsdp),
    "hsdp-clip": Case(hsdp, clips=True),
}


def net() -> nn.Module:
    torch.manual_seed(1)
    return Net()


def batches(rank: int, micro: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """For each step, its micro-batches."""
    source = torch.Generator().manual_seed(100 + rank)
    for _ in range(STEPS):
        yield [(torch.randn(ROWS, 6, generator=source), torch.randn(ROWS, 3, generator=source)) for _ in range(micro)]


def optimizer(case: Case, model: nn.Module) -> torch.optim.Optimizer:
    if case.optimizer == "AdamW":
        return torch.optim.AdamW(model.parameters(), lr=0.01, eps=1e-3)
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train(case: Case, rank: int, *, watched: Path | None) -> tuple[list[float], list[Any]]:
    """The losses of this rank and its weights in the end, exactly."""
    model = net()
    inner = model
    model = case.wrap(model)
    opt = optimizer(case, model)
    monitor = None
    if watched is not None:
        monitor = tuimon.attach(inner if case.attached == "inner" else model, opt, run_dir=watched, detail="full")
    losses = []
    for micros in batches(rank, MICRO if case.accumulates else 1):
        for i, (x, y) in enumerate(micros):
            is_last = i == len(micros) - 1
            if case.accumulates in ("unsynced", "synced"):
                model.set_requires_gradient_sync(is_last or case.accumulates == "synced")  # type: ignore[operator]
            rests = case.accumulates == "no_sync" and not is_last
            with model.no_sync() if rests else contextlib.nullcontext():  # type: ignore[operator]
                loss = nn.functional.mse_loss(model(x), y) / len(micros)
                loss.backward()
            losses.append(loss.item())
        if case.clips:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        opt.step()
        opt.zero_grad()
    if monitor is not None:
        monitor.close()
    return losses, [getattr(p, "to_local", lambda p=p: p)().tolist() for p in model.parameters()]


def truth(case: Case, size: int) -> list[dict[str, float]]:
    """By hand and in one process: what each step of the whole comes to."""
    model = net()
    opt = optimizer(case, model)
    found = []
    params = list(model.parameters())
    for ranks in zip(*(batches(rank, MICRO if case.accumulates else 1) for rank in range(size)), strict=True):
        pairs = [pair for micros in ranks for pair in micros]
        loss = torch.stack([nn.functional.mse_loss(model(x), y) for x, y in pairs]).mean()
        loss.backward()
        row = {"loss": loss.item(), "grad": norm([p.grad for p in params])}
        if case.clips:
            nn.utils.clip_grad_norm_(params, CLIP)
        before = [p.detach().clone() for p in params]
        opt.step()
        opt.zero_grad()
        row |= {"param": norm(params), "update": norm([p - b for p, b in zip(params, before, strict=True)])}
        found.append(row)
    return found


def norm(tensors: list[Any]) -> float:
    return sum(t.detach().double().square().sum().item() for t in tensors) ** 0.5


def main(place: Path, names: list[str]) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    found: dict[str, Any] = {}
    for name in names:
        case = CASES[name]
        bare = train(case, rank, watched=None)
        found[name] = {"same": train(case, rank, watched=place / name) == bare, "losses": bare[0]}
        torch._dynamo.reset()
    (place / f"found-{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
