"""The table of scenarios: schedules, words that fit the screen, and trainings that do in a few steps what they say."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from tuimon.demo.corpus import SimpleTextDataset, create_dataloader, read_text, split_tokens, unigram_entropy
from tuimon.demo.model import GPTModel, create_model_config
from tuimon.demo.options import DemoOptions
from tuimon.demo.scenarios import SCENARIOS, Schedule, find_scenario
from tuimon.demo.tokenizer import create_tokenizer
from tuimon.demo.train import create_optimizer, train
from tuimon.errors import UsageError
from tuimon.record.rundir import list_runs
from tuimon.record.segments import LogReader
from tuimon.record.tensors import layer_of

EVERY = [s for scenario in SCENARIOS.values() for s in (scenario, *scenario.variants.values())]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def losses(*, steps: int, **options) -> list[float]:
    return torch.stack(train(DemoOptions(steps=steps, speed=1e9, **options), bare=True)).tolist()


def gradients(scenario, steps: int) -> tuple[dict[str, float], float]:
    """RMS of the gradient of each layer, and the global norm, after `steps` steps on random windows of the text."""
    torch.manual_seed(0)
    text = read_text()
    tokenizer = create_tokenizer(text)
    model = GPTModel(**create_model_config("tiny", vocab_size=tokenizer.vocab_size, **scenario.model))
    optimizer = create_optimizer(model, scenario, None)
    data = SimpleTextDataset(torch.tensor(tokenizer.encode(text)))
    for inputs, targets in create_dataloader(data, 4, steps=steps):
        optimizer.zero_grad()
        cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
    squares: dict[str, tuple[float, int]] = {}
    for name, p in model.named_parameters():
        total, count = squares.get(layer_of(name), (0.0, 0))
        squares[layer_of(name)] = (total + p.grad.double().square().sum().item(), count + p.numel())
    return {k: math.sqrt(s / n) for k, (s, n) in squares.items()}, math.sqrt(sum(s for s, _ in squares.values()))


@pytest.mark.parametrize("scenario", EVERY, ids=lambda s: s.title)
def test_what_is_said_on_screen_is_one_short_line(scenario):
    assert "\n" not in scenario.statement
    assert 20 < len(scenario.statement) <= 100
    assert len(scenario.title) <= 50


def test_names_are_those_of_the_table():
    assert list(SCENARIOS) == ["healthy", "exploding", "vanishing", "slow", "spike", "nan", "bad-batch", "oscillating",
                               "overfitting", "plateau", "dead-layer", "fp16-collapse", "attention-collapse", "bad-init"]
    assert all(s.name == name for name, scenario in SCENARIOS.items() for s in (scenario, *scenario.variants.values()))


def test_whatever_goes_wrong_is_noted_when_it_begins():
    silent = {(s.name, s.title) for s in EVERY if s.fault is None}
    assert silent == {("healthy", SCENARIOS["healthy"].title), ("vanishing", SCENARIOS["vanishing"].title)}
    assert all(s.fault.endswith("(planted by this demo)") for s in EVERY if s.fault)
    assert all(s.faulty_from <= s.least_steps <= s.steps for s in EVERY)


def test_an_unknown_name_lists_the_known_ones_and_a_foreign_option_says_whose_it_is():
    with pytest.raises(UsageError, match="healthy, exploding, vanishing, slow"):
        find_scenario("explode")
    with pytest.raises(UsageError, match=r"--deep.*belongs to: vanishing"):
        find_scenario("exploding", deep=True)
    assert find_scenario("exploding", from_start=True).lr == 1.0


def test_a_healthy_schedule_warms_up_and_comes_down_to_its_floor():
    schedule = Schedule(warmup=10, floor=0.1)
    values = [schedule.factor(step, 200) for step in range(1, 201)]
    assert values[0] == pytest.approx(0.1, rel=0.01)
    assert values == [*sorted(values[:10]), *sorted(values[10:], reverse=True)]
    assert values[-1] == pytest.approx(0.1)
    assert max(values) <= 1.0
    assert schedule.factor(1000, 200) == pytest.approx(0.1)


def test_the_runaway_begins_after_its_step_rises_geometrically_and_never_comes_back():
    schedule = Schedule(warmup=20, runaway_after=150, runaway_times=1000.0, runaway_ramp=20)
    assert schedule.factor(150, 600) == 1.0
    assert schedule.factor(160, 600) == pytest.approx(1000.0 ** 0.5)
    assert [schedule.factor(step, 600) for step in (170, 171, 600, 10_000)] == [pytest.approx(1000.0)] * 4


@pytest.mark.nightly
def test_a_healthy_gpt_learns_more_than_how_often_each_character_occurs():
    text = read_text()
    entropy = unigram_entropy(create_tokenizer(text).encode(text))
    last = losses(scenario="healthy", steps=130, seed=3)[-10:]
    assert sum(last) / len(last) < 0.93 * entropy


def test_a_run_is_the_same_every_time_and_another_with_another_seed():
    assert losses(scenario="slow", steps=3) == losses(scenario="slow", steps=3)
    assert losses(scenario="slow", steps=3) != losses(scenario="slow", steps=3, seed=2)


LONG = (("healthy", None), ("fp16-collapse", None))
SHORT = [(s.name, v) for s in SCENARIOS.values() for v in (None, *s.variants) if (s.name, v) not in LONG]
PAST = 22
"""A snapshot is taken at step 20. It is nothing of a scenario's own, so that by day two go on to it: with a scaler and without."""


