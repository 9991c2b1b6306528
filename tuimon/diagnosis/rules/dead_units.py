"""dead-units (T302): most units of a layer have fallen silent; no token of the sample activates them any more.

Symptom: the share of silent units in a layer rises to nine tenths and stays there. The loss is worse than it could be;
nothing else shows it.

Why it happens: steps that are too large push the units of a ReLU below zero for every input; from there no gradient
leads back. A learning rate that is too high, a jump of the loss, a large negative bias.

What to try: a lower learning rate, and a checkpoint from before the onset, for silent units seldom come back by
themselves; GELU or SwiGLU instead of ReLU; no weight decay on the gains of norms before the layer.

Confused with: the sparseness of a healthy ReLU net: the best learning rates of a sweep had 24 to 43 % of silent units,
and OPT-66B has layers with more than 70 %; the first 200 steps, in which the share rises, to 98 % at worst, and falls;
experts that are idle for a moment (a layer's experts are averaged); a sample of few tokens, which leaves rare units
silent.

Rule: 200 steps after the first row or later, in three sampled rows in a row, more than 90 % of a layer's units silent,
and 20 points more than the median of its first five rows (warning); more than 80 % and so much risen, or more than 90 %
from the start (information). Dead is not broken by itself: never critical. Silent on the ten healthy labelled runs, one
of which ends at 77 %.

Source: reference 2.18.
"""

from __future__ import annotations

from tuimon.diagnosis.activations import DEAD, EARLY, LASTING, RISE, Sampled, Streaks
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rule import Episode, Rule, Story, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import median
from tuimon.diagnosis.wording import count, percent

MANY = 0.8


class DeadUnits(Rule):
    """T302."""

    slug, code, category, needs = "dead-units", "T302", "activations", ("dead_units",)
    wakes = follows = 0
    rescue_helps = True

    def clear(self) -> None:
        """No streaks."""
        self.many = Streaks()

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Shares of silent units, and a beginning to compare with."""
        if "dead_units" not in now.activations.seen:
            return ("dead_units (activation probes)",)
        return now.activations.wants(*self.needs)

    def probes(self, row: Sampled, now: Signals) -> None:
        """Look for layers that have fallen silent."""
        shares, activations = row.of("dead_units"), now.activations
        if not shares:
            return
        self.many.add(row.step, {
            layer: activations.tells(row, share) and len(activations.early["dead_units", layer]) == EARLY
            and (share > DEAD or (share > MANY and activations.has_risen(layer, share)))
            for layer, share in shares.items()})
        dying, found = activations.dying.lasting(), self.many.lasting()
        if not found:
            if self.episode and self.episode.pause(LASTING):
                self.close(now)
            return
        worst = max(dying or found, key=lambda layer: shares.get(layer, 0.0))
        if self.episode is None:
            onset = min(self._onset(layer, since, now) for layer, since in found.items())
            self.open(now, onset, "warning" if dying else "info", "medium")
        episode = self.episode
        assert episode is not None
        if dying and episode.severity == "info":
            episode.severity = "warning"
        episode.clean = 0
        share = shares.get(worst, episode.numbers.get("share", 0.0))
        episode.blame(worst or None, share, share=share, began=median(activations.early["dead_units", worst]),
                      layers=float(len(found)), of=float(len(shares)))

    def _onset(self, layer: str, step: int, now: Signals) -> int:
        """When the share left what it had been."""
        usual = median(now.activations.early["dead_units", layer]) + RISE
        return now.activations.turned("dead_units", layer, step, lambda share: share > usual)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        share = n["share"]
        where = f"of the units of {episode.layer}" if episode.layer else "of the units of a layer"
        why = f"{percent(share)} % {where} {'answered' if over else 'answer'} to no token of the sample"
        if n["began"] > DEAD:
            why += ", and it has been so from the first rows on."
        else:
            why += f"; at first {percent(n['began'])} % were silent."
        if n["of"] > 1:
            why += f" {count(int(n['layers']))} of {count(int(n['of']))} layers."
        why += (f" They answer again by step {count(episode.last)}." if over
                else " What they computed is lost, and hardly a gradient leads back.")
        return Story(
            "Units have fallen silent", f"{why} {rate_cause(episode)}".strip(),
            (f"go back to a checkpoint from before step {count(episode.onset)}: silent units seldom come back",
             rate_cut(episode), "use GELU or SwiGLU instead of ReLU"),
            (Evidence("dead_units", share, DEAD if share > DEAD else MANY, n["began"]),), "dead",
        )
