"""What attach costs: the same loop with and without it, in turns within one process.

    pytest tests/bench/test_bench_attach.py -m bench -s

CPU time of the training thread, one torch thread, so that other work on the machine does not count. Each ratio is one
pair of segments; attaching and closing are outside of what is timed, the first steps of a segment are too.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tuimon


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


class Small(nn.Module):
    """A GPT of a given width and depth, with tied embeddings."""

    def __init__(self, width: int, depth: int, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return nn.functional.linear(self.norm(x), self.embed.weight)


SIZES = {  # width, depth, vocabulary, batch, length, steps per segment, pairs
    "0.2M": (64, 4, 256, 16, 64, 30, 7),
    "10M": (320, 8, 512, 8, 128, 5, 3),
}
WARM_UP = 3


@pytest.mark.bench
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("clip", [True, False], ids=["clips", "does not clip"])
@pytest.mark.parametrize("size", SIZES)
def test_overhead_of_attach(size: str, clip: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    width, depth, vocabulary, batch, length, steps, pairs = SIZES[size]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Small(width, depth, vocabulary)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-4)
    tokens = torch.randint(0, vocabulary, (batch, length))

    def segment(count: int) -> float:
        began = time.thread_time()
        for _ in range(count):
            logits = model(tokens)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            opt.zero_grad()
        return (time.thread_time() - began) / count

    segment(WARM_UP)
    found: dict[str, list[float]] = {"light": [], "auto": [], "full": []}
    bare: list[float] = []
    for turn in range(pairs):
        for detail, ratios in found.items():
            before = segment(steps)
            with tuimon.attach(model, opt, run_dir=tmp_path / f"{detail}{turn}", detail=detail) as monitor:
                segment(max(WARM_UP, steps // 4))
                during = segment(steps)
                stride = monitor.probe.cadence.stride
            after = segment(steps)
            bare.append((before + after) / 2)
            ratios.append(during / bare[-1])
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    with capsys.disabled():
        print(f"\n{millions:.1f}M, {len(list(model.parameters()))} tensors, {batch * length} tokens a step, "
              f"{1e3 * statistics.median(bare):.1f} ms a step bare; {'clips' if clip else 'does not clip'}; "
              f"last auto stride {stride}")
        print(f"{'detail':>8} {'min':>8} {'median':>8} {'max':>8}   attached / bare")
        for detail, ratios in found.items():
            print(f"{detail:>8} {min(ratios):8.4f} {statistics.median(ratios):8.4f} {max(ratios):8.4f}")
    assert statistics.median(found["auto"]) < 1.25, "an order of magnitude above the aim: something is wrong"
