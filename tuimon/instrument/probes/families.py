"""Attention modules by what they are built of. Literal tables; reads modules, never writes to them.

A module is attention where it has, under the names of a family, a projection that gives queries and one that gives keys
(or one that gives both), and says how wide a head is or how many there are:

    apart      two linears: Llama, Qwen, Gemma, OPT, BART, T5, BERT, ViT, DistilBERT, Meta's wq/wk, lucidrains' to_q
    thirds     one, [queries | keys | values]: GPT-2's Conv1D, nanoGPT, timm, this package's demo, Phi-3, MPT
    by head    one, head by head [query key value]: GPT-NeoX, Pythia, BLOOM
    packed     torch's own nn.MultiheadAttention, which projects by a matrix that is no module

Fewer key heads than query heads (grouped-query attention) are told by the widths. Norms of queries and keys that are
modules (Qwen 3, Gemma 3, timm) are taken as what the product sees. What no structure shows is left out rather than
guessed: attention that norms its queries by a function gets no probe. One whose code speaks of positions gets no
entropy, unless they are put in as Hugging Face does it (`position_embeddings`, and `apply_rotary_pos_emb` beside the
class); rotation keeps norms, so the bound on logits holds for all.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Final, Literal

from torch import nn

Cut = Literal["apart", "thirds", "by head"]


@dataclass(frozen=True, slots=True)
class Family:
    """How queries and keys are had."""

    names: tuple[str, ...]
    """Of the child that gives both, or of the two that give one each."""
    cut: Cut


FAMILIES: Final[tuple[Family, ...]] = (
    Family(("q_proj", "k_proj"), "apart"),
    Family(("query", "key"), "apart"),
    Family(("q_lin", "k_lin"), "apart"),
    Family(("q", "k"), "apart"),
    Family(("wq", "wk"), "apart"),
    Family(("Wq", "Wk"), "apart"),
    Family(("w_q", "w_k"), "apart"),
    Family(("W_q", "W_k"), "apart"),
    Family(("W_query", "W_key"), "apart"),
    Family(("c_q", "c_k"), "apart"),
    Family(("to_q", "to_k"), "apart"),
    Family(("q_linear", "k_linear"), "apart"),
    Family(("c_attn",), "thirds"),
    Family(("qkv",), "thirds"),
    Family(("qkv_proj",), "thirds"),
    Family(("to_qkv",), "thirds"),
    Family(("Wqkv",), "thirds"),
    Family(("query_key_value",), "by head"),
)
NORMS: Final = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"), ("q_layer_norm", "k_layer_norm"),
                ("query_norm", "key_norm"), ("norm_q", "norm_k"), ("q_ln", "k_ln"), ("ln_q", "ln_k"))
SIZES: Final = ("head_dim", "head_size", "attention_head_size", "key_value_proj_dim", "dim_head", "d_head", "d_k")
"""Words for the width of a head."""
COUNTS: Final = ("num_heads", "n_heads", "n_head", "num_attention_heads", "heads", "nhead",
                 "num_query_heads", "n_local_heads")
"""Words for the number of query heads."""
FEWER: Final = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_kv_head", "n_local_kv_heads")
"""Words for the number of key heads."""
SCALES: Final = ("scaling", "scale", "softmax_scale")
UNSCALED: Final = ("T5Attention", "GPTNeoSelfAttention")
"""Ends of class names: their logits are not divided by sqrt(head width), and they do not say so."""
CAPS: Final = ("attn_logit_softcapping", "attention_logit_softcapping")
CAUSAL: Final = ("is_causal", "causal")
POSITIONS: Final = {"rotary", "rotate", "rotated", "rotation", "rope", "freqs", "cis", "cos", "sin", "alibi",
                    "relative", "rel"}
"""Words in the names of code that puts positions into logits."""


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """One attention module whose projections are modules."""

    name: str
    module: nn.Module
    q: nn.Module
    """Gives queries, or all three."""
    k: nn.Module
    """Gives keys; the same one where `cut` is not "apart"."""
    cut: Cut
    size: int
    """Width of a head."""
    heads: tuple[int, int]
    """Of queries and of keys, in the whole; a shard of them has fewer."""
    scale: float
    cap: float | None
    """Of the logits; None where they are not capped."""
    causal: bool
    """Whether a query sees what comes after it; what the forward pass is given as a mask counts as well."""
    turned: Literal["no", "by Hugging Face", "somehow"]
    """Whether positions are put into queries and keys after the modules that give them."""

    quantities = ("attention_logit", "attention_entropy")


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """One nn.MultiheadAttention."""

    name: str
    module: nn.MultiheadAttention

    quantities = ("attention_logit", "attention_entropy")


def width_out(module: Any) -> int:
    """What a linear map gives, 0 where this is none: nn.Linear and what replaces it, Hugging Face's Conv1D."""
    found = getattr(module, "out_features", None) or getattr(module, "nf", None)
    return found if isinstance(found, int) else 0


