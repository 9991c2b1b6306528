"""non-finite (T201): a loss, gradient or parameter is NaN or infinite.

Symptom: the loss reads NaN or inf, or the gradient norm does; every later number is NaN too.

Why it happens: an overflow (float16 ends at 65,504), log(0) or 0/0 in the loss (a batch whose labels are all
masked), a learning rate that threw the weights to infinity, a broken input, a division by a zero variance. A run that
tuimon watches looks into it at once (`tuimon autopsy`): the batch goes through the model again, and the module that
first makes something non-finite of finite values is named.

What to try: go back to a checkpoint from before the first non-finite value; weights that are NaN cannot be trained on.
Lower the learning rate, clip at 1.0; if it appears out of a calm run, look at the batch of that step and at the layer
named. With float16, use bfloat16 or a GradScaler.

Confused with: a GradScaler's search for its scale. Steps that it skips for an infinite gradient are its normal work:
the weights do not move, and none of them counts here, however many. In a log that has the scale but not the skips, an
infinite gradient alone is taken for one, unless twenty come in a row. A loss of exactly 0 beside a NaN gradient is a
NaN that a logger hid.

Rule: one non-finite value is a warning (a gradient alone: a note), two in a row or a non-finite parameter are critical.
It is an exact test: no false alarm by noise; one of 1,205 successful AlgoPerf runs had a single infinite gradient.

Source: reference 2.1; HF Trainer's logging filter; GradScaler's defaults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.diagnosis.autopsy.words import advice, layer, sentence
from tuimon.diagnosis.layers import Profile, Profiles
from tuimon.diagnosis.model import Evidence, RunContext, Severity
from tuimon.diagnosis.rows import MUST_BE_FINITE, STIR
from tuimon.diagnosis.rule import Episode, Rule, Story, clip_advice, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number
from tuimon.record.chunk import Bools, Mark

WORDS: Final = {
    "grad_norm": "gradient norm", "layer_grad_norm": "gradient of a layer", "loss": "loss", "param_norm": "parameters",
    "update_norm": "update",
}


def _what(values: Mapping[str, float], *, over: bool) -> str:
    """Which values are not finite, those that read alike in one breath: what they come from has to fit behind it."""
    alike: dict[str, list[str]] = {}
    for name in sorted(values):
        alike.setdefault(number(values[name]), []).append(WORDS[name])
    said = []
    for value, (first, *more) in alike.items():
        some = bool(more) or first == WORDS["param_norm"]
        names = f"{', '.join((first, *more[:-1]))} and {more[-1]}" if more else f"the {first}"
        said.append(f"{names} {('were' if some else 'was') if over else 'are' if some else 'is'} {value}")
    return ", ".join(said)


class NonFinite(Rule):
    """T201."""

    slug, code, category, needs = "non-finite", "T201", "numerics", ("loss",)
    wakes = STIR
    holds = True
    rescue_helps = True

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self.found: Autopsy | None = None
        """The latest autopsy of this attempt."""

    def clear(self) -> None:
        """No streak."""
        self.streak = 0
        self.skips = 0
        self.first = 0
        self.layer_streak = 0
        self.layers_since = 0
        """Rows in a row with a layer that is not finite, in the log of another tool."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Loss or gradient norm: either will do."""
        return () if now.seen & {"loss", "grad_norm"} else ("loss", "grad_norm")

    def row(self, now: Signals) -> None:
        """Look at every value of the row that must be finite."""
        bad = self._bad(now)
        if not bad and self.layer_streak:
            return
        if not bad:
            self.streak = self.skips = 0
            episode = self.episode
            measured = now.loss is not None or now.grad is not None
            if episode and measured and episode.tick(now.step, calm=True):
                self.close(now)
            return
        if bad == {"grad_norm"} and now.value("loss_scale") is not None and now.value("skipped") is None:
            self.skips += 1
            if self.skips < 20:
                return
        if not self.streak:
            self.first = now.step
        self.streak += 1
        fatal = self.streak >= 2 or bool(bad & {"param_norm", "update_norm"}) or self.skips >= 20
        if self.episode is None:
            severity: Severity = "critical" if fatal else "info" if bad == {"grad_norm"} else "warning"
            self.open(now, self.first, severity, "high")
        elif fatal:
            self.worsen(now, "high")
        elif bad != {"grad_norm"} and self.episode.severity == "info":
            self.episode.severity = "warning"
        assert self.episode is not None
        self.episode.clean = 0
        self.episode.numbers |= {f"bad_{name}": now.value(name) or 0.0 for name in bad}
        if self.episode.layer is None:
            self.episode.layer = self._layer(now)

    def profile(self, row: Profile, now: Signals) -> None:
        """Name the layer as soon as its gradients have arrived; in the logs of others look at each of them."""
        if not self.context.misses_mean_none and not now.skipped:
            self._look_at_layers(row, now)
        if self.episode and self.episode.layer is None and row.step >= self.episode.onset:
            self.episode.layer = self._layer(now)

    def unusual(self, rows: Profiles) -> Bools | None:
        """None in our own runs, unless something is going on: they have the norm over all."""
        if self.episode is not None or self.layer_streak:
            return None
        if self.context.misses_mean_none:
            return np.zeros(len(rows), np.bool_)
        return np.asarray(~np.isfinite(rows.rms).all(1))

    def _look_at_layers(self, row: Profile, now: Signals) -> None:
        if not (row.seen & ~np.isfinite(row.grad)).any():
            self.layer_streak = 0
            return
        self.layer_streak += 1
        if self.layer_streak == 1:
            self.layers_since = row.step
        elif self.episode is None:
            self.open(now, self.layers_since, "warning", "high", bad_layer_grad_norm=math.nan)

    def mark(self, mark: Mark, now: Signals) -> None:
        """Take in what an autopsy has found."""
        super().mark(mark, now)
        if mark.kind == "attempt":
            self.found = None
        elif mark.kind == "autopsy":
            self.found = Autopsy.parse(mark.fields) or self.found
            cause = self._cause(self.episode) if self.episode else None
            if self.episode and cause and cause.place != "weights":
                self.episode.layer = layer(cause)  # gradients said only how far the damage reached

    def _cause(self, episode: Episode) -> Autopsy | None:
        """What a replay of this episode's batch has found, if there was one."""
        found = self.found
        return found if found and found.step >= episode.onset and found.place != "unknown" else None

    def _bad(self, now: Signals) -> set[str]:
        bad = {
            name
            for name in MUST_BE_FINITE
            if (value := now.value(name)) is not None and not math.isfinite(value)
        }
        if now.skipped:
            bad.discard("grad_norm")
        if "grad_norm" in bad and now.loss == 0.0:
            bad.add("loss")  # HF's logging filter writes 0.0 for a loss that was NaN
        return bad

    def _layer(self, now: Signals) -> str | None:
        """The non-finite layer nearest the output: backward met it first."""
        cause = self._cause(self.episode) if self.episode else None
        if cause is not None and cause.place != "weights":
            return layer(cause)
        layers = now.layers
        if not layers.recent or not self.episode or layers.recent[-1].step < self.episode.onset:
            return None
        rms = layers.recent[-1].rms
        finite = [math.isfinite(v) for v in rms.tolist()]
        if all(finite) or not any(finite):
            return None
        return layers.names[len(finite) - 1 - finite[::-1].index(False)]

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        values = {name[4:]: v for name, v in episode.numbers.items() if name.startswith("bad_")}
        what = _what(values, over=over)
        cause = self._cause(episode)
        where = f", in {episode.layer} first" if episode.layer and cause is None else ""
        why = f"{what[:1].upper()}{what[1:]} since step {count(episode.onset)}{where}. {rate_cause(episode)}".strip()
        why += f" {sentence(cause)}" if cause else ""
        if over:
            why += f" Finite again from step {count(episode.calm_since)} to {count(episode.last)}."
        back = f"go back to a healthy checkpoint from before step {count(episode.onset)}"
        remedies: tuple[str, ...]
        if cause is None or cause.place == "weights":
            remedies = (back, rate_cut(episode), clip_advice(self.context),
                        "look at the batch of that step for empty or broken samples")
        else:
            remedies = (back, *advice(cause))
        evidence = tuple(Evidence(name, v, math.nan) for name, v in sorted(values.items()))
        return Story(
            "Non-finite values", why, remedies, evidence, "NaN" if any(map(math.isnan, values.values())) else "inf"
        )
