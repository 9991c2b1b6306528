"""What the scenarios plant: each fault is what it says, and nothing besides."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch.nn.functional import cross_entropy

from tuimon.demo.corpus import SimpleTextDataset, create_dataloader
from tuimon.demo.faults import difficulty, masked_loss, plant, sorting, token_loss
from tuimon.demo.model import GPTModel, create_model_config
from tuimon.demo.scenarios import SCENARIOS
from tuimon.errors import UsageError

BATCH = (torch.arange(24).view(2, 12) % 7, (torch.arange(24).view(2, 12) + 1) % 7)


def gpt(**settings) -> GPTModel:
    torch.manual_seed(0)
    return GPTModel(**create_model_config("tiny", vocab_size=7, d_model=16, n_heads=2, d_ff=16, **settings))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_batch_is_touched_at_the_planted_steps_alone(name):
    scenario, model = SCENARIOS[name], gpt()
    before = [p.clone() for p in model.parameters()]
    for step in (1, 149, 150, 171, 300):
        if step not in scenario.planted:
            assert plant(scenario, step, BATCH, model, 1) is BATCH
            assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_shuffled_labels_are_the_same_labels_elsewhere_and_the_same_for_the_same_seed():
    inputs, targets = plant(SCENARIOS["spike"], 151, BATCH, gpt(), 1)
    assert inputs is BATCH[0]
    assert not torch.equal(targets, BATCH[1])
    assert Counter(targets.flatten().tolist()) == Counter(BATCH[1].flatten().tolist())
    assert torch.equal(targets, plant(SCENARIOS["spike"], 151, BATCH, gpt(), 1)[1])
    assert not torch.equal(targets, plant(SCENARIOS["spike"], 152, BATCH, gpt(), 1)[1])


def test_a_batch_of_noise_is_of_tokens_that_the_model_knows():
    inputs, targets = plant(SCENARIOS["bad-batch"], 151, BATCH, gpt(), 1)
    assert inputs.shape == targets.shape == BATCH[0].shape
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert set(inputs.flatten().tolist()) == set(range(7))


def test_a_batch_without_a_label_costs_nan_and_turns_every_weight_into_nan():
    model = gpt()
    inputs, targets = plant(SCENARIOS["nan"], 151, BATCH, model, 1)
    loss = masked_loss(model(inputs), targets)
    loss.backward()
    assert math.isnan(loss.item())
    assert all(p.grad.isnan().any() for p in model.parameters())


def test_where_every_label_counts_the_hand_written_loss_is_the_usual_one():
    logits = torch.randn(2, 12, 7, generator=torch.Generator().manual_seed(0))
    assert masked_loss(logits, BATCH[1]).item() == pytest.approx(token_loss(logits, BATCH[1]).item(), rel=1e-6)
    assert token_loss(logits, BATCH[1]) == cross_entropy(logits.flatten(0, 1), BATCH[1].flatten())


def test_the_botched_weights_overflow_in_half_precision_and_in_float32_do_not():
    settings = dict(SCENARIOS["fp16-collapse"].model)
    torch.manual_seed(0)
    model = GPTModel(**create_model_config("tiny", vocab_size=7, **settings))
    plant(SCENARIOS["fp16-collapse"], 151, BATCH, model, 1)
    assert token_loss(model(BATCH[0]), BATCH[1]).isfinite()
    with torch.autocast("cpu", torch.float16):
        assert not token_loss(model(BATCH[0]), BATCH[1]).isfinite()


def test_queries_and_keys_grow_at_each_planted_step_and_values_do_not():
    scenario = SCENARIOS["attention-collapse"]
    torch.manual_seed(0)
    model = GPTModel(**create_model_config("tiny", vocab_size=7))
    before = [block.attn.qkv.weight.detach().clone() for block in model.blocks]
    for step in (150, 151, 270, 271):
        plant(scenario, step, BATCH, model, 1)
    for block, weight in zip(model.blocks, before, strict=True):
        queries_and_keys = 2 * block.attn.qkv.in_features
        grown = block.attn.qkv.weight.detach() / weight
        assert grown[:queries_and_keys].mean().item() == pytest.approx(1.03 ** 2)
        assert bool((grown[queries_and_keys:] == 1).all())


def test_sorted_shards_hold_the_same_windows_from_easy_to_hard():
    tokens = torch.randint(50, (4000,), generator=torch.Generator().manual_seed(0)) ** 2 // 50
    data = SimpleTextDataset(tokens, max_seq_len=8)
    hard = difficulty(data)
    assert hard.shape == (len(data),)
    drawn = list(create_dataloader(data, 2, steps=50).sampler)
    arranged = list(create_dataloader(data, 2, steps=50, arrange=sorting(data, 2, 11)).sampler)
    assert arranged[:20] == drawn[:20]
    for first in (20, 52, 84):
        shard = arranged[first:first + 32]
        assert sorted(shard) == sorted(drawn[first:first + 32])
        assert [hard[i].item() for i in shard] == sorted(hard[i].item() for i in shard)
    resumed = create_dataloader(data, 2, steps=50, skip=30, arrange=sorting(data, 2, 11))
    assert list(resumed.sampler) == arranged[60:]


def test_how_hard_a_window_is_follows_from_how_rare_its_targets_are():
    data = SimpleTextDataset(torch.tensor([0, 0, 0, 0, 1, 0, 0, 0, 0]), max_seq_len=4)
    easy, rare = -math.log(8 / 9), -math.log(1 / 9)
    assert difficulty(data).tolist() == pytest.approx([(3 * easy + rare) / 4, easy])


def test_a_detach_leaves_what_is_before_it_without_a_gradient():
    model = gpt(detach_at=2)
    token_loss(model(BATCH[0]), BATCH[1]).backward()
    dead = {name.split(".weight")[0].split(".bias")[0][:8] for name, p in model.named_parameters() if p.grad is None}
    assert dead == {"embed.to", "embed.po", "blocks.0", "blocks.1"}


def test_with_the_mask_bug_a_token_sees_itself_alone():
    model = gpt(looks_back=False)
    changed = BATCH[0].clone()
    changed[:, 3] = 6
    same = (model(BATCH[0]) == model(changed)).all(dim=2)
    assert same.all(dim=0).tolist() == [i != 3 for i in range(12)]
    assert not torch.equal(gpt()(BATCH[0])[:, 4:], gpt()(changed)[:, 4:])


def test_a_wide_embedding_is_wide_in_the_output_layer_that_is_tied_to_it():
    model = gpt(embed_std=1.0, tie_weights=True)
    assert model.head.weight is model.embed.tokens.weight
    assert model.head.weight.std().item() == pytest.approx(1.0, abs=0.2)
    assert model.embed.positions.weight.std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(("setting", "value"), [("embed_std", 0.0), ("embed_std", True), ("embed_std", "wide"),
                                                ("detach_at", 4), ("detach_at", -1), ("detach_at", True)])
def test_a_break_that_cannot_be_built_is_refused_in_one_line(setting, value):
    with pytest.raises(UsageError, match=setting) as refused:
        create_model_config("tiny", **{setting: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", ["tiny", "small", "gpt2"])
def test_every_scenario_can_be_built_at_every_size(size):
    for scenario in SCENARIOS.values():
        create_model_config(size, **{**scenario.model, "vocab_size": 300})