def width_in(module: Any) -> int:
    """What a linear map takes, 0 where this is none."""
    found = getattr(module, "in_features", None) or getattr(module, "nx", None)
    return found if isinstance(found, int) else 0


def attention_in(name: str, module: nn.Module, *, causal: bool) -> Attention | Packed | None:
    """The module, if it is one of the table. `causal`: of its kind, where it does not say."""
    if isinstance(module, nn.MultiheadAttention):
        return Packed(name, module)
    for family in FAMILIES:
        parts = [module._modules.get(child) for child in family.names]  # noqa: SLF001  # children() has no names
        if all(width_out(part) for part in parts):
            return _attention(name, module, family, [p for p in parts if p is not None], causal=causal)
    return None


def _attention(name: str, module: nn.Module, family: Family, parts: list[nn.Module], *, causal: bool
               ) -> Attention | None:
    measures, words = _measures(module, family, parts), _words(module)
    if measures is None or any(_is_norm(word, module) for word in words):
        return None
    size, heads = measures
    q, k, cut = parts[0], parts[-1], family.cut
    for q_name, k_name in NORMS:
        norms = module._modules.get(q_name), module._modules.get(k_name)  # noqa: SLF001
        if all(n is not None and not isinstance(n, nn.Identity) for n in norms):
            q, k, cut = norms[0], norms[1], "apart"  # type: ignore[assignment]  # neither is None
    turned: Literal["no", "by Hugging Face", "somehow"] = "no"
    if "position_embeddings" in words:
        turned = "by Hugging Face"
    elif any(POSITIONS.intersection(word.lower().split("_")) for word in words):
        turned = "somehow"
    own = _said(module, CAUSAL, bool)
    return Attention(
        name, module, q, k, cut, size, heads, scale=_scale(module, size), cap=_said(module, CAPS, float),
        causal=causal if own is None else own, turned=turned)


def _measures(module: nn.Module, family: Family, parts: list[nn.Module]) -> tuple[int, tuple[int, int]] | None:
    """Width of a head, and how many of queries and keys; None where the widths do not fit what is said."""
    out = width_out(parts[0])
    size, count, fewer = _said(module, SIZES, int), _said(module, COUNTS, int), _said(module, FEWER, int)
    if family.cut == "apart":
        if size is None or out % size:
            if out % (count or 1) or (count is None and out >= width_in(parts[0])):
                return None
            size = out // (count or 1)  # a module of one head says nothing of heads
        if not size or out % size or width_out(parts[1]) % size:
            return None
        heads = out // size, width_out(parts[1]) // size
    elif family.cut == "thirds" and count and fewer and size and out == (count + 2 * fewer) * size:
        heads = count, fewer
    elif out % 3:
        return None
    else:
        size = size if size and count == out // 3 // size else out // 3 // (count or out)
        if not size or out // 3 % size or out // 3 // size != count:
            return None
        heads = out // 3 // size, out // 3 // size
    return (size, heads) if heads[1] and heads[0] % heads[1] == 0 else None


def _scale(module: nn.Module, size: int) -> float:
    """What logits are multiplied by: as the module says, else 1 / sqrt(head width)."""
    said = _said(module, SCALES, float)
    if said:
        return float(said if said <= 1.0 else 1.0 / said)  # some divide
    return 1.0 if type(module).__name__.endswith(UNSCALED) else size ** -0.5


def _said(module: nn.Module, names: tuple[str, ...], kind: type) -> Any:
    """What the module, or else its configuration, says under the first of these names that is of that kind."""
    for holder in (module, getattr(module, "config", None)):
        for name in names:
            value = getattr(holder, name, None)
            if type(value) is kind:
                return value
    return None


def _words(module: nn.Module) -> set[str]:
    """The names that the code of its forward pass uses, and those of its children."""
    code = getattr(inspect.unwrap(type(module).forward), "__code__", None)
    return {*module._modules} if code is None else {*code.co_names, *code.co_varnames, *module._modules}  # noqa: SLF001


def _is_norm(word: str, module: nn.Module) -> bool:
    """Whether a name in the code of its forward pass is that of a norm which is none of its parts, as in nanochat."""
    words = word.lower().split("_")
    return ("norm" in words or "rmsnorm" in words or "normalize" in words) and not hasattr(module, word)
