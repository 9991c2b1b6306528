"""The metric vocabulary: one place that knows a metric's label, unit and axis (design, section 9).

A metric's position in the table is its code in the log format: append, never reorder or remove.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """What one column of the log means."""

    name: str
    """Column name in logs and JSON; never contains a unit or a slash."""
    label: str
    """Words for a person."""
    unit: str
    """Base unit, or "" for a pure number."""
    log_axis: bool
    """Whether a logarithmic axis tells more."""
    meaning: str
    """One sentence for help and docs."""


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("loss", "loss", "", False, "Sum of the roots passed to backward() for this step, unscaled."),
        Metric("val_loss", "validation loss", "", False, "What the script logged as val_loss=."),
        Metric("grad_norm", "grad norm", "", True, "Global L2 norm of the gradients, before clipping."),
        Metric("param_norm", "param norm", "", True, "Global L2 norm of the parameters, after the update."),
        Metric("update_norm", "update norm", "", True, "Global L2 norm of what the step added to the parameters."),
        Metric("update_ratio", "update ratio", "", True, "update_norm / param_norm."),
        Metric("grad_param_ratio", "grad/param ratio", "", True, "grad_norm / param_norm: the notebook's ratio."),
        Metric("lr", "learning rate", "", False, "Effective learning rate of the first group, overrides included."),
        Metric("lr_scheduled", "scheduled lr", "", False, "Learning rate that the script asked for."),
        Metric("clipped", "clip limit", "", True, "Norm limit in force at this step; absent where nothing clips."),
        Metric("loss_scale", "loss scale", "", True, "GradScaler's scale."),
        Metric("skipped", "skipped", "", False, "1 where the optimizer step was skipped (AMP overflow)."),
        Metric("step_time", "step time", "s", False, "Wall time between two step boundaries."),
        Metric("data_time", "data time", "s", False, "Of which: waiting for the data loader."),
        Metric("tokens", "tokens", "tokens", False, "Tokens that went into this step."),
        Metric("throughput", "throughput", "tokens/s", False, "tokens / step_time."),
        Metric("overhead", "overhead", "", False, "Share of the step that measuring takes; on the CPU only."),
        Metric("changed", "weights changed", "", False,
               "Share of the weights that the step changed at all, 0 to 1; of those in bfloat16 or float16, where "
               "small updates round away, as in float32 nearly all change."),
        Metric("memory", "memory", "B", False,
               "Bytes that the training process holds: allocated on its device, resident on the CPU."),
        Metric("attention_logit", "attention logit", "", True, "Upper bound of |q.k| / sqrt(d), largest over layers."),
        Metric("attention_entropy", "attention entropy", "", False, "Share of its maximum, 0 to 1: lowest layer."),
        Metric("dead_units", "dead units", "", False, "Share of units that no token activates; largest over layers."),
        Metric("logit_scale", "logit scale", "", True, "Mean |logsumexp| of the model's output logits."),
        Metric("slowest_step_time", "slowest rank", "s", False,
               "Own time of the slowest rank at this step: computing, without waiting for the others."),
        Metric("median_step_time", "median rank", "s", False,
               "Median over ranks of that time; of an even number the lower of the two in the middle."),
        Metric("slowest_rank", "slowest rank's number", "", False, "Which rank was the slowest, counted from 0."),
        Metric("grad_square", "share of the squared grad norm", "", True,
               "What this rank adds to the square of the global grad_norm."),
        Metric("param_square", "share of the squared param norm", "", True,
               "What this rank adds to the square of the global param_norm."),
        Metric("update_square", "share of the squared update norm", "", True,
               "What this rank adds to the square of the global update_norm."),
        Metric("own_time", "own time", "s", False,
               "Time of the step that this rank worked itself, without waiting for the others."),
        Metric("checksum", "checksum", "", False,
               "Of some elements of one tensor, bit for bit: the same on all ranks that hold the same weights."),
        Metric("checked_tensor", "checked tensor", "", False, "Which tensor of the table that is, counted from 0."),
        Metric("twin_of", "twin of rank", "", False,
               "The lowest rank that holds the same weights as this one: those that name the same one are alike."),
        Metric("strays", "ranks that differ", "", False,
               "Ranks whose weights are others than those of the ranks that should hold the same."),
        Metric("stray_rank", "first rank that differs", "", False, "The lowest of them, counted from 0."),
    )
}
