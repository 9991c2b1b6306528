"""Which runs rules may be tuned on, and which only score them. Fixed; chosen before anything was judged.

Three sets that share no run:

tuning  seeds 0 and 1 of the kinds that may be tuned on: look at them as often as you like.
score   seeds 10, 11 and 12 of all kinds, those of HELD_OUT among them, which nothing else has ever shown: what is
        printed as the score. Look at single runs of it to find errors in labels, never to choose a threshold.
small   seed 20 of SMALL: committed under data/ and judged in CI. Its runs are in neither of the others, but a rule
        that fails on them will be looked at: no figure is quoted from it.

HELD_OUT was drawn by `drawn`: a quarter of all names, by their hash, so that nobody chose. The literal makes the draw
last when names change; a kind in neither table goes where its hash says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

TUNING_SEEDS: Final = (0, 1)
SCORE_SEEDS: Final = (10, 11, 12)
SMALL_SEED: Final = 20
PARTS: Final = ("tuning", "score", "small")

HELD_OUT: Final = frozenset({
    "lr-jump-300", "no-warmup-high-lr", "lr-too-high", "log-of-zero", "underflowing-half", "wide-init",
    "wide-tied-init", "vanishing", "detached", "cut-off-later", "labels-shuffled-for-a-while", "one-bad-batch",
    "wrong-unit", "few-data", "padded-stretch", "leaking", "muon", "sharp-decay", "fine-tuning", "low-rank",
    "fresh-optimizer",
})
TUNED: Final = frozenset({
    "lr-jump-30", "lr-runaway", "sgd-lr-too-high", "lr-too-low", "epsilon-too-large", "schedule-per-micro-batch",
    "ends-too-early", "group-without-rate", "missing-from-optimizer", "clip-far-too-small", "sum-not-averaged",
    "sum-reduction", "nothing-counts", "overflowing-half", "no-slope-at-zero", "rounding-away", "no-grad-backbone",
    "hot-attention", "dying-units", "drifting-logits", "labels-shuffled-for-good", "sorted-data", "broken-worker",
    "random-labels", "sees-only-itself", "leak", "repeated-data", "creeping-noise", "starved", "slower-steps",
    "plain-gpt", "plain-others", "plain-sgd", "adafactor", "warm-restarts", "large-batch-edge", "longer-windows",
    "harder-data", "larger-batch", "idle-experts", "searching-scale", "bfloat-accumulated", "tiny-batches",
    "resumed", "frozen", "zero-init", "heavy-dropout", "noise-floor", "small-losses", "pauses", "rounded-losses",
})
SMALL: Final = (
    "lr-jump-300", "lr-runaway", "no-warmup-high-lr", "sgd-lr-too-high", "lr-too-low", "schedule-per-micro-batch",
    "nothing-counts", "overflowing-half", "rounding-away", "wide-init", "vanishing", "detached",
    "labels-shuffled-for-good", "one-bad-batch", "leak", "plain-gpt", "plain-others", "plain-sgd", "muon",
    "warm-restarts", "fine-tuning", "low-rank", "searching-scale", "resumed",
)


class Run(NamedTuple):
    """One recording to be made, or to be read."""

    kind: str
    seed: int

    @property
    def name(self) -> str:
        """As the recording calls itself."""
        return f"{self.kind}-{self.seed}"


def drawn(kind: str) -> bool:
    """Whether a kind is held out by its hash: every fourth is."""
    return hashlib.sha256(kind.encode()).digest()[0] % 4 == 0


def is_held_out(kind: str) -> bool:
    """Whether a kind appears only in the score."""
    return kind in HELD_OUT or (kind not in TUNED and drawn(kind))


def runs(part: str, kinds: Iterable[str]) -> list[Run]:
    """The runs of a part, in the order of the kinds."""
    kinds = list(kinds)
    if part == "tuning":
        return [Run(kind, seed) for kind in kinds if not is_held_out(kind) for seed in TUNING_SEEDS]
    if part == "score":
        return [Run(kind, seed) for kind in kinds for seed in SCORE_SEEDS]
    if part == "small":
        return [Run(kind, SMALL_SEED) for kind in kinds if kind in SMALL]
    raise ValueError(f"no part is called {part!r}: {', '.join(PARTS)} are")
