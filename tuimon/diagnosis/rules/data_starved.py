"""data-starved (T502): a large part of each step waits for the next batch.

Symptom: the time that goes into waiting for the data loader is a third of the step and more, step after step.

Why it happens: too few worker processes, or none; batches tokenised or augmented while training waits; slow or remote
storage; workers that are started anew for each epoch; a collate function that does the work on one core.

What to try: num_workers of 4 to 8 with persistent_workers=True and prefetch_factor of 4; tokenise once, ahead of the
run; pin_memory=True with non_blocking=True copies; data on a local disk.

Confused with: a step that is so small that anything is long beside it (the first run of a toy model): the advice is the
same. The first batch of an epoch, which waits for the workers to start: one wait among many steps is no pattern.

Rule: waiting, summed over sixteen steps, at least 30 % of the step time summed, in four such stretches in a row and for
a minute of training. A warning from 50 % on, else for information. Over when four in a row are below 20 %. The first
sixteen steps of an attempt are left out. Needs the loader to be seen: a batch that the script makes itself takes no
data time.

Source: reference 2.20.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.pace import SIZE, Stretch
from tuimon.diagnosis.rows import PACE
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, fold, seconds

SHARE = 0.3
MOST = 0.5
CALM = 0.2
FEWEST = 4
LASTS = 60.0
"""Seconds of training that it must last."""


class DataStarved(Rule):
    """T502."""

    slug, code, category, needs = "data-starved", "T502", "throughput", ("data_time", "step_time")
    wakes = follows = PACE

    def clear(self) -> None:
        """Nothing seen."""
        self.looked = -1
        """Stretches that were looked at; the first does not count."""
        self.hungry: list[Stretch] = []
        """The newest eight stretches in a row that waited."""
        self.stretches, self.lasted, self.onset, self.calm = 0, 0.0, 0, 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A stretch after the first."""
        missing = super().waits_for(now)
        return missing or (() if self.looked > 0 or self.episode else (f"{2 * SIZE} values of data_time",))

    def row(self, now: Signals) -> None:
        """Look at a stretch that has just become complete."""
        last = now.pace.last
        if last is None or last.rows[-1][0] != now.step or math.isnan(last.waited):
            return
        self.looked += 1
        if not self.looked:
            return
        if last.waited >= SHARE:
            self._take(last)
            if self.episode:
                self._measure(self.episode)
            elif self.stretches >= FEWEST and self.lasted >= LASTS:
                self._measure(self.open(now, self.onset, "info", "high", worst=0.0))
        elif self.episode is None:
            self.hungry, self.stretches, self.lasted = [], 0, 0.0
        if self.episode:
            self._follow(last, now, self.episode)

    def _take(self, last: Stretch) -> None:
        if not self.stretches:
            waits = (row[0] for row in last.rows if row[1] and (row[2] or 0.0) >= SHARE * row[1])
            self.onset = next(waits, last.first)
        self.hungry = [*self.hungry, last][-2 * FEWEST:]
        self.stretches += 1
        self.lasted += last.lasted

    def _measure(self, episode: Episode) -> None:
        n, size = episode.numbers, len(self.hungry)
        n["share"] = sum(one.waited for one in self.hungry) / size
        n["seconds"] = sum(row[1] or 0.0 for one in self.hungry for row in one.rows) / (size * SIZE)
        n["worst"] = max(n["worst"], n["share"])
        if n["share"] >= MOST:
            episode.severity = "warning"

    def _follow(self, last: Stretch, now: Signals, episode: Episode) -> None:
        self.calm = self.calm + 1 if last.waited < CALM else 0
        if self.calm == 1:
            episode.calm_since = last.first
        if self.calm >= FEWEST:
            self.close(now)
            self.hungry, self.stretches, self.lasted, self.calm = [], 0, 0.0, 0

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        share = n["worst"] if over else n["share"]
        waited = share * n["seconds"]
        why = (f"{100 * share:.0f} % of each step {'went' if over else 'goes'} into waiting for data since step "
               f"{count(episode.onset)}: {seconds(waited)} of {seconds(n['seconds'])}.")
        if over:
            why += f" The loader keeps up since step {count(episode.calm_since)}."
        elif share < 0.99:
            why += f" With a loader that keeps up, training would be {fold(1 / (1 - share))} as fast."
        else:
            why += " The loader alone sets the pace."
        return Story(
            "Training waits for data", why,
            ("give the DataLoader num_workers=4 to 8, persistent_workers=True and prefetch_factor=4",
             "tokenise and shuffle once, ahead of the run, and read the result from a local disk",
             "copy while the device computes: pin_memory=True, and .to(device, non_blocking=True)"),
            (Evidence("data_time", waited, SHARE * n["seconds"]), Evidence("step_time", n["seconds"], math.nan)),
            "waiting for data",
        )
