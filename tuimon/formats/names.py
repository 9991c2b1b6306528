"""What other tools call the metrics of the vocabulary: a literal table, and patterns for what hangs below it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tuimon.record.metrics import METRICS
from tuimon.record.probes import QUANTITIES

STEP: Final = "step"
TIME: Final = "time"

ALIASES: Final[dict[str, tuple[str, ...]]] = {
    STEP: (
        "step", "global_step", "trainer_global_step", "train_global_step", "iteration", "iter", "iter_num", "n_iter",
        "num_updates", "update", "optimizer_step", "training_step", "train_step", "steps", "_step",
    ),
    TIME: ("wall_time", "timestamp", "_timestamp", "time"),
    "loss": (
        "loss", "train_loss", "training_loss", "train_loss_step", "loss_step", "loss_train", "loss_training",
        "batch_loss", "epoch_loss", "train_loss_epoch", "loss_epoch",
    ),
    "val_loss": (
        "val_loss", "eval_loss", "validation_loss", "valid_loss", "dev_loss", "val_loss_epoch", "loss_val", "loss_eval",
        "loss_valid", "loss_validation", "val", "test_loss", "loss_test",
    ),
    "grad_norm": (
        "grad_norm", "gradient_norm", "total_norm", "total_grad_norm", "global_grad_norm", "global_norm", "gnorm",
        "grad_norm_total", "train_grad_norm", "train_gradient_norm", "grad_2_0_norm_total", "grad_norm_before_clip",
    ),
    "param_norm": ("param_norm", "parameter_norm", "weight_norm", "params_norm"),
    "update_ratio": ("update_ratio", "update_to_weight_ratio", "update_param_ratio"),
    "lr": ("lr", "learning_rate", "train_lr", "train_learning_rate"),
    "loss_scale": ("loss_scale", "scaler_scale", "grad_scale"),
    "skipped": ("skipped", "skipped_step", "step_skipped"),
    "step_time": ("step_time", "iter_time", "time_per_step", "step_time_s"),
    "data_time": ("data_time", "data_loading_time"),
    "tokens": ("tokens", "tokens_per_step"),
    "throughput": ("throughput", "tokens_per_second", "tokens_per_sec", "tok_per_sec"),
    "memory": (
        "memory", "memory_allocated", "gpu_memory_allocated", "cuda_memory_allocated", "gpu_memory", "gpu_mem",
        "cuda_memory", "rss", "memory_rss", "mem", "peak_memory", "peak_memory_allocated", "max_memory_allocated",
        "peak_memory_active", "memory_max_active", "memory_reserved", "gpu_memory_reserved", "max_memory_reserved",
        "peak_memory_reserved", "memory_max_reserved",
    ),
    "attention_logit": (
        "attention_logit", "max_attention_logit", "max_attn_logit", "attention_logit_max", "max_logit", "maxlogit",
    ),
    "attention_entropy": ("attention_entropy", "attn_entropy", "mean_attention_entropy"),
    "dead_units": ("dead_units", "dead_share", "dead_fraction", "dead_unit_fraction", "dead_neuron_fraction"),
    "logit_scale": ("logit_scale", "logsumexp", "mean_logsumexp", "log_z"),
}
"""Metric -> plain names, the most telling first. Every name of the vocabulary is its own first alias.

