"""The GPT is a GPT: shapes, causality, initialisation, generation, and errors in one line."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from tuimon.demo import GPTModel, create_model_config
from tuimon.errors import UsageError


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def small(**overrides) -> GPTModel:
    torch.manual_seed(0)
    config = {"vocab_size": 17, "d_model": 16, "n_heads": 4, "n_layers": 2, "d_ff": 32, "max_seq_len": 12, **overrides}
    return GPTModel(**create_model_config("tiny", **config))


@given(batch=st.integers(1, 3), length=st.integers(1, 12))
def test_tokens_of_any_length_up_to_the_longest_become_logits_for_each_position(batch, length):
    assert small()(torch.zeros(batch, length, dtype=torch.int64)).shape == (batch, length, 17)


@pytest.mark.parametrize("changed", [1, 5, 11])
def test_a_later_token_does_not_change_earlier_logits_and_does_change_its_own(changed):
    model = small(init_std=0.3).eval()
    tokens = torch.arange(12).unsqueeze(0) % 17
    other = tokens.clone()
    other[0, changed] = 16
    a, b = model(tokens), model(other)
    assert torch.equal(a[:, :changed], b[:, :changed])
    assert not torch.equal(a[:, changed], b[:, changed])
    assert not torch.equal(a[:, -1], b[:, -1])


def test_weights_are_drawn_as_gpt2_draws_them():
    model = GPTModel(**create_model_config("tiny", vocab_size=200, n_layers=8))
    std = {name: p.std().item() for name, p in model.named_parameters() if p.dim() == 2}
    for name, value in std.items():
        wanted = 0.02 / 4 if name.endswith(("attn.proj.weight", "mlp.fc2.weight")) else 0.02  # sqrt(2 * 8) = 4
        assert value == pytest.approx(wanted, rel=0.1), name
    assert all(not p.any() for n, p in model.named_parameters() if n.endswith("bias"))
    assert all(torch.equal(p, torch.ones_like(p)) for n, p in model.named_parameters() if n.endswith("norm1.weight"))


def test_a_fresh_model_knows_nothing():
    model = GPTModel(**create_model_config("tiny", vocab_size=100))
    tokens = torch.randint(100, (8, 64))
    loss = cross_entropy(model(tokens).flatten(0, 1), torch.randint(100, (8 * 64,)))
    assert loss.item() == pytest.approx(math.log(100), abs=0.2)


def test_layers_have_names_that_read_from_input_to_output():
    from tuimon.record.tensors import layer_of

    names = dict.fromkeys(layer_of(name) for name, _ in small().named_parameters())
    assert list(names) == ["embed", "blocks.0", "blocks.1", "norm", "head"]


def test_gpt2_is_the_published_size_with_one_shared_embedding():
    with torch.device("meta"):
        model = GPTModel(**create_model_config("gpt2"))
    assert sum(p.numel() for p in model.parameters()) == 124_439_808
    assert small(tie_weights=True).head.weight is not None
    tied = small(tie_weights=True)
    assert tied.head.weight is tied.embed.tokens.weight


def test_dropout_acts_in_training_and_not_in_evaluation():
    model, tokens = small(dropout=0.5), torch.zeros(1, 8, dtype=torch.int64)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_generate_continues_past_the_window_and_leaves_the_model_in_its_mode():
    model, prompt = small(), torch.tensor([[1, 2, 3]])
    first = model.generate(prompt, 20, top_k=5, generator=torch.Generator().manual_seed(1))
    again = model.generate(prompt, 20, top_k=5, generator=torch.Generator().manual_seed(1))
    assert first.shape == (1, 23)
    assert torch.equal(first, again)
    assert torch.equal(first[:, :3], prompt)
    assert model.training
    assert torch.equal(model.generate(prompt, 4, temperature=0.0), model.generate(prompt, 4, top_k=1))


def test_generate_says_so_when_the_model_is_broken():
    model = small()
    with torch.no_grad():
        model.head.weight.fill_(math.nan)
    with pytest.raises(UsageError, match="non-finite"):
        model.generate(torch.tensor([[1]]), 1)
    assert model.training


@pytest.mark.parametrize(("overrides", "said"), [
    ({"d_model": 10}, "n_heads"), ({"n_layers": 0}, "n_layers"), ({"vocab_size": 2.5}, "vocab_size"),
    ({"dropout": 1.0}, "dropout"), ({"dropout": math.nan}, "dropout"), ({"init_std": math.inf}, "init_std"),
    ({"activation": "relu6"}, "gelu"), ({"width": 3}, "width"), ({"n_heads": True}, "n_heads"),
])
def test_a_shape_that_cannot_be_built_is_refused_in_one_line(overrides, said):
    with pytest.raises(UsageError, match=said) as refused:
        create_model_config("tiny", **overrides)
    assert "\n" not in str(refused.value)


def test_an_unknown_size_lists_the_known_ones_and_too_many_tokens_are_refused():
    with pytest.raises(UsageError, match="tiny, small, gpt2"):
        create_model_config("huge")
    with pytest.raises(UsageError, match="13 tokens"):
        small()(torch.zeros(1, 13, dtype=torch.int64))
