"""One file per rule; `RULES` is the literal list of all of them, causes before consequences."""

from __future__ import annotations

from typing import Final

from tuimon.diagnosis.rule import Rule
from tuimon.diagnosis.rules.attention_collapse import AttentionCollapse
from tuimon.diagnosis.rules.bad_init import BadInit
from tuimon.diagnosis.rules.clip_saturated import ClipSaturated
from tuimon.diagnosis.rules.data_starved import DataStarved
from tuimon.diagnosis.rules.dead_units import DeadUnits
from tuimon.diagnosis.rules.desynchronised_replicas import DesynchronisedReplicas
from tuimon.diagnosis.rules.detached_layer import DetachedLayer
from tuimon.diagnosis.rules.divergence import Divergence
from tuimon.diagnosis.rules.early_divergence import EarlyDivergence
from tuimon.diagnosis.rules.exploding_gradients import ExplodingGradients
from tuimon.diagnosis.rules.gradient_instability import GradientInstability
from tuimon.diagnosis.rules.learning_rate_too_high import LearningRateTooHigh
from tuimon.diagnosis.rules.learning_rate_too_low import LearningRateTooLow
from tuimon.diagnosis.rules.logit_drift import LogitDrift
from tuimon.diagnosis.rules.loss_drift import LossDrift
from tuimon.diagnosis.rules.loss_scale_collapse import LossScaleCollapse
from tuimon.diagnosis.rules.loss_spike import LossSpike
from tuimon.diagnosis.rules.low_precision_stagnation import LowPrecisionStagnation
from tuimon.diagnosis.rules.lr_schedule_fault import LrScheduleFault
from tuimon.diagnosis.rules.memory_growth import MemoryGrowth
from tuimon.diagnosis.rules.no_learning import NoLearning
from tuimon.diagnosis.rules.non_finite import NonFinite
from tuimon.diagnosis.rules.not_updating import NotUpdating
from tuimon.diagnosis.rules.oscillation import Oscillation
from tuimon.diagnosis.rules.outlier_batch import OutlierBatch
from tuimon.diagnosis.rules.overfitting import Overfitting
from tuimon.diagnosis.rules.plateau import Plateau
from tuimon.diagnosis.rules.straggler import Straggler
from tuimon.diagnosis.rules.sudden_drop import SuddenDrop
from tuimon.diagnosis.rules.throughput_drop import ThroughputDrop
from tuimon.diagnosis.rules.vanishing_gradients import VanishingGradients

RULES: Final[tuple[type[Rule], ...]] = (
    LrScheduleFault,
    DesynchronisedReplicas,
    ExplodingGradients,
    EarlyDivergence,
    Divergence,
    VanishingGradients,
    DetachedLayer,
    NotUpdating,
    LossScaleCollapse,
    NonFinite,
    LowPrecisionStagnation,
    LearningRateTooHigh,
    LearningRateTooLow,
    BadInit,
    AttentionCollapse,
    DeadUnits,
    LossSpike,
    GradientInstability,
    LossDrift,
    LogitDrift,
    Oscillation,
    NoLearning,
    Overfitting,
    Plateau,
    SuddenDrop,
    OutlierBatch,
    DataStarved,
    Straggler,
    MemoryGrowth,
    ThroughputDrop,
    ClipSaturated,
)
"""Of incidents equally severe, the one whose rule stands first here is told first."""
