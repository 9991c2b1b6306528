"""The kinds of training in the zoo: one literal table, what each is called and what it counts as.

A fault is chosen as it happens in life, not as a rule wants it. What is accepted as its cause is what a colleague would
accept as a right first answer; what may be said as well is what really happens in its wake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.zoo import faults_data, faults_machine, faults_model, faults_numerics, faults_rates, healthy
from tests.zoo.training import Training


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of training."""

    name: str
    healthy: bool
    causes: tuple[str, ...]
    """Slugs that count as the right first cause, the best first."""
    also: tuple[str, ...]
    """Slugs that may be reported as well."""
    layer: str | None
    """The right layer, where it is the same in all runs of the kind."""
    catastrophic: bool
    """Whether the run is lost, if nobody acts."""
    build: Callable[[int], Training]
    """Seed -> the training."""


BLAST: Final = ("exploding-gradients", "gradient-instability", "divergence", "early-divergence", "loss-spike",
                "learning-rate-too-high", "no-learning", "non-finite", "loss-drift", "oscillation", "clip-saturated",
                "attention-collapse", "dead-units", "logit-drift", "plateau", "vanishing-gradients", "detached-layer")
"""What an explosion leaves behind."""
STANDSTILL: Final = ("no-learning", "learning-rate-too-low", "plateau", "vanishing-gradients",
                     "low-precision-stagnation")
"""What is also true of a model that does not move."""
SHAKEN: Final = ("loss-spike", "outlier-batch", "divergence", "gradient-instability", "exploding-gradients",
                 "loss-drift", "learning-rate-too-high", "oscillation")
"""What is also true of a run that was hit."""


def _fault(name: str, build: Callable[[int], Training], causes: tuple[str, ...], also: tuple[str, ...] = (), *,
           layer: str | None = None, catastrophic: bool = False) -> Kind:
    return Kind(name, False, causes, tuple(slug for slug in also if slug not in causes), layer, catastrophic, build)


def _healthy(name: str, build: Callable[[int], Training], also: tuple[str, ...] = ()) -> Kind:
    return Kind(name, True, (), also, None, False, build)


KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in (
    # -- rates and optimizers
    _fault("lr-jump-30", faults_rates.lr_jump(30), ("lr-schedule-fault", "learning-rate-too-high"), BLAST),
    _fault("lr-jump-300", faults_rates.lr_jump(300), ("lr-schedule-fault", "learning-rate-too-high"), BLAST,
           catastrophic=True),
    _fault("lr-runaway", faults_rates.lr_runaway, ("lr-schedule-fault", "learning-rate-too-high"), BLAST,
           catastrophic=True),
    _fault("no-warmup-high-lr", faults_rates.no_warmup_high_lr, ("learning-rate-too-high", "early-divergence"), BLAST,
           catastrophic=True),
    _fault("sgd-lr-too-high", faults_rates.sgd_lr_too_high, ("learning-rate-too-high", "early-divergence"), BLAST,
           catastrophic=True),
    _fault("lr-too-high", faults_rates.lr_too_high, ("learning-rate-too-high",), BLAST),
    _fault("lr-too-low", faults_rates.lr_too_low, ("learning-rate-too-low",), STANDSTILL),
    _fault("epsilon-too-large", faults_rates.epsilon_too_large, ("learning-rate-too-low", "vanishing-gradients"),
           STANDSTILL),
    _fault("schedule-per-micro-batch", faults_rates.schedule_per_micro_batch, ("lr-schedule-fault",),
           ("not-updating", *STANDSTILL)),
    _fault("ends-too-early", faults_rates.ends_too_early, ("lr-schedule-fault",), ("not-updating", *STANDSTILL)),
    _fault("group-without-rate", faults_rates.group_without_rate, ("not-updating",)),
    _fault("missing-from-optimizer", faults_rates.missing_from_optimizer, ("not-updating", "detached-layer")),
    _fault("clip-far-too-small", faults_rates.clip_far_too_small, ("clip-saturated",), STANDSTILL),
    _fault("sum-not-averaged", faults_rates.sum_not_averaged,
           ("gradient-instability", "exploding-gradients", "learning-rate-too-high"), BLAST,
           catastrophic=True),
    _fault("sum-reduction", faults_rates.sum_reduction, ("exploding-gradients", "divergence", "learning-rate-too-high"),
           BLAST,
           catastrophic=True),
    # -- arithmetic
    _fault("nothing-counts", faults_numerics.nothing_counts, ("non-finite",), BLAST, catastrophic=True),
    _fault("log-of-zero", faults_numerics.log_of_zero, ("non-finite",), BLAST, catastrophic=True),
    _fault("overflowing-half", faults_numerics.overflowing_half, ("loss-scale-collapse", "non-finite"),
           ("divergence", "loss-spike", "exploding-gradients"), catastrophic=True),
    _fault("no-slope-at-zero", faults_numerics.no_slope_at_zero, ("loss-scale-collapse",), ("non-finite", "plateau")),
    _fault("underflowing-half", faults_numerics.underflowing_half,
           ("vanishing-gradients", "detached-layer", "low-precision-stagnation"), ("not-updating", *STANDSTILL)),
    _fault("rounding-away", faults_numerics.rounding_away, ("low-precision-stagnation", "not-updating"), STANDSTILL),
    # -- the model
    _fault("wide-init", faults_model.wide_init, ("bad-init",), BLAST),
    _fault("wide-tied-init", faults_model.wide_tied_init, ("bad-init",), BLAST),
    _fault("vanishing", faults_model.vanishing, ("vanishing-gradients",), ("detached-layer", *STANDSTILL)),
    _fault("detached", faults_model.detached, ("detached-layer",), ("not-updating",)),
    _fault("no-grad-backbone", faults_model.no_grad_backbone, ("detached-layer",), ("not-updating",)),
    _fault("cut-off-later", faults_model.cut_off_later, ("detached-layer",), ("not-updating",)),
    _fault("hot-attention", faults_model.hot_attention, ("attention-collapse", "learning-rate-too-high"), BLAST),
    _fault("dying-units", faults_model.dying_units, ("dead-units",), BLAST),
    _fault("drifting-logits", faults_model.drifting_logits, ("logit-drift",), BLAST, catastrophic=True),
    # -- the data
    _fault("labels-shuffled-for-a-while", faults_data.labels_shuffled_for_a_while, ("loss-spike",), SHAKEN),
    _fault("labels-shuffled-for-good", faults_data.labels_shuffled_for_good, ("divergence", "loss-spike"),
           ("no-learning", "plateau", *SHAKEN)),
    _fault("one-bad-batch", faults_data.one_bad_batch, ("outlier-batch",)),
    _fault("wrong-unit", faults_data.wrong_unit, ("loss-spike", "exploding-gradients", "outlier-batch"), BLAST),
    _fault("sorted-data", faults_data.sorted_data, ("oscillation",)),
    _fault("broken-worker", faults_data.broken_worker, ("oscillation",),
           ("loss-spike", "outlier-batch", "gradient-instability", "loss-drift")),
    _fault("few-data", faults_data.few_data, ("overfitting",)),
    _fault("random-labels", faults_data.random_labels, ("no-learning",), ("plateau",)),
    _fault("sees-only-itself", faults_data.sees_only_itself, ("plateau", "no-learning")),
    _fault("leak", faults_data.leak, ("sudden-drop",), ("loss-spike", "gradient-instability", "exploding-gradients")),
    _fault("repeated-data", faults_data.repeated_data, ("sudden-drop",),
           ("loss-spike", "gradient-instability", "exploding-gradients", "outlier-batch")),
    _fault("creeping-noise", faults_data.creeping_noise, ("loss-drift", "divergence"), ("no-learning", *SHAKEN)),
    _fault("padded-stretch", faults_data.padded_stretch, ("sudden-drop",), BLAST),
    # -- the machine
    _fault("starved", faults_machine.starved, ("data-starved", "throughput-drop")),
    _fault("slower-steps", faults_machine.slower_steps, ("throughput-drop",)),
    _fault("leaking", faults_machine.leaking, ("memory-growth",)),
    # -- healthy, and scary
    _healthy("plain-gpt", healthy.plain(("gpt", "AdamW"), ("gpt-wide", "AdamW"), ("gpt-deep", "AdamW"), clip=1.0)),
    _healthy("plain-others", healthy.plain(("encoder", "AdamW"), ("vit", "AdamW"), ("lstm", "AdamW"))),
    _healthy("plain-sgd", healthy.plain(("vit", "SGD"), ("lstm", "SGD"), ("gpt", "SGD"))),
    _healthy("adafactor", healthy.plain(("gpt-wide", "Adafactor"), ("vit", "Adafactor"), ("gpt-deep", "Adafactor"))),
    _healthy("muon", healthy.plain(("gpt", "Muon"), ("encoder", "Muon"), ("gpt-wide", "Muon"))),
    _healthy("warm-restarts", healthy.warm_restarts),
    _healthy("large-batch-edge", healthy.large_batch_edge, ("oscillation",)),
    _healthy("sharp-decay", healthy.sharp_decay),
    _healthy("longer-windows", healthy.longer_windows),
    _healthy("harder-data", healthy.harder_data),
    _healthy("larger-batch", healthy.larger_batch),
    _healthy("fine-tuning", healthy.fine_tuning),
    _healthy("low-rank", healthy.low_rank),
    _healthy("idle-experts", healthy.idle_experts),
    _healthy("searching-scale", healthy.searching_scale),
    _healthy("bfloat-accumulated", healthy.bfloat_accumulated),
    _healthy("tiny-batches", healthy.tiny_batches),
    _healthy("resumed", healthy.resumed),
    _healthy("fresh-optimizer", healthy.fresh_optimizer),
    _healthy("frozen", healthy.frozen),
    _healthy("zero-init", healthy.zero_init),
    _healthy("heavy-dropout", healthy.heavy_dropout),
    _healthy("noise-floor", healthy.noise_floor, ("plateau",)),
    _healthy("small-losses", healthy.small_losses),
    _healthy("pauses", healthy.pauses),
    _healthy("rounded-losses", healthy.rounded_losses),
)}
