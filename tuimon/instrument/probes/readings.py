"""One place at one sampled forward pass: from what its modules take and give to the numbers of its quantities.

Pure; whatever is not a plain dense tensor of a shape that is understood gives no number rather than a wrong one.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuimon.instrument.probes import quantities as of
from tuimon.instrument.probes.families import Attention, Packed
from tuimon.instrument.probes.finding import Block, Logits, Place, Units

Values = tuple[Tensor | None, ...]
"""One per quantity of the place; None: not measured."""
_PACKED: Final = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
"""The parameters of nn.MultiheadAttention.forward, in order."""
_MASKS: Final = ("attention_mask", "attn_mask", "mask")


class Reading:
    """One place, from the first of its modules that is called in a sampled pass to the last."""

    def __init__(self, place: Place, first: int) -> None:
        self.place, self.first = place, first
        """The number of its first quantity in the probe table."""
        self.is_done = False
        self._held: dict[nn.Module, Any] = {}
        parts = (place.q, place.k, place.module) if isinstance(place, Attention) else (place.module,)
        self.modules: list[nn.Module] = list(dict.fromkeys(parts))
        """Those to be looked at, each once; the last to be called completes it."""

    def forget(self) -> None:
        """Hold nothing of that pass any more."""
        self._held.clear()
        self.is_done = False

    def holds(self, module: nn.Module, output: Any) -> bool:
        """Whether what this one of its modules gave only has to be kept until the last one is called."""
        if module is self.modules[-1]:
            return False
        self._held[module] = output
        return True

    def saw(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Values:
        """The last of its modules was called: what is known then."""
        place = self.place
        self.is_done = True
        if isinstance(place, Attention):
            q, k = self._held.get(place.q), self._held.get(place.k)
            self._held.clear()
            return attention(place, q, k, args, kwargs)
        if isinstance(place, Packed):
            return packed(place.module, {**dict(zip(_PACKED, args, strict=False)), **kwargs})
        if isinstance(place, Units):
            hidden = plain((args[0] if args else kwargs.get("input")) if place.given else output)
            return (None if hidden is None else of.dead_units(hidden, exactly=place.exactly),)
        found = plain(logits_in(output, place.vocabulary) if isinstance(place, Logits) else first_in(output))
        if isinstance(place, Block):
            return (None if found is None else of.activation_rms(found),)
        return (None, None) if found is None else of.logit_scale_and_mean(found)


def plain(value: Any) -> Tensor | None:
    """A dense tensor of floats, detached; None for anything else."""
    if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided or value.device.type == "meta":
        return None
    return value.detach() if value.is_floating_point() and value.dim() >= 2 and value.numel() else None


def first_in(output: Any) -> Any:
    """Of several results the first: blocks give their stream first."""
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output


def logits_in(output: Any, vocabulary: int) -> Any:
    """What of a module's result has one number per token of the vocabulary; None where nothing has."""
    if isinstance(output, Mapping):
        output = output.get("logits")
    candidates = output if isinstance(output, tuple | list) else (getattr(output, "logits", output),)
    return next((c for c in candidates if isinstance(c, Tensor) and c.dim() >= 2 and c.shape[-1] == vocabulary), None)


# -- attention

