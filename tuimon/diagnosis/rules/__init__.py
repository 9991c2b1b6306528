"""One file per rule; `RULES` is the literal list of all of them, causes before consequences."""

from __future__ import annotations

from typing import Final

from tuimon.diagnosis.rule import Rule
from tuimon.diagnosis.rules.divergence import Divergence
from tuimon.diagnosis.rules.early_divergence import EarlyDivergence
from tuimon.diagnosis.rules.exploding_gradients import ExplodingGradients
from tuimon.diagnosis.rules.gradient_instability import GradientInstability
from tuimon.diagnosis.rules.learning_rate_too_high import LearningRateTooHigh
from tuimon.diagnosis.rules.learning_rate_too_low import LearningRateTooLow
from tuimon.diagnosis.rules.loss_spike import LossSpike
from tuimon.diagnosis.rules.no_learning import NoLearning
from tuimon.diagnosis.rules.non_finite import NonFinite
from tuimon.diagnosis.rules.vanishing_gradients import VanishingGradients

RULES: Final[tuple[type[Rule], ...]] = (
    ExplodingGradients,
    EarlyDivergence,
    Divergence,
    VanishingGradients,
    NonFinite,
    LearningRateTooHigh,
    LearningRateTooLow,
    LossSpike,
    GradientInstability,
    NoLearning,
)
"""Of incidents equally severe, the one whose rule stands first here is told first."""
