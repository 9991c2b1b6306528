"""desynchronised-replicas (T505): ranks that should hold the same weights do not, and train on apart.

Symptom: a sum over a few weights, bit for bit, is another on one rank than on the others that hold the same ones.

Why it happens: weights that were changed on one rank only, by hand, by loading a checkpoint there, or by another
learning rate; an initialisation that was not shared; gradients that were not reduced (no_sync without a last reduced
batch, parameters that DistributedDataParallel was told to ignore, an optimizer made before wrapping); a faulty device
or memory that flips a bit.

What to try: stop, and begin again on all ranks from the last checkpoint before; look for what only one rank does; call
the optimizer on every rank with the same learning rate; test the device of that rank where nothing in the script
explains it.

Confused with: training that lets replicas differ on purpose and averages them now and then (local SGD): there it says
so between two averages. Losses and norms of single ranks say nothing of it, for their batches differ anyway.

Rule: exact, no statistics: one such difference is enough. Every eighth step one tensor in turn is looked at, and some
elements of it, on ranks that are known to be at the same step. Over when every tensor that differed is the same again.

Source: DistributedDataParallel assumes replicas to start equal and to apply equal updates, and checks neither later.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import RANKS
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count


class DesynchronisedReplicas(Rule):
    """T505."""

    slug, code, category = "desynchronised-replicas", "T505", "numerics"
    needs = ("strays",)
    wakes = follows = RANKS

    def clear(self) -> None:
        """Nothing is known to differ."""
        self.differing: set[int] = set()
        """Tensors."""

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Ranks that hold the same."""
        return ("what several ranks that hold the same weights log",) if super().waits_for(now) else ()

    def row(self, now: Signals) -> None:
        """Compare what was looked at."""
        strays, rank, tensor = (now.value(name) for name in ("strays", "stray_rank", "checked_tensor"))
        if strays is None or tensor is None:
            return
        if not strays:
            self.differing.discard(int(tensor))
            if self.episode and not self.differing:
                self.close(now)
            return
        self.differing.add(int(tensor))
        if self.episode is None:
            self.open(now, now.step, "critical", "high", rank=float(rank or 0), strays=strays)
        assert self.episode is not None
        if self.episode.layer is None:
            layers = self.context.layers.items()
            self.episode.layer = next((name for name, where in layers if int(tensor) in where), None)
        n = self.episode.numbers
        n["strays"], n["tensors"] = max(n["strays"], strays), float(max(len(self.differing), n.get("tensors", 1)))

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        rank, others = int(n["rank"]), int(n["strays"]) - 1
        more = f" and {count(others)} more" if others else ""
        who = f"Rank {rank}{more} {'held' if over else 'hold' if others else 'holds'}"
        where = f", first seen in {episode.layer}" if episode.layer else ""
        tensors = int(n["tensors"])
        many = f" in {count(tensors)} tensors so far" if tensors > 1 else ""
        why = (f"{who} other weights than the ranks that should hold the same, since step {count(episode.onset)}"
               f"{where}{many}: each trains a model of its own, and their gradients are averaged all the same.")
        if over:
            why += f" They are alike again by step {count(episode.last)}."
        return Story(
            "Replicas have come apart", why,
            ("stop, and begin again on all ranks from the last checkpoint before that step",
             f"look for what rank {rank} alone does: loading, another learning rate, gradients that are not reduced",
             f"test the device of rank {rank} where nothing in the script explains it"),
            (Evidence("strays", n["strays"], 0.0), Evidence("stray_rank", n["rank"], math.nan)), "apart",
        )
