"""What each rank of a small world does: `python measuring.py PLACE NAME...` trains every case bare and watched.

Beside them the scenes, of which each returns what its rank saw; and, by `truth`, what one process gets that trains the
same model on all ranks' data.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import tuimon
from tuimon.record.rundir import runs_root

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
    detail: str = "full"


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


CASES: dict[str, Case] = {
    "ddp": Case(ddp),
    "ddp-clip": Case(ddp, clips=True),
    "ddp-clip-light": Case(ddp, clips=True, detail="light"),   # the norm is the one that clipping computes anyway
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
        monitor = tuimon.attach(inner if case.attached == "inner" else model, opt, run_dir=watched, detail=case.detail)  # type: ignore[arg-type]
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


def one_step(model: nn.Module, opt: torch.optim.Optimizer, source: torch.Generator, scale: float = 1.0) -> None:
    nn.functional.mse_loss(model(torch.randn(ROWS, 6, generator=source) * scale), torch.zeros(ROWS, 3)).backward()
    opt.step()
    opt.zero_grad()


def watched(place: Path, wrap: Callable[[nn.Module], nn.Module] = ddp, **options: Any) -> tuple[Any, ...]:
    """A model on all ranks, attached on this one."""
    model = wrap(net())
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, opt, torch.Generator().manual_seed(dist.get_rank()), tuimon.attach(model, opt, run_dir=place, **options)


def only(who: int) -> Callable[[int, Path], Any]:
    """Attached on one rank; the other trains along. With collectives in clipping, which one rank alone must not add to."""

    def scene(rank: int, place: Path) -> Any:
        if rank != who:
            train(CASES["fsdp-clip"], rank, watched=None)
            return None
        train(CASES["fsdp-clip"], rank, watched=place)
        return sorted(str(path) for path in runs_root().glob("*-rank*"))

    return scene


def judged(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[int, Path], Any]:
    """What the guard of each rank could not look at."""

    def scene(_rank: int, place: Path) -> Any:
        model, opt, source, monitor = watched(place, wrap)
        for _ in range(STEPS):
            one_step(model, opt, source)
        monitor.close()
        found = monitor.diagnosis()
        return {"steps": found.steps, "blind": [n.rule for n in found.not_evaluated if "grad_norm" in n.needs]}

    return scene


def planned(rank: int, place: Path) -> Any:
    """As often as is thought fit, of which nothing may be one rank's own thought: a row of one rank is not finite."""
    model, opt, source, monitor = watched(place, detail="auto")
    for step in range(1, 41):
        one_step(model, opt, source, float("nan") if rank == 1 and step == 33 else 1.0)
    monitor.close()
    return None


def late(rank: int, place: Path) -> Any:
    """Rank 0 attaches when rank 1 has trained for a while, by itself: nothing of those steps is lost."""
    if rank == 0:
        dist.barrier()
    model, opt, source, monitor = watched(place, lambda model: model)
    for _ in range(STEPS):
        one_step(model, opt, source)
    if rank == 1:
        early = str(monitor.run_dir)
        dist.barrier()
    dist.barrier()
    monitor.close()
    return {"early": early, "run_dir": str(monitor.run_dir)} if rank == 1 else None


def copies(rank: int, place: Path) -> Any:
    """Replicas that the script keeps equal by itself."""
    model, opt, source, monitor = watched(place, lambda model: model)
    for _ in range(STEPS):
        nn.functional.mse_loss(model(torch.randn(ROWS, 6, generator=source)), torch.zeros(ROWS, 3)).backward()
        for p in model.parameters():
            dist.all_reduce(p.grad)
        opt.step()
        opt.zero_grad()
    monitor.close()
    return None


def split(rank: int, place: Path) -> Any:
    """Replicas whose optimizer's state is spread over the ranks."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = ddp(net())
    opt = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=0.01)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        monitor = tuimon.attach(model, opt, run_dir=place, detail="full")
        for [(x, y)] in batches(rank, 1):
            nn.functional.mse_loss(model(x), y).backward()
            opt.step()
            opt.zero_grad()
    monitor.close()
    return [str(one.message) for one in said if "norm" in str(one.message) or "tensors" in str(one.message)]


def staged(rank: int, place: Path) -> Any:
    """Two stages of a pipeline, by hand: each rank has other tensors, and the first of them no loss."""
    parts = net()
    model: nn.Module = nn.Sequential(parts.first, parts.norm) if rank == 0 else nn.Sequential(nn.Tanh(), parts.last)  # type: ignore[arg-type]
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = tuimon.attach(model, opt, run_dir=place, detail="full")
    for [(x, y)] in batches(0, 1):
        if rank == 0:
            sent = model(x)
            dist.send(sent.detach(), 1)
            back = torch.empty_like(sent)
            dist.recv(back, 1)
            sent.backward(back)
        else:
            got = torch.empty(ROWS, 11)
            dist.recv(got, 0)
            got.requires_grad_()
            nn.functional.mse_loss(model(got), y).backward()
            assert got.grad is not None
            dist.send(got.grad, 0)
        opt.step()
        opt.zero_grad()
    monitor.close()
    return None


SCENES: dict[str, Callable[[int, Path], Any]] = {
    "only-1": only(1), "only-0": only(0), "judged-ddp": judged(ddp), "judged-fsdp": judged(fsdp), "planned": planned, "late": late, "staged": staged, "copies": copies, "split": split,
}


def main(place: Path, names: list[str]) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    found: dict[str, Any] = {}
    for name in names:
        if name in SCENES:
            found[name] = SCENES[name](rank, place / name)
            dist.barrier()   # the runs of two scenes are told apart by the order in which ranks attach
            continue
        bare = train(CASES[name], rank, watched=None)
        found[name] = {"same": train(CASES[name], rank, watched=place / name) == bare}
    (place / f"found-{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
