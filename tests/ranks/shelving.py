"""What ranks do that save and resume: `python shelving.py PLACE NAME...`, NAME as save-fsdp, resume-fsdp."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import tuimon
from tests.ranks.measuring import ROWS, ddp, fsdp, hsdp, net
from tests.ranks.playing import Play
from tuimon.errors import CheckpointError
from tuimon.instrument.ranks import chunks, council
from tuimon.record.manifest import listed
from tuimon.record.rundir import RunDir

WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {"ddp": ddp, "fsdp": fsdp, "hsdp": hsdp}
AFTER = 3
"""Steps from where a checkpoint is answered to the end."""


def whole(tensor: Any) -> Tensor:
    """On every rank all of it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[no-any-return]


def fingerprint(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Of all that is trained, wherever it is."""
    total = hashlib.sha256()
    for parameter in model.parameters():
        state = optimizer.state[parameter]
        for tensor in [parameter, *(state[k] for k in sorted(state) if isinstance(state[k], Tensor))]:
            total.update(whole(tensor.detach()).numpy().tobytes())
    return total.hexdigest()


class Shelved(Play):
    """A run whose batches are drawn by the global generator, and whose rate follows a schedule."""

    def __init__(self, place: Path, wrap: Callable[[nn.Module], nn.Module], **options: Any) -> None:
        super().__init__(place, wrap, attaches=False, **options)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.9)
        torch.manual_seed(10 + self.rank)
        self.prints: dict[int, str] = {}
        self.draws: dict[int, str] = {}
        """Where this rank's random numbers were after a step."""

    def train(self, scale: float = 1.0) -> None:
        nn.functional.mse_loss(self.model(torch.randn(ROWS, 6) * scale), torch.zeros(ROWS, 3)).backward()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.note()

    def note(self) -> None:
        self.prints[self.step] = fingerprint(self.model, self.optimizer)
        self.draws[self.step] = hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()

    def told_to_save(self) -> str:
        """Have a checkpoint, and what became of the order."""
        asked = self.send("checkpoint") if self.rank == 0 else ""
        self.train_until(lambda: asked in self.look())
        return self.answers.get(asked, "")


def save(wrap: str) -> Callable[[int, Path], Any]:
    """Trains, saves amid training, trains on."""

    def scene(_rank: int, place: Path) -> Any:
        play = Shelved(place / wrap, WRAPS[wrap])
        play.attach()
        play.train_until(play.met)
        answer = play.told_to_save()
        for _ in range(AFTER):
            play.train()
        rest = play.close()
        return {**rest, "answer": answer, "prints": play.prints, "draws": play.draws}

    return scene


def resume(wrap: str) -> Callable[[int, Path], Any]:
    """Goes on, from another start."""

    def scene(_rank: int, place: Path) -> Any:
        source, kind = wrap.split("@") if "@" in wrap else (wrap, wrap)
        play = Shelved(place / source, WRAPS[kind])
        torch.manual_seed(99)
        info = tuimon.resume(place / source, play.model, play.optimizer, scheduler=play.schedule)
        play.step = info.step
        play.note()
        for _ in range(AFTER):
            play.train()
        return {"prints": play.prints, "draws": play.draws, "step": info.step, "notes": info.notes}

    return scene


def alone(rank: int, place: Path) -> Any:
    """Resumed on rank 0 only: it is told so."""
    if rank:
        return None
    council.ARRIVAL = 0.5  # type: ignore[misc]
    model = net()
    try:
        tuimon.resume(place / "ddp", model, torch.optim.AdamW(model.parameters(), lr=0.01))
    except CheckpointError as error:
        return str(error)
    return "it did"


def dies(who: int) -> Callable[[int, Path], Any]:
    """A rank is killed amid its part of the second checkpoint; the first stays."""

    def scene(rank: int, place: Path) -> Any:
        play = Shelved(place / f"dies-{who}", fsdp)
        play.attach()
        play.train_until(play.met)
        first = play.told_to_save()
        if rank == who:
            chunks.write_part = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        with contextlib.suppress(RuntimeError):
            play.told_to_save()
        play.monitor.close()
        play.look()
        return {"first": first, "answers": play.answers, "kept": [i.id for i in listed(RunDir(play.place).checkpoints)],
                "left": sorted(n for n in os.listdir(RunDir(play.place).checkpoints) if n.startswith("."))}

    return scene


def main(place: Path, names: list[str]) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    found: dict[str, Any] = {}
    for name in names:
        kind, _, what = name.partition("-")
        scene = {"save": save, "resume": resume}.get(kind)
        played = scene(what) if scene else alone if kind == "alone" else dies(int(what))
        found[name] = played(rank, place)
        (place / f"found-{rank}.json").write_text(json.dumps(found))
        if kind == "dies":
            os._exit(0)   # the end of the group would wait for the one that was killed
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
