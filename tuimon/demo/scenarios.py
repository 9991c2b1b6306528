"""What the demo can practise: one literal table of trainings, healthy and sick. Pure; no torch.

Every number here was chosen by measurement on the tiny model: see the note beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tuimon.errors import UsageError

Variant = Literal["from_start", "deep"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The learning rate as a multiple of the base rate: warm-up, then flat or cosine, and the planted fault if any."""

    warmup: int = 0
    """Steps of linear warm-up."""
    floor: float = 1.0
    """Where the cosine ends, as a share of the base rate; 1.0 is a flat schedule."""
    runaway_after: int | None = None
    """Last healthy step: from the next one on the rate runs away."""
    runaway_times: float = 1.0
    """What the rate is multiplied by in the end, and for ever."""
    runaway_ramp: int = 1
    """Steps, geometric, until it is."""

    def factor(self, step: int, total: int) -> float:
        """At `step`, counted from 1, of a run of `total` steps."""
        warm = min(1.0, step / self.warmup) if self.warmup else 1.0
        done = min(1.0, step / max(1, total))
        healthy = warm * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * done)))
        if self.runaway_after is None or step <= self.runaway_after:
            return healthy
        run = min(1.0, (step - self.runaway_after) / self.runaway_ramp)
        return healthy * float(self.runaway_times ** run)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One training, as it will be run."""

    name: str
    title: str
    """A few words, for lists."""
    statement: str
    """One line for the screen: what is about to happen and why."""
    optimizer: Literal["AdamW", "Adam"] = "AdamW"
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float | None = None
    """Norm that the script itself clips gradients at; None where it does not."""
    schedule: Schedule = Schedule()
    model: Mapping[str, Any] = field(default_factory=dict)
    """What is built differently from the chosen size."""
    fault: str | None = None
    """What the script notes in the log at the moment the planted fault begins."""
    least_steps: int = 1
    """A shorter run would end before there is anything to see."""
    variants: Mapping[Variant, Scenario] = field(default_factory=dict)
    """The same scenario told differently, by option."""


SCENARIOS: Final[dict[str, Scenario]] = {s.name: s for s in (
    Scenario(
        name="healthy", title="a GPT that learns",
        statement="AdamW 3e-4, warm-up, cosine, clipping at 1.0: the loss falls, and nothing else should happen.",
        clip=1.0, schedule=Schedule(warmup=20, floor=0.1),
    ),
    Scenario(
        name="exploding", title="a schedule bug makes a healthy GPT explode",
        statement="Learns well for 150 steps; then a planted schedule bug raises the lr 800x, and it explodes.",
        # Measured on the tiny model. With betas (0.9, 0.95) Adam forgets the explosion within 20 steps, and weight
        # decay shrinks it away: either would end it without anybody's help. At 400x, or where the rise takes longer
        # than about 40 steps, the loss only returns to unigram level; at 1000x it leaps tenfold within 3 steps, here
        # within about 10, which leaves time to see it coming. A tenth of it, with clipping, trains. No cosine: the same
        # explosion at any --steps.
        betas=(0.9, 0.999), weight_decay=0.0,
        schedule=Schedule(warmup=20, runaway_after=150, runaway_times=800.0, runaway_ramp=35),
        fault="the lr schedule runs away, to 800x (planted by this demo)", least_steps=200,
        variants={"from_start": Scenario(
            name="exploding", title="learning rate 1.0 from the first step",
            statement="Adam at lr 1.0 from the first step, as in the notebook: each weight moves by 1 at each step.",
            optimizer="Adam", lr=1.0, betas=(0.9, 0.999), weight_decay=0.0,
            fault="Adam at learning rate 1.0 from step 1 (planted by this demo)",
        )},
    ),
    Scenario(
        name="vanishing", title="weights drawn far too small",
        statement="Weights drawn at 0.001 (the notebook's). With pre-norm the grad norm stays near 1: see --deep.",
        optimizer="Adam", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0, model={"n_layers": 6, "init_std": 0.001},
        variants={"deep": Scenario(
            name="vanishing", title="gradients that die with depth",
            statement="8 blocks with sigmoids, no residuals, no norms: each passes on a sixth of the gradient or less.",
            # one width at any --size, weights at 0.1: at 0.02 the first blocks underflow, at 0.2 the gradient survives
            betas=(0.9, 0.999), weight_decay=0.0,
            model={"n_layers": 8, "d_model": 64, "n_heads": 4, "d_ff": 256, "init_std": 0.1, "residual": False,
                   "normalize": False, "activation": "sigmoid"},
            fault="8 blocks without residuals or norms (planted by this demo)",
        )},
    ),
    Scenario(
        name="slow", title="a learning rate that moves nothing",
        statement="Learning rate 1e-8 (the notebook's): gradients are healthy, weights hardly move, no learning.",
        optimizer="Adam", lr=1e-8, betas=(0.9, 0.999), weight_decay=0.0,
        fault="learning rate 1e-8 (planted by this demo)",
    ),
)}


def find_scenario(name: str, *, from_start: bool = False, deep: bool = False) -> Scenario:
    """The scenario of that name, told as the options say. UsageError lists what is known."""
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise UsageError(f"unknown demo {name!r}; known: {', '.join(SCENARIOS)}")
    wanted: list[Variant] = []
    if from_start:
        wanted.append("from_start")
    if deep:
        wanted.append("deep")
    for variant in wanted:
        told = scenario.variants.get(variant)
        if told is None:
            have = ", ".join(s.name for s in SCENARIOS.values() if variant in s.variants)
            raise UsageError(f"{name} has no --{variant.replace('_', '-')}; that option belongs to: {have}")
        scenario = told
    return scenario
