"""What watching costs: the same loop bare and watched, in turns within one process, beside what others do.

    pytest tests/bench/overhead -m bench -s               all sizes, a quarter of an hour; -k 10M for one

A ratio is one watched stretch of steps over the mean of the bare ones before and after it. Attaching, closing and the
first steps of a stretch are not timed. On the CPU one torch thread and CPU time, so that other work on the machine
counts as little as can be: `thread` is the training thread's, `process` that of all threads of the process, tuimon's
writer and judge among them, but not the process in which wandb writes. On a GPU wall time, synchronised at the ends of
a stretch. wandb and tensorboard come with the extra `bench`; without them their rows are left out.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tuimon
from tuimon.diagnosis.notebook import TrainingHealthMonitor


class Block(nn.Module):
    """Pre-norm attention and feed-forward; (B, T, d) -> (B, T, d)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Of a given width and depth, with tied embeddings; (B, T) -> (B, T, vocabulary)."""

    def __init__(self, width: int, depth: int, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, max(4, width // 64)) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return nn.functional.linear(self.norm(x), self.embed.weight)


@dataclass(frozen=True)
class Size:
    """One model, one batch, and how long a stretch is."""

    width: int
    depth: int
    vocabulary: int
    batch: int
    length: int
    steps: int
    """Timed in one stretch, bare or watched by others."""
    turns: int
    whole: int
    """Timed in a stretch of tuimon's: whole periods of 16 steps, of which light measures one in full."""
    settle: int
    """Watched steps before those: behind the dense start of auto."""
    device: str = "cpu"


SIZES = {
    "0.1M": Size(48, 4, 128, 8, 64, steps=16, turns=9, whole=32, settle=70),
    "10M": Size(320, 8, 512, 8, 128, steps=2, turns=3, whole=16, settle=4),
    "85M": Size(768, 12, 512, 2, 128, steps=1, turns=2, whole=16, settle=2),
    "124M": Size(768, 12, 50257, 8, 1024, steps=16, turns=9, whole=64, settle=80, device="cuda"),
}
Each = Callable[[Tensor, int], Any]
"""What is called between backward and the optimizer's step, with the loss and the number of the step."""


class Loop:
    """The loop that is watched."""

    def __init__(self, size: Size) -> None:
        torch.manual_seed(0)
        self.size, self.step = size, 0
        self.model = GPT(size.width, size.depth, size.vocabulary).to(size.device)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
        self.params = list(self.model.parameters())
        self.tokens = torch.randint(0, size.vocabulary, (size.batch, size.length), device=size.device)

    def go(self, steps: int, each: Each | None = None) -> None:
        for _ in range(steps):
            self.step += 1
            with torch.autocast(self.size.device, dtype=torch.bfloat16, enabled=self.size.device == "cuda"):
                logits = self.model(self.tokens)
                loss = nn.functional.cross_entropy(logits.flatten(0, 1), self.tokens.flatten())
            loss.backward()
            if each is not None:
                each(loss, self.step)
            self.opt.step()
            self.opt.zero_grad()

    def timed(self, steps: int, each: Each | None = None) -> tuple[float, float]:
        """Seconds a step: the thread's, the process's."""
        begun = self._clocks()
        self.go(steps, each)
        ended = self._clocks()
        return (ended[0] - begun[0]) / steps, (ended[1] - begun[1]) / steps

    def _clocks(self) -> tuple[float, float]:
        if self.size.device == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter(), time.perf_counter()
        return time.thread_time(), time.process_time()


Watching = Callable[[], AbstractContextManager[Each | None]]


def nothing(loop: Loop) -> Watching:
    """The bare loop once more: how far two equal stretches differ is the noise of this table."""

    @contextmanager
    def watching() -> Iterator[None]:
        yield None

    return watching


def reading(loop: Loop) -> Watching:
    """As many bytes as gradients and weights have, read once: below this no norm of them can be had."""
    numel = sum(p.numel() for p in loop.params)
    bytes_of = [torch.ones(numel, device=loop.size.device) for _ in range(2)]

    def each(_loss: Tensor, _step: int) -> None:
        for flat in bytes_of:
            torch.dot(flat, flat)

    @contextmanager
    def watching() -> Iterator[Each]:
        yield each

    return watching


def notebook(loop: Loop) -> Watching:
    """A norm and an .item() per gradient and per weight."""

    @contextmanager
    def watching() -> Iterator[Each]:
        monitor = TrainingHealthMonitor()
        yield lambda loss, step: monitor.check_vitals(loop.model, loss, loop.opt, step)

    return watching


def tensorboard(loop: Loop, folder: Path) -> Watching:
    """Two scalars and a histogram per gradient, every step."""
    from torch.utils.tensorboard import SummaryWriter

    names = list(loop.model.named_parameters())

    @contextmanager
    def watching() -> Iterator[Each]:
        with SummaryWriter(str(folder)) as writer:
            def each(loss: Tensor, step: int) -> None:
                writer.add_scalar("loss", loss.item(), step)
                writer.add_scalar("lr", loop.opt.param_groups[0]["lr"], step)
                for name, p in names:
                    writer.add_histogram(name, p.grad, step)

            yield each

    return watching