def attention(place: Attention, given_q: Any, given_k: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Values:
    """Bound and entropy, out of what the projections, or the norms behind them, gave."""
    q, k = heads_of(place, plain(given_q), plain(given_k))
    if q is None or k is None or q.shape[0] != k.shape[0] or q.shape[2] % k.shape[2]:
        return None, None
    bound = of.attention_logit(q, k, place.scale)
    bound = bound if place.cap is None else bound.clamp(max=place.cap)
    if place.turned == "somehow" or k.shape[1] < of.SHORTEST:
        return bound, None
    one_q, one_k = q[0], k[0]
    if place.turned == "by Hugging Face":
        turned = _turned(place.module, one_q, one_k, kwargs.get("position_embeddings"))
        if turned is None:
            return bound, None
        one_q, one_k = turned
    mask = next((kwargs[name] for name in _MASKS if isinstance(kwargs.get(name), Tensor)), None)
    if mask is None:
        mask = next((a for a in args[1:] if isinstance(a, Tensor) and a.dim() == 4), None)
    return bound, _entropy(place, one_q, one_k, mask)


def heads_of(place: Attention, q: Tensor | None, k: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """(B, T, heads, size) of queries and of keys; None where the shapes do not tell."""
    if q is None or k is None:
        return None, None
    size, (n, fewer) = place.size, place.heads
    if place.cut == "apart":
        return _split(q, size, n), _split(k, size, fewer)
    whole = _split(q, size, n + 2 * fewer)
    if whole is None:
        return None, None
    if place.cut == "by head":
        each = whole.view(*whole.shape[:2], -1, 3, size)
        return each[:, :, :, 0], each[:, :, :, 1]
    share = whole.shape[2] // (n + 2 * fewer) * fewer if whole.shape[2] % (n + 2 * fewer) == 0 else whole.shape[2] // 3
    return whole[:, :, :whole.shape[2] - 2 * share], whole[:, :, -2 * share:whole.shape[2] - share]


def _split(x: Tensor, size: int, heads: int) -> Tensor | None:
    """(B, T, heads, size) of (T, width), (B, T, width), (B, H, W, width), or of what norms head by head have given."""
    if x.dim() == 4 and x.shape[-1] == size and heads in x.shape[1:3]:
        return x if x.shape[2] == heads else x.transpose(1, 2)
    if x.shape[-1] % size:
        return None
    x = x.unsqueeze(0) if x.dim() == 2 else x
    return x.reshape(x.shape[0], -1, x.shape[-1] // size, size)


def _turned(module: nn.Module, q: Tensor, k: Tensor, given: Any) -> tuple[Tensor, Tensor] | None:
    """Queries and keys (T, heads, size) with their positions, by the function that stands beside the module's class."""
    turn = getattr(sys.modules.get(type(module).__module__), "apply_rotary_pos_emb", None)
    if turn is None or not (isinstance(given, tuple) and len(given) == 2):
        return None
    cos, sin = (plain(part) for part in given)
    if cos is None or sin is None:
        return None
    with contextlib.suppress(TypeError, ValueError, IndexError, RuntimeError):  # one that wants other arguments
        q, k = turn(q.transpose(0, 1).unsqueeze(0), k.transpose(0, 1).unsqueeze(0), cos[:1], sin[:1])
        return q[0].transpose(0, 1), k[0].transpose(0, 1)
    return None


def _entropy(place: Attention, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor | None:
    """Of one sequence, q (T, heads, size) and k (S, heads, size), with what the forward pass was given as its mask."""
    length, keys = q.shape[0], k.shape[0]
    start, _, stride = of.queries_of(length)
    chosen = q[start::stride]
    seen: Tensor | None = None
    bias: Tensor | None = None
    if place.causal and length == keys and (mask is None or mask.dim() != 4):
        seen = of.seen_by(start, stride, len(chosen), keys, q.device)
    if mask is not None and mask.dim() == 4 and mask.shape[-1] == keys:  # (B or 1, heads or 1, T or 1, S), whole
        mask = mask.detach()[0]
        mask = mask[:, start::stride] if mask.shape[1] == length else mask
        seen, bias = (None, mask) if mask.is_floating_point() else (mask.bool(), None)
    elif mask is not None and mask.dim() == 2 and tuple(mask.shape)[1:] == (keys,) and not mask.is_floating_point():
        there = mask.detach()[0].bool()  # (B, S): which keys are no padding
        seen = there.expand(1, len(chosen), keys) if seen is None else seen & there
    return of.attention_entropy(chosen, k, place.scale, seen, bias, place.cap)


def packed(module: nn.MultiheadAttention, given: Mapping[str, Any]) -> Values:
    """The same for torch's own module, which is asked for its projections once more: 6 % of the layer's forward."""
    query, key = plain(given.get("query")), plain(given.get("key"))
    if query is None or key is None or query.dim() > 3:
        return None, None
    if module._qkv_same_embed_dim:  # noqa: SLF001  # its own word for how it keeps its weights
        weights = module.in_proj_weight.detach().chunk(3)
    else:
        weights = module.q_proj_weight.detach(), module.k_proj_weight.detach()
    if any(type(weight) is not Tensor for weight in weights):
        return None, None
    biases = (None, None) if module.in_proj_bias is None else module.in_proj_bias.detach().chunk(3)
    projected = []
    for x, weight, bias in zip((query, key), weights, biases, strict=False):
        x = nn.functional.linear(x.to(weight.dtype), weight, bias)  # noqa: PLW2901
        x = x.unsqueeze(0) if x.dim() == 2 else x if module.batch_first else x.transpose(0, 1)  # noqa: PLW2901
        projected.append(x.reshape(*x.shape[:2], module.num_heads, -1))
    q, k = projected
    scale = module.head_dim ** -0.5
    bound = of.attention_logit(q, k, scale)
    if k.shape[1] < of.SHORTEST:
        return bound, None
    start, _, stride = of.queries_of(q.shape[1])
    added = _added(module, given, start, stride, q.dtype)
    return bound, of.attention_entropy(q[0, start::stride], k[0], scale, None, added)


def _added(module: nn.MultiheadAttention, given: Mapping[str, Any], start: int, stride: int, dtype: torch.dtype
           ) -> Tensor | None:
    """Its masks, as what is added to the logits of the first sequence; None without any."""
    masks = list[Tensor]()
    mask, padding = given.get("attn_mask"), given.get("key_padding_mask")
    if isinstance(mask, Tensor):  # (T, S), or (B heads, T, S)
        whole = mask.detach()[:module.num_heads] if mask.dim() == 3 else mask.detach().unsqueeze(0)
        masks.append(whole[:, start::stride])
    if isinstance(padding, Tensor):
        masks.append((padding.detach()[0] if padding.dim() == 2 else padding.detach()).expand(1, 1, -1))
    bias: Tensor | None = None
    for part in masks:  # True: not seen
        if not part.is_floating_point():
            part = torch.zeros_like(part, dtype=dtype).masked_fill(part, -math.inf)  # noqa: PLW2901
        bias = part if bias is None else bias + part
    return bias