In names of what has a unit, the unit may follow: "step_time_ms", "peak_memory (GiB)".
A number called "entropy" is not taken for one of attention: in reinforcement learning it is the policy's.
"""

UNITS: Final[dict[str, tuple[str, float]]] = {
    "s": ("s", 1.0), "sec": ("s", 1.0), "seconds": ("s", 1.0), "ms": ("s", 1e-3), "us": ("s", 1e-6),
    "b": ("B", 1.0), "bytes": ("B", 1.0), "kb": ("B", 1e3), "mb": ("B", 1e6), "gb": ("B", 1e9), "tb": ("B", 1e12),
    "kib": ("B", 2.0**10), "mib": ("B", 2.0**20), "gib": ("B", 2.0**30), "tib": ("B", 2.0**40),
}
"""What may follow a name -> the base unit, and how many of it."""

PER_LAYER: Final[dict[str, tuple[str, ...]]] = {
    "layer_grad_norm": ("g",),
    "layer_update_ratio": ("upd",),
    "layer_weight_rms": (),
    "layer_attention_logit": (
        "attention_logit", "max_attention_logit", "max_attn_logit", "layer_max_attention_logit", "max_logit",
        "maxlogit", "layer_max_logit", "layer_maxlogit",
    ),
    "layer_attention_entropy": (
        "attention_entropy", "attn_entropy", "entropy", "ent", "layer_attn_entropy", "layer_entropy",
    ),
    "layer_dead_units": (
        "dead_units", "dead_share", "dead_fraction", "dead", "layer_dead_share", "layer_dead_fraction", "layer_dead",
    ),
    "layer_activation_rms": ("activation_rms", "act_rms", "layer_act_rms"),
}
"""Columns that hold an object {layer: value} (or a list, a value per layer) in each row -> what others call them."""
NESTED: Final = {alias: name for name, aliases in PER_LAYER.items() for alias in (name, *aliases)}
KINDS: Final = {"layer_grad_norm": "grad", "grad_2.0_norm": "grad", "layer_update_ratio": "update",
                "layer_weight_rms": "weight"} | {
    name: name.removeprefix("layer_") for name in PER_LAYER if name.removeprefix("layer_") in QUANTITIES
}
"""What a flat column of each of these names measures: "grad", "update", "weight", or a quantity of the probes."""

_RANKS: Final[dict[str, tuple[str, int]]] = {
    **{name: (name, 0) for name in METRICS},
    **{alias: (metric, rank) for metric, aliases in ALIASES.items() for rank, alias in enumerate(aliases)},
}
_EVALUATION: Final = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev", "test"})
_FAR: Final = 100
"""Rank of a name that is known only by its last part."""
_WITH_UNIT: Final = re.compile(rf"^(.+?)_+({'|'.join(UNITS)})_*$")
_ODD: Final = re.compile(r"[^a-z0-9_]+")
_LAYER: Final = re.compile(rf"^({'|'.join(map(re.escape, KINDS))})[/.](.{{1,200}})$", re.DOTALL)
LONGEST: Final = 200
"""Characters of a column name that are looked at."""


def metric_of(raw: str) -> tuple[str, int] | None:
    """The metric (or "step", "time") that a column of another tool means, and how far from its own name; or None.

    "train/loss" is "loss", "lr-AdamW" is "lr", "val/loss" is "val_loss"; "gpu.0.powerWatts" is nothing.
    """
    if len(raw) > LONGEST:
        return None
    plain = _ODD.sub("_", raw.strip().lower())
    known = _ranked(plain)
    if known is not None:
        return known
    if plain.startswith("lr_"):
        return "lr", _FAR
    head, slash, tail = raw.strip().lower().rpartition("/")
    found = _ranked(_ODD.sub("_", tail)) if slash else None
    if found is None or found[0] in (STEP, TIME):
        return None
    if not _EVALUATION.isdisjoint(re.split(r"[^a-z]+", head)):
        return ("val_loss", _FAR) if found[0] in ("loss", "val_loss") else None
    return found[0], _FAR + found[1]


def _ranked(plain: str) -> tuple[str, int] | None:
    """A plain name in the table, with or without a unit that its metric can have."""
    if plain in _RANKS:
        return _RANKS[plain]
    found = _WITH_UNIT.match(plain)
    known = _RANKS.get(found.group(1)) if found else None
    if found is None or known is None or known[0] not in METRICS:
        return None
    return known if METRICS[known[0]].unit == UNITS[found.group(2)][0] else None


def unit_of(raw: str) -> tuple[str, float] | None:
    """The unit that the name of a metric's column states, and how many base units it is; None where it states none."""
    plain = _ODD.sub("_", raw.strip().lower())
    found = None if plain in _RANKS else _WITH_UNIT.match(plain)
    return None if found is None else (found.group(2), UNITS[found.group(2)][1])


def layer_of_column(raw: str) -> tuple[str, str] | None:
    """Kind and layer of a flat per-layer column such as "layer_grad_norm/blocks.0"; or None."""
    found = _LAYER.match(raw)
    return None if not found or found.group(2) == "total" else (KINDS[found.group(1)], found.group(2))


def some(names: Iterable[str], count: int = 6) -> str:
    """A few names for a person: "a, b, c and 12 more"."""
    listed = list(names)
    words = ", ".join(repr(name[:40]) for name in listed[:count])
    return words + (f" and {len(listed) - count} more" if len(listed) > count else "") if listed else "none"
