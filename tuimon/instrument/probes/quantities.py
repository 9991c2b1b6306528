"""What is computed of activations: small sums on the device they are on, a 0-dim float32 tensor each. Pure.

No shape depends on a value, no number is read, no random number drawn: nothing here waits for a device or changes what
training computes. To be called without autograd and without autocast. NaN and inf in what is given show in what
comes out.

    attention_logit     max over heads of max_i |q_i| * max_j |k_j| * scale, sequence by sequence: no logit is larger
    attention_entropy   of one sequence, 16 queries of its last half: mean over heads and queries of H / ln(keys seen)
    dead_units          share of hidden units that no token of the sample activates; never exactly 0: Sokar et al. 2023
    activation_rms      of a block's output
    logit_scale         mean |logsumexp| of 256 tokens' logits; logit_mean: their mean
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

QUERIES: Final = 16
"""Queries whose attention is computed: (heads, 16, T) numbers instead of (B, heads, T, T)."""
SHORTEST: Final = 4
"""Keys below which the entropy of attention says nothing."""
DORMANT: Final = 0.025
"""Share of the mean |activation| below which a unit that is never exactly 0 counts as dead."""
MOST: Final = 4096
"""Tokens at which a feed-forward net's hidden units are looked at: their magnitudes take that much memory once more."""
TOKENS: Final = 256
"""Of which the logits are summed: at a vocabulary of 50,000 all would cost a tenth of the forward pass."""


def _some(rows: Tensor, most: int) -> Tensor:
    """At most so many of them, evenly spaced."""
    return rows[::-(-len(rows) // most)]


def norm(x: Tensor, dim: int | None = None) -> Tensor:
    """In float32; float64 cannot be narrowed within the kernel."""
    if x.dtype == torch.float64:
        wide: Tensor = torch.linalg.vector_norm(x, 2, dim)
        return wide.float()
    found: Tensor = torch.linalg.vector_norm(x, 2, dim, dtype=torch.float32)
    return found


def attention_logit(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Of q (B, T, H, D) and k (B, S, K, D), K dividing H: query head h looks at key head h // (H / K)."""
    longest_q, longest_k = norm(q, -1).amax(1), norm(k, -1).amax(1)
    shared = longest_q.reshape(q.shape[0], k.shape[2], -1)
    return torch.amax(shared * longest_k.unsqueeze(2)) * abs(scale)


def queries_of(length: int) -> tuple[int, int, int]:
    """Start, stop and stride of at most 16 queries, evenly over the last half of `length`: early ones see few keys."""
    start = length // 2
    stride = -(-(length - start) // QUERIES)
    return start, length, stride


def seen_by(start: int, stride: int, queries: int, keys: int, device: torch.device) -> Tensor:
    """(1, queries, keys) True where a causal query may look."""
    at = torch.arange(start, start + stride * queries, stride, device=device)
    return (torch.arange(keys, device=device) <= at.unsqueeze(1)).unsqueeze(0)


def attention_entropy(q: Tensor, k: Tensor, scale: float, seen: Tensor | None, bias: Tensor | None = None,
                      cap: float | None = None) -> Tensor:
    """Of q (n, H, D), some queries, and k (S, K, D), all keys of their sequence.

    seen: bool, broadcast to (H, n, S); None: every query sees every key. bias: added to the logits; its most negative
    numbers are a mask as well. cap: of Gemma's soft cap.
    """
    n, heads, size = q.shape
    shared = heads // k.shape[1]
    grouped = q.float().view(n, -1, shared, size).permute(1, 2, 0, 3).reshape(k.shape[1], shared * n, size)
    logits = torch.matmul(grouped, k.float().permute(1, 2, 0)).view(heads, n, -1) * scale
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    if bias is not None:
        logits = logits + bias.float()
        unmasked = bias > torch.finfo(bias.dtype).min / 2
        seen = unmasked if seen is None else seen & unmasked
    if seen is None:
        return _entropy(logits).mean() / math.log(k.shape[0])
    entropy = _entropy(logits.masked_fill(~seen, -math.inf))
    keys = seen.expand(logits.shape).sum(-1)
    counts = keys >= 2
    shares = torch.where(counts, entropy / keys.clamp(min=2).log(), 0.0)  # a row that is masked whole is NaN
    valid = counts.sum()
    return (shares.sum() + (valid == 0)) / valid.clamp(min=1)


def _entropy(logits: Tensor) -> Tensor:
    found: Tensor = torch.special.entr(logits.softmax(-1)).sum(-1)
    return found


def dead_units(hidden: Tensor, *, exactly: bool) -> Tensor:
    """Of hidden (..., F), what the F units give for each token. `exactly`: a unit that is off is 0, as with ReLU."""
    rows = _some(hidden.reshape(-1, hidden.shape[-1]), MOST)
    mean = rows.abs().mean(0, dtype=torch.float32)  # on the CPU eight times as fast as a norm
    dead = mean == 0 if exactly else mean <= DORMANT * mean.mean()
    return dead.float().mean() + 0.0 * mean.sum()  # where that is not finite, there is no share


def activation_rms(x: Tensor) -> Tensor:
    """Of any shape."""
    return norm(x) / math.sqrt(x.numel())


def logit_scale_and_mean(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of logits (..., V)."""
    rows = _some(logits.flatten(0, -2), TOKENS).float()
    return rows.logsumexp(-1).abs().mean(), rows.mean()
