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
Spoil = Literal["shuffle labels", "foreign tokens", "mask everything"]
"""What can be wrong with a batch."""


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
    planted: range = range(1, 2)
    """The steps, counted from 1, at which `spoils`, `blows_up` or `grows` is done; the first is that of the note."""
    spoils: Spoil | None = None
    """What is done to the batches of those steps: see `faults`."""
    blows_up: float | None = None
    """What the first MLP's weights are multiplied by at those steps."""
    grows: float | None = None
    """What the weights of all queries and keys are multiplied by at each of those steps."""
    sorts: bool = False
    """Whether the loader, from the first of those steps on, sorts the batches of a shard by difficulty."""
    masked: bool = False
    """Whether the loss is a hand-written mean over the tokens that count."""
    half: bool = False
    """Whether it trains in float16 with a GradScaler."""
    few: int | None = None
    """How many tokens of the text it trains on; None is all but those for validation."""
    stride: int | None = None
    """Tokens from one window to the next; None: they do not overlap."""
    batch: int | None = None
    """Windows in a batch; None is the size's."""
    validate_every: int = 50
    """Steps."""
    steps: int = 600
    """Length of the run, where nobody says otherwise."""
    speed: float = 12.0
    """Most steps per second, where nobody says otherwise: lively, and slow enough to be read."""
    least_steps: int = 1
    """A shorter run would end before there is anything to see."""
    variants: Mapping[Variant, Scenario] = field(default_factory=dict)
    """The same scenario told differently, by option."""

    @property
    def faulty_from(self) -> int:
        """The first step that the planted fault touches."""
        return self.planted.start if self.schedule.runaway_after is None else self.schedule.runaway_after + 1


HEALTHY: Final = Schedule(warmup=20, floor=0.1)

