"""low-precision-stagnation (T203): steps are too small for the precision of the weights, and round away.

Symptom: the loss falls slowly or not at all; only a small share of the weights changes at a step, although all of them
have a gradient.

Why it happens: in bfloat16 a weight has eight significant bits: an update below a 512th of the weight is lost when it
is added. With a small learning rate, or late in the schedule, nearly every update is.

What to try: float32 master weights (keep the model in float32 and use autocast); stochastic rounding; Kahan summation.
A larger learning rate is no cure.

Confused with: embeddings, whose unused rows do not change; layers that are cut off; a learning rate that is too low
also in float32.

Rule: the share of weights that a step changes below 10 % at five measured steps in a row; critical below 2 %. Not while
the learning rate is zero, nor at skipped steps; not told before it has warmed up. Where it has fallen below 30 % of its
peak, as at the end of a schedule, for information only. Models in float32 change nearly all of their weights at each
step: nothing is measured there. Of those in bfloat16 and float16 tuimon counts what torch's own optimizers step, which
forget what is rounded away, but for embeddings that nothing else shares and weights without a gradient.

Source: reference 2.16.
"""

from __future__ import annotations

from tuimon.diagnosis.limits import FEW_CHANGED, HALF
from tuimon.diagnosis.model import Evidence, Severity
from tuimon.diagnosis.rows import CHANGED
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number

HARDLY_ANY = 0.02
SAMPLES = 5


class LowPrecisionStagnation(Rule):
    """T203."""

    slug, code, category, needs = "low-precision-stagnation", "T203", "numerics", ("changed",)
    wakes = follows = CHANGED

    def clear(self) -> None:
        """No streak."""
        self.streak = self.hardly = self.first = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Nothing is amiss where no weights are in half precision: it then has nothing to look at."""
        missing = super().waits_for(now)
        if missing and self.context.dtypes and not any(kind in HALF for kind in self.context.dtypes):
            return (f"weights in {' or '.join(HALF)}",)
        return missing

    def row(self, now: Signals) -> None:
        """Look at a measured share."""
        share = now.value("changed")
        if share is None or not 0 <= share <= 1 or now.skipped or now.lr == 0:
            return
        if share >= FEW_CHANGED:
            self.streak = self.hardly = 0
            if self.episode:
                self.close(now)
            return
        self.first = self.first if self.streak else now.step
        self.streak += 1
        self.hardly = self.hardly + 1 if share < HARDLY_ANY else 0
        if self.episode is None and self.streak >= SAMPLES and not now.rates.warming:
            severity: Severity = "info" if now.rates.decayed else "warning"
            self.open(now, self.first, severity, "high", share=share, lowest=share)
        if self.episode:
            n = self.episode.numbers
            n["share"], n["lowest"] = share, min(n["lowest"], share)
            if self.hardly >= SAMPLES and not now.rates.decayed:
                self.worsen(now, "high")

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        share = n["lowest"] if over else n["share"]
        why = (f"A step {'changed' if over else 'changes'} only {number(100 * share)} % of the weights since step "
               f"{count(episode.onset)}: the other updates round away in the precision that the weights are kept in.")
        if over:
            why += f" More of them move by step {count(episode.last)}."
        return Story(
            "Updates round away", why,
            ("keep the weights in float32 and use autocast for the arithmetic (master weights)",
             "or use an optimizer with stochastic rounding or Kahan summation",
             "a larger learning rate only hides it"),
            (Evidence("changed", share, FEW_CHANGED, 1.0),), "stagnating",
        )