@pytest.mark.parametrize(("name", "variant", "steps"), [
    *[(*each, PAST) for each in LONG], *[(*each, 7) for each in SHORT],
    *[pytest.param(*each, PAST, marks=pytest.mark.nightly) for each in SHORT],
])
def test_being_watched_changes_no_bit_of_any_scenario(name, variant, steps):
    """What the watched loop logged is what the bare loop computes."""
    told = {variant: True} if variant else {}
    train(DemoOptions(scenario=name, steps=steps, speed=1e9, **told))
    logged = [float(v) for chunk in LogReader(list_runs()[0].metrics).poll() for v in chunk.measured("loss")[1]]
    assert logged == losses(scenario=name, steps=steps, **told)
    assert len(logged) == steps


@pytest.mark.nightly   # by day it is seen, named and rescued in test_program_rescue
def test_until_the_fault_an_exploding_run_learns_and_then_it_does_not():
    values = losses(scenario="exploding", steps=225, seed=2)
    usual = sum(values[140:150]) / 10
    assert usual < 3.1
    assert max(values[:150]) == pytest.approx(math.log(104), abs=0.3)
    assert min(values[210:]) > 2 * usual


def test_learning_rate_one_from_the_first_step_is_lost_at_once():
    values = losses(scenario="exploding", from_start=True, steps=8)
    assert max(values) > 10 * values[0]
    assert min(values[3:]) > 2 * values[0]


def test_a_learning_rate_of_1e8_moves_nothing():
    values = losses(scenario="slow", steps=12)
    assert max(values) - min(values) < 0.2


def test_the_notebooks_vanishing_run_does_not_vanish():
    layers, norm = gradients(SCENARIOS["vanishing"], 3)
    assert 0.3 < norm < 10
    blocks = [v for k, v in layers.items() if k.startswith("blocks")]
    assert len(blocks) == 6
    assert max(blocks) < 10 * min(blocks)


def test_without_residuals_the_gradient_dies_with_depth():
    layers, norm = gradients(SCENARIOS["vanishing"].variants["deep"], 3)
    blocks = [v for k, v in layers.items() if k.startswith("blocks")]
    assert blocks == sorted(blocks)
    assert blocks[0] < 1e-4 * blocks[-1]
    assert blocks[0] > 0
    assert norm > 0.3


def test_the_split_of_the_real_text_leaves_both_parts_long_enough():
    parts = split_tokens(create_tokenizer(read_text()).encode(read_text()), 64)
    assert len(parts.train) > 8 * len(parts.validation) > 10_000
