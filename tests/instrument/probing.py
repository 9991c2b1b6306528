"""Models to be probed, what is true of their attention by plain arithmetic, and what a run's log says of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tuimon
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader

Found = dict[tuple[str, str], dict[int, float]]
"""(module, quantity) -> step -> value."""


def found_in(run_dir: Path) -> Found:
    """What the probes of a run measured."""
    info, reader, found = RunDir(run_dir).read_info(), LogReader(run_dir / "metrics"), Found()
    assert info is not None
    while chunks := reader.poll():
        for rows in [c.probes for c in chunks]:
            for i, entry in enumerate(info.probes):
                here = found.setdefault((entry.module, entry.quantity), {})
                here.update({int(s): float(rows.values[j, i]) for j, s in enumerate(rows.steps) if rows.seen[j, i]})
    return found


def probed(model: nn.Module, forward: Any, run_dir: Path, steps: int = 1, **options: Any) -> Found:
    """A few steps, that move nothing, on a scalar that `forward` gives; what was measured."""
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    with tuimon.attach(model, opt, run_dir=run_dir, checkpoints="off", **{"detail": "full", **options}) as monitor:
        for _ in range(steps):
            forward().backward()
            opt.step()
            opt.zero_grad()
        assert not monitor.probe.off
    return found_in(run_dir)


def entropy_of(weights: Tensor, visible: Tensor | None = None) -> float:
    """Of attention weights (H, T, S) of one sequence: its 16 queries (or fewer) of the last half, mean of H / ln(keys)."""
    length = weights.shape[1]
    stride = math.ceil((length - length // 2) / 16)
    at = range(length // 2, length, stride)
    shares = []
    for i in at:
        keys = int((weights[0, i] > 0).sum()) if visible is None else int(visible[i].sum())
        for head in weights[:, i].double():
            inside = head[head > 0]
            shares.append(float(-(inside * inside.log()).sum()) / math.log(keys))
    return sum(shares) / len(shares)


def weights_of(q: Tensor, k: Tensor, scale: float, *, causal: bool) -> tuple[Tensor, float]:
    """Attention (B, H, T, S) of q (B, T, H, D) and k (B, S, K, D), and its largest |logit|; all by hand."""
    k = k.repeat_interleave(q.shape[2] // k.shape[2], dim=2)
    logits = torch.einsum("bthd,bshd->bhts", q.double(), k.double()) * scale
    largest = logits.abs().max().item()
    if causal:
        logits = logits.masked_fill(~torch.ones(logits.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    return logits.softmax(-1), largest


class NanoAttention(nn.Module):
    """As in nanoGPT; (B, T, 12) -> (B, T, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(12, 36), nn.Linear(12, 12)
        self.n_head, self.n_embd = 3, 12

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class VitAttention(nn.Module):
    """As in timm, with norms of queries and keys where asked; (B, N, 12) -> (B, N, 12)."""

    def __init__(self, *, qk_norm: bool) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 3, 4
        self.scale = self.head_dim ** -0.5
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)
        self.q_norm = nn.LayerNorm(4) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(4) if qk_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        y = (q * self.scale @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(B, N, C))


class Mlp(nn.Module):
    """Up, activation, down."""

    def __init__(self, activation: nn.Module, width: int = 12, hidden: int = 20) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(width, hidden), activation, nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x)))


class Trunk(nn.Module):
    """Tokens, a few layers of anything, logits; (B, T) -> (B, T, 17)."""

    def __init__(self, *layers: nn.Module, vocabulary: int = 17) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 12)
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(12, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)


class Layer(nn.Module):
    """Attention and feed-forward, each added."""

    def __init__(self) -> None:
        super().__init__()
        self.attn, self.mlp = NanoAttention(), Mlp(nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


def tokens(i: int = 0, batch: int = 3, length: int = 9) -> Tensor:
    return torch.randint(0, 17, (batch, length), generator=torch.Generator().manual_seed(i))
