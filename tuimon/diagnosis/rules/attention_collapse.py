"""attention-collapse (T301): attention logits grow until each query looks at a single key, and learning stops there.

Symptom: the largest attention logit |q.k|/sqrt(d) of a layer passes 100, and the entropy of its attention falls below
5 % of its maximum. The loss moves later, if at all; often it stands still above that of a healthy run, or oscillates.

Why it happens: the learning rate is too high for the query and key weights, whose product grows with the square of
their norm; warm-up is missing; in low precision the softmax rounds what is left away. Through a softmax that is a
choice of one hardly any gradient passes, so the layer cannot find its way back.

What to try: a lower learning rate and warm-up; normalise queries and keys (QK-norm); cap the logits (soft-capping
at 50, QK-clip at 100); sigma-reparametrisation. Go back to a checkpoint from before the onset.

Confused with: heads that rightly look at one place (induction, the first token, copying tasks): one such head does not
bring the mean over a layer's heads down so far; an attention that has been narrow since the first row, because the
weights were drawn too wide (bad-init; silent here); a log in nats instead of a share of the maximum.

Rule: in three sampled rows in a row, a layer's logit above 100 and its entropy below 5 % of the maximum and below half
of the highest of its first five rows. Where only logits are measured: above 300 and twice their beginning; where only
entropies are: as above. Also logits above 100 that have been above 50 for 20 rows, rise (Mann-Kendall, p < 1e-3) and
will double twice before the run ends, in three rows in a row. Above 50 alone is worth watching and is not told. The
onset is when the logits passed 50 or the entropy half of its beginning. Critical above 1,000. The logit is an upper
bound, max |q| times max |k|: on a small GPT at four learning rates it was 1.9 to 2.1 times the true maximum at first,
and from logits of 5 on 1.1 times it (median; 95 % within 1.3, at most 4.8), so that 100 stands for 75 or more; hence
the entropy must agree, or the limit is three times as high. Silent on the ten healthy labelled runs, one of which
reaches a true 152 at an entropy of 19 %.

Source: reference 2.8.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.activations import FLAT, LASTING, LOUD, RECENT, Sampled, Streaks
from tuimon.diagnosis.growth import growth
from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rule import Episode, Rule, Story, rate_cause, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, number, percent

EXTREME = 1e3
HALF_END = 3e4
"""Half of what float16 can hold."""


class AttentionCollapse(Rule):
    """T301."""

    slug, code, category, needs = "attention-collapse", "T301", "activations", ("attention_logit", "attention_entropy")
    wakes = follows = 0
    rescue_helps = True

    def clear(self) -> None:
        """No streaks."""
        self.growing, self.extreme = Streaks(), Streaks()

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Logits or entropies, and a beginning to compare with."""
        if now.activations.seen.isdisjoint(self.needs):
            return ("attention_logit or attention_entropy (activation probes)",)
        return now.activations.wants(*self.needs)

    def probes(self, row: Sampled, now: Signals) -> None:
        """Look for layers whose attention has collapsed, or whose logits run away."""
        logits, entropies = row.of("attention_logit"), row.of("attention_entropy")
        if not logits and not entropies:
            return
        self.growing.add(row.step, {layer: self._grows(layer, row.step, now) for layer in logits})
        self.extreme.add(row.step, {layer: logit > EXTREME for layer, logit in logits.items()})
        collapsed = now.activations.saturated.lasting()
        found = collapsed or self.growing.lasting()
        if not found:
            if self.episode and self.episode.pause(LASTING):
                self.close(now)
            return
        worst = max(found, key=lambda layer: (logits.get(layer, 0.0), -entropies.get(layer, 0.0)))
        if self.episode is None:
            agreed = bool(collapsed and logits and entropies)
            onset = min(self._onset(layer, since, now) for layer, since in found.items())
            self.open(now, onset, "warning", "high" if agreed else "medium")
        episode = self.episode
        assert episode is not None
        if not collapsed.keys().isdisjoint(self.extreme.lasting()):
            self.worsen(now, episode.confidence)
        episode.clean = 0
        logit, entropy = logits.get(worst, math.nan), entropies.get(worst, math.nan)
        began = now.activations.early
        episode.blame(
            worst or None, logit if logits else -entropy, logit=logit, entropy=entropy,
            logit_began=min(began.get(("attention_logit", worst), [math.nan])),
            entropy_began=max(began.get(("attention_entropy", worst), [math.nan])),
            layers=float(len(found)), of=float(len(logits or entropies)))
        episode.numbers["collapsed"] = max(episode.numbers.get("collapsed", 0.0), float(bool(collapsed)))

    def _onset(self, layer: str, step: int, now: Signals) -> int:
        """When the layer left what it had been: its logits the quiet zone, or its entropy the half of its beginning."""
        activations = now.activations
        step = activations.turned("attention_logit", layer, step, lambda logit: logit > LOUD / 2)
        half = max(activations.early.get(("attention_entropy", layer), [0.0])) / 2
        return activations.turned("attention_entropy", layer, step, lambda entropy: entropy < half)

    def _grows(self, layer: str, step: int, now: Signals) -> bool:
        recent = now.activations.recent["attention_logit", layer]
        if len(recent) < RECENT or recent[-1][1] <= LOUD or min(value for _, value in recent) <= LOUD / 2:
            return False
        return growth(*zip(*recent, strict=True)).is_fast(step, self.context.total_steps)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        logit, entropy = n["logit"], n["entropy"]
        has_logit, has_entropy = logit > 0, math.isfinite(entropy)
        where = episode.layer or "the model"
        parts = []
        if has_entropy and n["collapsed"]:
            parts.append(f"attention {'had' if over else 'has'} an entropy of {percent(entropy)} % of its maximum "
                         f"(at first {percent(n['entropy_began'])} %)")
        if has_logit:
            parts.append(f"attention logits {'reached' if over else 'reach'} {number(logit)} (at first "
                         f"{number(n['logit_began'])}; from 100 on a softmax is nearly a choice)")
        why = f"In {where} {' and '.join(parts)}."
        if n["of"] > 1:
            why += f" {count(int(n['layers']))} of {count(int(n['of']))} layers."
        if n["collapsed"]:
            why += " Through such a softmax hardly any gradient passes."
        if has_logit and logit > HALF_END:
            why += " float16 ends at 65,504."
        if over:
            why += f" Back among ordinary values by step {count(episode.last)}."
        limit = EXTREME if episode.severity == "critical" else LOUD
        return Story(
            "Attention has collapsed" if n["collapsed"] else "Attention logits keep growing",
            f"{why} {rate_cause(episode)}".strip(),
            (rate_cut(episode), "normalise queries and keys (QK-norm), or cap the logits (soft-capping at 50, QK-clip)",
             "warm up over 100 steps or more"),
            (*((Evidence("attention_logit", logit, limit, n["logit_began"]),) if has_logit else ()),
             *((Evidence("attention_entropy", entropy, FLAT, n["entropy_began"]),) if has_entropy else ())),
            "collapsed" if n["collapsed"] else "growing",
        )
