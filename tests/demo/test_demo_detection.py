"""What each scenario plants is found: the rule of its name, in time, with the right onset, and nothing before it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from tuimon.demo.options import DemoOptions
from tuimon.demo.scenarios import SCENARIOS
from tuimon.demo.train import train
from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Incident
from tuimon.formats.autopsied import examined
from tuimon.launch.process import create
from tuimon.record.events import EventReader
from tuimon.record.segments import LogReader


@dataclass(frozen=True)
class Expected:
    rule: str
    onset: range
    """Steps at which it may say that it began."""
    by: int
    """Step by which it must have been detected."""


EXPECTED = {
    "spike": Expected("loss-spike", range(151, 154), 160),
    "nan": Expected("non-finite", range(151, 152), 152),
    "bad-batch": Expected("outlier-batch", range(151, 152), 152),
    "oscillating": Expected("oscillation", range(129, 258), 512),  # it looks at 128 steps at a time
    "overfitting": Expected("overfitting", range(30, 121), 200),
    "plateau": Expected("plateau", range(200, 1600), 3300),
    "dead-layer": Expected("detached-layer", range(1, 2), 40),
    "fp16-collapse": Expected("loss-scale-collapse", range(151, 153), 160),
    "attention-collapse": Expected("attention-collapse", range(210, 290), 390),  # in three samples, 16 or 32 steps apart
    "bad-init": Expected("bad-init", range(1, 2), 2),
}


def run(name: str, seed: int, steps: int | None = None) -> tuple[list[Incident], dict[str, int]]:
    """Everything found, in the order in which it is told; and the notes of the script, with their steps."""
    torch.set_num_threads(1)
    made = create(name)
    train(DemoOptions(scenario=name, seed=seed, steps=steps, speed=1e9, run_dir=str(made.path)))
    info = made.read_info()
    assert info is not None
    engine, log = Engine(context_of(info)), LogReader(made.metrics)
    while chunks := log.poll():
        for chunk in chunks:
            engine.feed(chunk)
    notes = {event.text("text"): event.step for event in EventReader(made.events).poll() if event.kind == "note"}
    return list(engine.diagnosis.incidents), notes


def check(name: str, seed: int, steps: int | None = None) -> Incident:
    scenario, expected = SCENARIOS[name], EXPECTED[name]
    told, notes = run(name, seed, steps)
    found = sorted(told, key=lambda i: i.detected_step)
    print(name, seed, [(i.rule, i.severity, i.onset_step, i.detected_step) for i in found])
    assert notes == {scenario.fault: scenario.faulty_from - 1}  # said when the step before it was complete
    mine = next(i for i in (*told[:1], *found[:2]) if i.rule == expected.rule)
    assert mine.onset_step in expected.onset
    assert mine.detected_step <= expected.by
    assert mine.next
    assert [i for i in found if i.severity == "critical" and i.detected_step < scenario.faulty_from] == []
    return mine


def test_every_planted_fault_has_a_rule_that_must_find_it():
    assert list(SCENARIOS)[4:] == [name for name in SCENARIOS if name in EXPECTED]


def test_a_detach_is_found_within_40_steps_and_both_sides_of_it_are_named():
    mine = check("dead-layer", 5, 40)
    assert mine.layer == "blocks.1"
    assert "between blocks.1 and blocks.2" in mine.next[0]


def test_weights_drawn_at_a_std_of_1_are_found_at_the_second_step():
    assert "0.02" in check("bad-init", 5, 4).next[0]


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", EXPECTED)
def test_every_scenario_is_found_for_what_it_is_with_every_seed(name, seed):
    check(name, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["spike", "nan", "bad-batch", "oscillating", "fp16-collapse", "attention-collapse"])
def test_being_watched_changes_no_bit_past_the_planted_fault_either(name):
    """Ten steps past it; as text, so that NaN is NaN."""
    made = create(name)
    train(DemoOptions(scenario=name, steps=160, speed=1e9, run_dir=str(made.path)))
    logged = [float(v) for chunk in LogReader(made.metrics).poll() for v in chunk.measured("loss")[1]]
    bare = torch.stack(train(DemoOptions(scenario=name, steps=160, speed=1e9), bare=True)).tolist()
    assert str(logged) == str(bare)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "place", "module"), [("nan", "loss", ""), ("fp16-collapse", "linear", "blocks.0.mlp.fc1")])
def test_what_made_the_first_nan_is_named(name, place, module):
    torch.set_num_threads(1)
    made = create(name)
    train(DemoOptions(scenario=name, steps=160, speed=1e9, run_dir=str(made.path)))
    (found,) = examined(str(made.path)).found
    assert (found.step, found.found_by, found.place, found.module) == (151, "replay", place, module)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "steps"), [("nan", 230), ("fp16-collapse", 230), ("attention-collapse", 420)])
def test_where_the_verdict_offers_a_rescue_it_brings_the_run_back(name, steps):
    options = ["demo", name, "--headless", "--speed", "1000", "--on-critical", "rescue", "--steps", str(steps)]
    done = subprocess.run([sys.executable, "-m", "tuimon", *options], capture_output=True, text=True)
    body = json.loads(done.stdout)
    assert (done.returncode, body["rescues"]) == (0, 1)
    assert body["loss_last"] < 0.85 * body["loss_first"]