def wandb_watch(loop: Loop, folder: Path, stack: ExitStack) -> Watching:
    """wandb.watch(log="gradients", log_freq=1) and a wandb.log a step, offline."""
    import wandb

    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(folder), WANDB_CACHE_DIR=str(folder),
                      WANDB_CONFIG_DIR=str(folder), WANDB_DATA_DIR=str(folder))
    folder.mkdir()
    run = stack.enter_context(wandb.init(project="overhead", mode="offline", dir=str(folder)))

    @contextmanager
    def watching() -> Iterator[Each]:
        run.watch(loop.model, log="gradients", log_freq=1)
        yield lambda loss, _step: run.log({"loss": loss.item(), "lr": loop.opt.param_groups[0]["lr"]})
        run.unwatch(loop.model)

    return watching


def ours(loop: Loop, folder: Path, detail: Any) -> Watching:
    """tuimon.attach."""
    turn = 0

    @contextmanager
    def watching() -> Iterator[None]:
        nonlocal turn
        turn += 1
        with tuimon.attach(loop.model, loop.opt, run_dir=folder / f"{detail}{turn}", detail=detail):
            yield None

    return watching


OURS = {f"tuimon {detail}": detail for detail in ("light", "auto", "full")}
BARE, READING, NOTEBOOK, WANDB = "bare, again", "gradients and weights read once", "the notebook's monitor", "wandb.watch"


def rows_of(loop: Loop, folder: Path, stack: ExitStack, absent: list[str]) -> dict[str, Watching]:
    """What can be had here, by name; what cannot, with its reason, in `absent`."""
    rows = {BARE: nothing(loop), READING: reading(loop), NOTEBOOK: notebook(loop)}
    rows |= {name: ours(loop, folder, detail) for name, detail in OURS.items()}
    try:
        rows["TensorBoard, scalars, histograms"] = tensorboard(loop, folder / "tensorboard")
    except ImportError as error:
        absent.append(f"TensorBoard: {error}")
    try:
        rows[WANDB] = wandb_watch(loop, folder / "wandb", stack)
    except ImportError as error:
        absent.append(f"wandb: {error}")
    return rows


@dataclass
class Found:
    """The measurements of one row."""

    thread: list[float] = field(default_factory=list)
    process: list[float] = field(default_factory=list)

    @property
    def added(self) -> float:
        """Of the thread's time, over the bare loop."""
        return statistics.median(self.thread) - 1


def measured(loop: Loop, rows: dict[str, Watching]) -> tuple[dict[str, Found], float]:
    """Ratios by row, and the bare loop's seconds a step."""
    size, found, bares = loop.size, {name: Found() for name in rows}, []
    for _ in range(size.turns):
        before = loop.timed(size.steps)
        for name, watching in rows.items():
            mine = name in OURS
            with watching() as each:
                loop.go(size.settle if mine else 1, each)
                seconds = loop.timed(size.whole if mine else size.steps, each)
            after = loop.timed(size.steps)
            bare = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
            found[name].thread.append(seconds[0] / bare[0])
            found[name].process.append(seconds[1] / bare[1])
            bares.append(bare[0])
            before = after
    return found, statistics.median(bares)


def table(loop: Loop, found: dict[str, Found], bare: float, absent: list[str]) -> str:
    """For a stranger."""
    size = loop.size
    where = torch.cuda.get_device_name() if size.device == "cuda" else f"CPU, {os.cpu_count()} cores, {torch.get_num_threads()} thread"
    lines = [
        f"\n{sum(p.numel() for p in loop.params) / 1e6:.1f}M parameters in {len(loop.params)} tensors, {size.batch * size.length:,} tokens a step, AdamW",
        f"torch {torch.__version__}, {where}, load {os.getloadavg()[0]:.1f}",
        f"bare: {1e3 * bare:.2f} ms a step; {size.turns} turns; watched / bare:",
        f"{'':34}{'min':>8}{'median':>8}{'max':>8}{'ms added':>10}{'process':>10}",
    ]
    lines += [
        f"{name:34}{min(f.thread):8.3f}{statistics.median(f.thread):8.3f}{max(f.thread):8.3f}{1e3 * bare * f.added:10.2f}"
        f"{statistics.median(f.process):10.3f}"
        for name, f in found.items()
    ]
    return "\n".join(lines + [f"left out: {reason}" for reason in absent])


@pytest.mark.bench
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if size.device == "cpu" or torch.cuda.is_available() else pytest.mark.skip("no CUDA device here"))
    for name, size in SIZES.items()
])
def test_what_watching_costs_beside_what_others_cost(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("MODE", "SILENT", "DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{variable}", "")
    torch.set_num_threads(1)
    loop, absent = Loop(SIZES[name]), []
    with ExitStack() as stack:
        rows = rows_of(loop, tmp_path, stack, absent)
        loop.go(3)
        found, bare = measured(loop, rows)
    with capsys.disabled():
        print(table(loop, found, bare, absent))
    noise = max(abs(ratio - 1) for ratio in found[BARE].thread)
    auto = found["tuimon auto"].added
    assert auto <= 2 * found[NOTEBOOK].added + noise or auto <= 0.03 + noise
    if WANDB in found:
        assert found[WANDB].added >= 20 * (auto - noise)
