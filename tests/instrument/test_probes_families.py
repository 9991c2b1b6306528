"""What can be probed is found by type and structure, in models that nobody made for it; what is not understood is left."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from probing import Layer, Mlp, NanoAttention, Trunk
from torch import Tensor, nn

from tuimon.demo.model import GPTModel
from tuimon.instrument.probes.families import Attention
from tuimon.instrument.probes.finding import entries_of, find

HUGGING_FACE = pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="transformers is not installed")


def names(model: nn.Module, vocab_size: int | None = None) -> dict[str, list[str]]:
    """Quantity -> modules."""
    found: dict[str, list[str]] = {}
    for entry in entries_of(find(model, vocab_size)):
        found.setdefault(entry.quantity, []).append(entry.module)
    return found


def heads(model: nn.Module) -> list[tuple[int, tuple[int, int], float, bool, str]]:
    return [(p.size, p.heads, round(p.scale, 4), p.causal, p.turned) for p in find(model) if isinstance(p, Attention)]


def test_the_demos_model_is_found_whole() -> None:
    model = GPTModel(17, d_model=12, n_heads=3, n_layers=2, d_ff=20)
    found = names(model)
    attention = ["blocks.0.attn", "blocks.1.attn"]
    assert found == {
        "attention_logit": attention, "attention_entropy": attention, "activation_rms": ["blocks.0", "blocks.1"],
        "dead_units": ["blocks.0.mlp.fc2", "blocks.1.mlp.fc2"], "logit_scale": ["head"], "logit_mean": ["head"]}
    assert heads(model) == 2 * [(4, (3, 3), 0.5, True, "no")]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_torchs_encoder_is_found_and_whether_its_units_can_be_exactly_zero(activation: str) -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, activation=activation), 2, enable_nested_tensor=False)
    assert names(model) == {
        "attention_logit": ["layers.0.self_attn", "layers.1.self_attn"],
        "attention_entropy": ["layers.0.self_attn", "layers.1.self_attn"],
        "dead_units": ["layers.0.linear2", "layers.1.linear2"], "activation_rms": ["layers.0", "layers.1"]}
    assert {p.exactly for p in find(model) if hasattr(p, "exactly")} == {activation == "relu"}


@HUGGING_FACE
@pytest.mark.parametrize(("kind", "sizes", "attention", "units"), [
    ("GPT2LMHeadModel", {"n_embd": 8}, (2, (4, 4), 0.7071, True, "no"), "transformer.h.0.mlp.c_proj"),
    ("LlamaForCausalLM", {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2},
     (4, (4, 2), 0.5, True, "by Hugging Face"), "model.layers.0.mlp.down_proj"),
    ("BertForMaskedLM", {"hidden_size": 16, "intermediate_size": 32}, (4, (4, 4), 0.5, False, "no"),
     "bert.encoder.layer.0.intermediate.intermediate_act_fn"),
    ("GPTNeoXForCausalLM", {"hidden_size": 16, "intermediate_size": 32}, (4, (4, 4), 0.5, True, "by Hugging Face"),
     "gpt_neox.layers.0.mlp.dense_4h_to_h"),
    ("OPTForCausalLM", {"hidden_size": 16, "ffn_dim": 32, "word_embed_proj_dim": 16}, (4, (4, 4), 0.5, True, "no"),
     "model.decoder.layers.0.fc2"),
    ("T5ForConditionalGeneration", {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4},
     (4, (4, 4), 1.0, False, "somehow"), "encoder.block.0.layer.1.DenseReluDense.wo"),
    ("BloomForCausalLM", {"hidden_size": 16, "n_head": 4}, (4, (4, 4), 0.5, True, "somehow"),
     "transformer.h.0.mlp.dense_4h_to_h"),
    ("Gemma2ForCausalLM", {"hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8},
     (8, (4, 2), 0.0625, True, "by Hugging Face"), "model.layers.0.mlp.down_proj"),
    ("ViTForImageClassification", {"hidden_size": 16, "intermediate_size": 32, "image_size": 32},
     (4, (4, 4), 0.5, False, "no"), "vit.*.0.*"),
])
def test_models_of_hugging_face_are_found_with_their_heads_their_scale_and_their_units(
    kind: str, sizes: dict[str, int], attention: tuple[object, ...], units: str
) -> None:
    import transformers

    made = getattr(transformers, kind)
    config = made.config_class(**{"num_hidden_layers": 1, "num_layers": 1, "num_attention_heads": 4, "vocab_size": 17,
                                  "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **sizes})
    model = made(config)
    assert heads(model)[0] == attention
    found = names(model)
    assert found["dead_units"][0] == units or "*" in units
    assert ("logit_scale" in found) == (kind != "ViTForImageClassification")


class Rotated(NanoAttention):
    def forward(self, x: Tensor) -> Tensor:
        return apply_rotary_emb(super().forward(x))


class Normed(NanoAttention):
    def forward(self, x: Tensor) -> Tensor:
        return norm(super().forward(x))


def apply_rotary_emb(x: Tensor) -> Tensor:
    return x


def norm(x: Tensor) -> Tensor:
    return x


def test_attention_that_puts_in_positions_unseen_gets_no_entropy_and_what_norms_by_a_function_nothing() -> None:
    rotated, normed = find(Trunk(Rotated())), find(Trunk(Normed()))
    assert [p.turned for p in rotated if isinstance(p, Attention)] == ["somehow"]
    assert [p for p in normed if isinstance(p, Attention)] == []


def test_a_head_of_its_own_says_nothing_of_heads_and_a_width_that_does_not_fit_is_left_alone() -> None:
    one = nn.Module()
    one.query, one.key, one.value = (nn.Linear(12, 4) for _ in range(3))
    assert heads(one) == [(4, (1, 1), 0.5, False, "no")]
    one.query, one.key = nn.Linear(12, 12), nn.Linear(12, 12)
    assert heads(one) == [], "twelve numbers of how many heads?"
    one.num_heads = 5
    assert heads(one) == []


def test_hidden_units_are_found_in_chains_and_gated_nets_and_not_in_attention_or_experts() -> None:
    chain = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 2))
    assert names(chain) == {"dead_units": ["2", "4"]}
    gated = nn.Module()
    gated.w1, gated.w2, gated.w3 = nn.Linear(8, 24), nn.Linear(24, 8), nn.Linear(8, 24)
    assert names(gated) == {"dead_units": ["w2"]}
    wide = nn.Module()
    wide.q_proj, wide.k_proj, wide.o_proj = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
    wide.head_dim = 4
    assert "dead_units" not in names(wide)
    mixture = nn.Module()
    mixture.experts = nn.ModuleList(Mlp(nn.GELU()) for _ in range(4))
    assert "dead_units" not in names(mixture)


def test_logits_are_those_of_the_map_to_the_vocabulary_and_of_the_model_where_there_is_none() -> None:
    assert names(Trunk(Layer(), vocabulary=20))["logit_scale"] == ["head"], "its feed-forward net is 20 wide as well"
    model = Trunk(Layer())
    del model.head
    assert names(model)["logit_scale"] == [""]
    assert "logit_scale" not in names(Mlp(nn.GELU()))
    assert names(Mlp(nn.GELU(), hidden=30), vocab_size=30)["logit_scale"] == ["up"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_of_which_nothing_is_understood_has_no_probes() -> None:
    assert find(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10))) == ()
    assert find(nn.LSTM(4, 4)) == ()
    assert find(torch.jit.script(nn.Linear(2, 2))) == ()


class Strange(nn.Module):
    """Attributes that answer anything, or nothing."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


def test_a_module_that_cannot_be_looked_at_costs_the_probes_and_no_more() -> None:
    strange = Strange.__new__(Strange)
    nn.Module.__init__(strange)
    assert find(strange) == ()


def test_of_a_very_deep_model_sixty_four_layers_are_probed_evenly() -> None:
    model = Trunk(*(Layer() for _ in range(100)))
    found = names(model)
    for quantity in ("attention_logit", "dead_units", "activation_rms"):
        assert len(set(found[quantity])) == 64
        assert found[quantity][0].startswith("layers.0")
        assert found[quantity][-1].startswith("layers.99")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_compiled_is_left_out_with_all_that_is_in_it() -> None:
    model = Trunk(Layer(), Layer(), Layer())
    model.layers[0] = torch.compile(model.layers[0], backend="eager")
    model.layers[1].compile(backend="eager")
    model.layers[2].mlp.forward = torch.compile(model.layers[2].mlp.forward, backend="eager")
    found = names(model)
    assert found["attention_logit"] == ["layers.2.attn"]
    assert "dead_units" not in found
    assert find(torch.compile(model, backend="eager")) == ()