SCENARIOS: Final[dict[str, Scenario]] = {s.name: s for s in (
    Scenario(
        name="healthy", title="a GPT that learns",
        statement="AdamW 3e-4, warm-up, cosine, clipping at 1.0: the loss falls, and nothing else should happen.",
        clip=1.0, schedule=HEALTHY,
    ),
    Scenario(
        name="exploding", title="a schedule bug makes a healthy GPT explode",
        statement="Learns well for 150 steps; then a planted schedule bug raises the lr 800x, and it explodes.",
        # Measured on the tiny model. With betas (0.9, 0.95) Adam forgets the explosion within 20 steps, and weight
        # decay shrinks it away: either would end it without anybody's help. At 400x, or where the rise takes longer
        # than about 40 steps, the loss only returns to unigram level; at 1000x it leaps tenfold within 3 steps, here
        # within about 10, which leaves time to see it coming. A tenth of it, with clipping, trains; without QK-norm it
        # would let attention collapse instead, and take a second rescue. No cosine: the same explosion at any --steps.
        betas=(0.9, 0.999), weight_decay=0.0, model={"qk_norm": True},
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
    Scenario(
        name="spike", title="labels slip out of place, and the loss leaps",
        statement="Learns well for 150 steps; then the labels of 20 batches are shuffled. It should recover by itself.",
        clip=1.0, schedule=HEALTHY, planted=range(151, 171), spoils="shuffle labels",
        fault="the labels of 20 batches are shuffled (planted by this demo)", steps=400, least_steps=180,
    ),
    Scenario(
        name="nan", title="one batch without a label turns all into NaN",
        statement="At step 151 every label of a batch is masked: the hand-written mean loss becomes 0/0. r goes back.",
        clip=1.0, schedule=HEALTHY, planted=range(151, 152), spoils="mask everything", masked=True,
        fault="a batch whose labels are all masked (planted by this demo)", steps=400, least_steps=160,
    ),
    Scenario(
        name="bad-batch", title="one batch of noise, and nothing else",
        statement="Step 151 gets a batch of random tokens. One bad batch is no spike: the run should not mind.",
        clip=1.0, schedule=HEALTHY, planted=range(151, 152), spoils="foreign tokens",
        fault="a batch of random tokens (planted by this demo)", steps=300, least_steps=160,
    ),
    Scenario(
        name="oscillating", title="data sorted by difficulty, and the loss swings",
        statement="From step 151 the loader sorts each 16 batches, easy to hard: the loss swings with that period.",
        clip=1.0, schedule=HEALTHY, planted=range(151, 152), sorts=True,
        fault="the loader sorts every 16 batches by difficulty (planted by this demo)", least_steps=400,
    ),
    Scenario(
        name="overfitting", title="a few kB of text, read until known by heart",
        statement="Trains on 3,000 characters again and again: the training loss falls, the validation loss turns.",
        lr=1e-3, schedule=Schedule(warmup=20), few=3_000, validate_every=10,
        fault="3,000 characters are all there is to learn from (planted by this demo)", steps=400, least_steps=150,
    ),
    Scenario(
        name="plateau", title="a mask bug, and nothing left to learn",
        statement="A mask bug lets each character see only itself: soon it knows all that tells, and the loss stands.",
        # Measured: noise of 0.9 % of the loss, so that 1,000 steps tell half a percent; flat from about step 1,000, and
        # three looks half a window apart end at 3,056. With all the text the loss would stay above half of where it
        # began, which is no-learning. Validated once: on other text an overfitting bigram table would be told first.
        lr=1e-2, schedule=Schedule(warmup=20), weight_decay=0.0, few=3_000, stride=1, batch=96, validate_every=3_300,
        model={"n_layers": 1, "d_model": 32, "n_heads": 1, "d_ff": 32, "looks_back": False},
        fault="each character sees only itself (planted by this demo)", steps=3_300, speed=60.0, least_steps=3_100,
    ),
    Scenario(
        name="dead-layer", title="a detach() cuts half the model off",
        statement="A detach() stands between blocks 1 and 2: what is before it never learns, and the loss still falls.",
        clip=1.0, schedule=HEALTHY, model={"detach_at": 2},
        fault="a detach() between blocks 1 and 2 (planted by this demo)", steps=300, least_steps=30,
    ),
    Scenario(
        name="fp16-collapse", title="float16 overflows, and no loss scale can help",
        statement="Trains in float16; at step 151 one MLP's weights grow a millionfold: each step overflows.",
        # float16 is six times slower than float32 on a CPU: hence the small model
        clip=1.0, schedule=HEALTHY, half=True, planted=range(151, 152), blows_up=1e6,
        model={"n_layers": 2, "d_model": 32, "n_heads": 4, "d_ff": 128},
        fault="a layer's weights are multiplied by a million (planted by this demo)", steps=300, least_steps=190,
    ),
    Scenario(
        name="attention-collapse", title="queries and keys grow, and each sees one token",
        statement="At step 151 weight decay on queries and keys gets the wrong sign: attention ends up on one token.",
        # Measured on the tiny model: 3 % a step pass a logit of 100 after 75 steps and an entropy of 5 % after 100; the
        # loss hardly minds, it only stops falling. A learning rate raised 300x on these weights collapses attention as
        # well, but the gradients explode first. It ends after 120 steps, in which logits grow 1,200-fold: one that goes
        # on explodes in the end.
        clip=1.0, schedule=HEALTHY, planted=range(151, 271), grows=1.03,
        fault="weights of queries and keys grow 3 % a step (planted by this demo)", steps=400, least_steps=340,
    ),
    Scenario(
        name="bad-init", title="weights drawn fifty times too large",
        statement="The embedding keeps PyTorch's std of 1, and the output layer is tied to it: confidently wrong.",
        clip=1.0, schedule=HEALTHY, model={"embed_std": 1.0, "tie_weights": True},
        fault="embedding and output layer drawn at a std of 1 (planted by this demo)", steps=300,
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
