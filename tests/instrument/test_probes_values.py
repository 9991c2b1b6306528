"""Every number that a probe gives is the one that plain arithmetic gives, for every family of attention."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from probing import Mlp, NanoAttention, Trunk, VitAttention, entropy_of, probed, tokens, weights_of
from torch import nn

from tuimon.demo.model import GPTModel
from tuimon.instrument.probes.quantities import attention_entropy, attention_logit, dead_units, logit_scale_and_mean

pytestmark = pytest.mark.usefixtures("one_thread")
HUGGING_FACE = pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="transformers is not installed")


@pytest.mark.parametrize(("heads", "fewer", "causal"), [(4, 4, True), (4, 2, False), (6, 1, True)])
def test_the_bound_is_never_below_a_logit_and_the_entropy_is_that_of_the_softmax(
    heads: int, fewer: int, causal: bool
) -> None:
    q, k = torch.randn(3, 50, heads, 8), 2 * torch.randn(3, 50, fewer, 8)
    weights, largest = weights_of(q, k, 0.3, causal=causal)
    bound = attention_logit(q, k, 0.3).item()
    by_hand = (q.norm(dim=-1).amax(1) * k.norm(dim=-1).amax(1).repeat_interleave(heads // fewer, 1)).max().item() * 0.3
    assert largest <= bound
    assert bound == pytest.approx(by_hand)
    start, stride = 25, 2
    seen = torch.ones(50, 50, dtype=torch.bool).tril()[start::stride].unsqueeze(0) if causal else None
    assert attention_entropy(q[0, start::stride], k[0], 0.3, seen).item() == pytest.approx(entropy_of(weights[0]), rel=1e-5)


def test_entropy_is_one_where_all_keys_count_alike_and_zero_where_one_takes_all() -> None:
    q, k = torch.zeros(4, 2, 8), torch.randn(20, 2, 8)
    assert attention_entropy(q, k, 1.0, None).item() == pytest.approx(1.0)
    q[:], k[0] = 1.0, 100.0
    assert attention_entropy(q, k, 1.0, None).item() == pytest.approx(0.0, abs=1e-6)


def test_a_query_that_sees_nothing_does_not_count_and_one_that_is_nan_shows() -> None:
    q, k, seen = torch.randn(2, 1, 4), torch.randn(6, 1, 4), torch.ones(1, 2, 6, dtype=torch.bool)
    alone = attention_entropy(q[:1], k, 0.5, None)
    seen[0, 1] = False
    assert attention_entropy(q, k, 0.5, seen).item() == pytest.approx(alone.item())
    k[2] = math.nan
    assert math.isnan(attention_entropy(q, k, 0.5, seen).item())
    assert math.isnan(attention_logit(q[None], k[None], 0.5).item())


def test_units_are_dead_that_never_fire_and_dormant_that_hardly_do() -> None:
    hidden = torch.rand(4, 5, 10) + 0.5
    hidden[..., 0] = 0.0
    hidden[..., 1] = 1e-3
    assert dead_units(hidden, exactly=True).item() == pytest.approx(0.1)
    assert dead_units(hidden, exactly=False).item() == pytest.approx(0.2)
    assert dead_units(torch.zeros(3, 4), exactly=False).item() == 1.0
    hidden[0, 0, 5] = math.inf
    assert math.isnan(dead_units(hidden, exactly=False).item())


def test_logits_are_summed_in_float32_over_some_tokens() -> None:
    logits = torch.randn(2, 4, 11, dtype=torch.bfloat16)
    scale, mean = logit_scale_and_mean(logits)
    assert scale.item() == pytest.approx(logits.double().logsumexp(-1).abs().mean().item(), rel=1e-5)
    assert mean.item() == pytest.approx(logits.double().mean().item(), rel=1e-4)
    many = torch.randn(8, 400, 11)
    assert logit_scale_and_mean(many)[0].item() == pytest.approx(many.logsumexp(-1).abs().mean().item(), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_whatever_the_precision_of_the_model_numbers_are_float32(dtype: torch.dtype) -> None:
    q = torch.randn(2, 8, 2, 4).to(dtype)
    for value in (attention_logit(q, q, 0.5), attention_entropy(q[0], q[0], 0.5, None), dead_units(q, exactly=True),
                  *logit_scale_and_mean(q)):
        assert (value.dtype, value.dim()) == (torch.float32, 0)


def test_the_demos_model_is_measured_as_arithmetic_would(tmp_path: Path) -> None:
    model = GPTModel(17, d_model=12, n_heads=3, n_layers=2, d_ff=20, max_seq_len=40)
    batch, held = tokens(length=40), dict[str, torch.Tensor]()
    nn.init.normal_(model.blocks[0].attn.qkv.weight, std=1.0)
    for name in ("blocks.0.attn.qkv", "blocks.1", "head", "blocks.1.mlp.act"):
        model.get_submodule(name).register_forward_hook(lambda _m, _a, out, name=name: held.update({name: out.detach()}))
    found = probed(model, lambda: model(batch).logsumexp(-1).mean(), tmp_path / "run")
    q, k, _ = held["blocks.0.attn.qkv"].view(3, 40, 3, 3, 4).unbind(2)
    weights, largest = weights_of(q, k, 0.5, causal=True)
    assert largest <= found["blocks.0.attn", "attention_logit"][1] < 10 * largest
    assert found["blocks.0.attn", "attention_entropy"][1] == pytest.approx(entropy_of(weights[0]), rel=1e-5)
    assert found["blocks.0.attn", "attention_entropy"][1] < 0.9 < found["blocks.1.attn", "attention_entropy"][1]
    assert found["blocks.1", "activation_rms"][1] == pytest.approx(held["blocks.1"].square().mean().sqrt().item())
    assert found["head", "logit_scale"][1] == pytest.approx(held["head"].logsumexp(-1).abs().mean().item(), rel=1e-5)
    hidden = held["blocks.1.mlp.act"].abs().mean((0, 1))
    dead = (hidden <= 0.025 * hidden.mean()).float().mean().item()
    assert found["blocks.1.mlp.fc2", "dead_units"][1] == pytest.approx(dead)


@pytest.mark.parametrize("kind", ["nano", "vit", "vit with norms"])
def test_attention_written_as_nanogpt_or_timm_do_is_measured_behind_its_norms(kind: str, tmp_path: Path) -> None:
    attention = NanoAttention() if kind == "nano" else VitAttention(qk_norm="norms" in kind)
    for p in attention.parameters():
        nn.init.normal_(p, std=0.7)
    model = nn.ModuleDict({"embed": nn.Linear(5, 12), "attn": attention})  # no tokens: what does not say is not causal
    x = torch.randn(2, 11, 5)
    held: list[torch.Tensor] = []
    inner = attention.c_attn if kind == "nano" else attention.qkv
    inner.register_forward_hook(lambda _m, _a, out: held.append(out.detach()))
    model.forward = lambda x: attention(model.embed(x))  # type: ignore[method-assign]
    found = probed(model, lambda: model(x).square().mean(), tmp_path / "run")
    q, k, _ = held[0].view(2, 11, 3, 3, 4).unbind(2)
    if "norms" in kind:
        with torch.no_grad():
            q, k = attention.q_norm(q), attention.k_norm(k)
    weights, largest = weights_of(q, k, 0.5, causal=False)
    assert largest <= found["attn", "attention_logit"][1] < 5 * largest
    assert found["attn", "attention_entropy"][1] == pytest.approx(entropy_of(weights[0]), rel=1e-5)


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "per head", "padding", "float padding"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_torchs_own_attention_is_measured_with_its_masks(mask: str, batch_first: bool, tmp_path: Path) -> None:
    B, T, H = 2, 10, 3
    attention = nn.MultiheadAttention(12, H, batch_first=batch_first)
    nn.init.normal_(attention.in_proj_weight, std=0.6)
    x = torch.randn(B, T, 12) if batch_first else torch.randn(T, B, 12)
    upper, padding = torch.ones(T, T, dtype=torch.bool).triu(1), torch.arange(T).expand(B, T) >= 8
    given: dict[str, Any] = {
        "none": {}, "bool": {"attn_mask": upper},
        "causal": {"attn_mask": nn.Transformer.generate_square_subsequent_mask(T), "is_causal": True},
        "per head": {"attn_mask": torch.zeros(B * H, T, T).masked_fill(upper, -math.inf)},
        "padding": {"key_padding_mask": padding},
        "float padding": {"key_padding_mask": torch.zeros(B, T).masked_fill(padding, -math.inf)},
    }[mask]
    model = nn.Sequential(attention)
    model.forward = lambda x: attention(x, x, x, need_weights=True, average_attn_weights=False, **given)  # type: ignore[method-assign]
    with torch.no_grad():
        weights = model(x)[1]
    found = probed(model, lambda: model(x)[0].square().mean(), tmp_path / "run")
    assert found["0", "attention_entropy"][1] == pytest.approx(entropy_of(weights[0]), rel=1e-4)
    with torch.no_grad():
        q, k, _ = nn.functional.linear(x if batch_first else x.transpose(0, 1), attention.in_proj_weight,
                                       attention.in_proj_bias).view(B, T, 3, H, 4).unbind(2)
    _, largest = weights_of(q, k, 0.5, causal=False)
    assert largest <= found["0", "attention_logit"][1] < 5 * largest


def of_hugging_face(name: str) -> tuple[nn.Module, str]:
    """A tiny model of that kind with eager attention and no dropout, and its first attention module."""
    import transformers as hf

    common = {"num_hidden_layers": 2, "vocab_size": 17, "attn_implementation": "eager", "pad_token_id": 0, "bos_token_id": 1,
              "eos_token_id": 2}
    llama = {**common, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2}
    if name == "gpt2":
        return hf.GPT2LMHeadModel(hf.GPT2Config(
            n_layer=2, n_head=2, n_embd=8, vocab_size=17, attn_implementation="eager", resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, bos_token_id=1, eos_token_id=2)), "transformer.h.0.attn"
    if name == "bert":
        return hf.BertForMaskedLM(hf.BertConfig(
            **common, hidden_size=8, num_attention_heads=2, intermediate_size=12, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0)), "bert.encoder.layer.0.attention.self"
    if name == "neox":
        return hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(
            **common, hidden_size=16, intermediate_size=32, num_attention_heads=2)), "gpt_neox.layers.0.attention"
    if name == "phi3":
        return hf.Phi3ForCausalLM(hf.Phi3Config(**llama)), "model.layers.0.self_attn"
    if name == "qwen3":
        return hf.Qwen3ForCausalLM(hf.Qwen3Config(**llama, head_dim=8)), "model.layers.0.self_attn"
    if name == "gemma2":
        return hf.Gemma2ForCausalLM(hf.Gemma2Config(**llama, head_dim=8)), "model.layers.0.self_attn"
    return hf.LlamaForCausalLM(hf.LlamaConfig(**llama)), "model.layers.0.self_attn"


@HUGGING_FACE
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "neox", "phi3", "qwen3", "gemma2"])
def test_hugging_faces_models_are_measured_as_their_own_attention_weights_say(name: str, tmp_path: Path) -> None:
    """With a padded batch, rotated positions, grouped queries, and logits that are large enough to matter."""
    model, where = of_hugging_face(name)
    for n, p in model.named_parameters():
        if n.startswith(f"{where}.") and p.dim() == 2:
            nn.init.normal_(p, std=0.8)
    batch, mask = tokens(length=12).clamp(min=3), torch.ones(3, 12, dtype=torch.long)
    mask[0, 10:] = 0
    model.train()
    with torch.no_grad():
        weights = model(input_ids=batch, attention_mask=mask, output_attentions=True).attentions
    found = probed(
        model, lambda: model(input_ids=batch, attention_mask=mask, labels=batch).loss, tmp_path / "run")
    visible = mask[0].bool().expand(12, 12)
    visible = visible if name == "bert" else visible & torch.ones(12, 12, dtype=torch.bool).tril()
    entropy = entropy_of(weights[0][0].float(), visible)
    assert entropy < 0.97
    assert found[where, "attention_entropy"][1] == pytest.approx(entropy, rel=1e-4)
    # the difference of two logits of one query is the ratio of their weights: no more than twice the bound
    both = [w[0][:, i][:, visible[i]] for w in weights[:1] for i in range(12)]
    spread = max(float((w.amax(-1) / w.amin(-1)).log().max()) for w in both)
    assert spread <= 2 * found[where, "attention_logit"][1] < 20 * spread
    assert {quantity for _, quantity in found} >= {"dead_units", "activation_rms", "logit_scale", "logit_mean"}
    assert all(steps.keys() == {1} for steps in found.values())


@pytest.mark.parametrize(("activation", "share"), [(nn.ReLU(), 0.25), (nn.GELU(), 0.25), (nn.Sigmoid(), 0.25), (nn.Tanh(), 0.0)])
def test_units_that_a_bias_has_switched_off_are_counted_by_the_kind_of_their_activation(
    activation: nn.Module, share: float, tmp_path: Path
) -> None:
    layer = Mlp(activation)
    with torch.no_grad():
        layer.up.bias[:5] = -30.0
    model = Trunk(layer)
    found = probed(model, lambda: model(tokens()).logsumexp(-1).mean(), tmp_path / "run")
    assert found["layers.0.down", "dead_units"][1] == pytest.approx(share)
