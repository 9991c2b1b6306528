"""throughput-drop (T501): training has become slower than it was, and stays so.

Symptom: steps of the same size take a third longer than this run's own, for minutes on end.

Why it happens: something else uses the machine; the device is throttled by heat or power; the loader no longer keeps
up; memory is being swapped; the script does more per step than it did (logging, evaluating, a list that grows); the
sequences have become longer.

What to try: see whether the steps wait for data (data-starved); look at what else runs on the machine, and at clocks
and temperature of the device; look at what the script began to do at its onset.

Confused with: a larger batch or longer sequences, which are slower per step and not per token: where tokens are known,
both must be slower, and a lasting change of tokens per step starts the comparison anew. Evaluations, checkpoints and
recompilations interrupt a step now and then: a median of sixteen does not see them. A run that was slow from the start
has nothing to be compared with.

Rule: medians of sixteen step times, against the median of all such medians of the run before, slow ones left out.
Slow is above 1.3 times and beyond three robust standard deviations, by step and, where tokens are known, by token.
Told when 64 steps in a row and five minutes of training were slow (256 steps where only tokens per second are logged):
shared machines breathe. A warning when it has been twice the usual for ten minutes, until then for information. Over
when 64 steps in a row are within 1.15 times the usual. The first sixteen steps of an attempt (compilation, caches) are
left out. False alarms: no warning in 21,300 steps of seven healthy demos on two cores shared with other work; one of
them, 2.8 times slower for its last five minutes, was told so for information.

Source: reference 2.20, with the persistence raised: five slow steps in a row are nothing on a shared machine.
"""

from __future__ import annotations

import math

from tuimon.diagnosis.model import Evidence, Severity
from tuimon.diagnosis.pace import SIZE, Course, Stretch, per_token_of, rose, seconds_of, typical
from tuimon.diagnosis.rows import PACE
from tuimon.diagnosis.rule import Episode, Rule, Story
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.wording import count, fold, number, seconds

SLOW = 1.3
FAR = 3.0
"""Robust standard deviations of a stretch's median that are no slowness yet."""
CALM = 1.15
BAD = 2.0
FEWEST = 4
"""Stretches from which there is a usual, and that a drop must last, and that end it."""
LASTS = 300.0
"""Seconds of training that a drop must last; twice as long to be a warning."""
WITHOUT_TIME = 16
"""Stretches where no time is logged."""
OTHER_SIZE = 1.2
"""Tokens per step, by this factor up or down, that make another task of it."""


class ThroughputDrop(Rule):
    """T501."""

    slug, code, category, needs = "throughput-drop", "T501", "throughput", ("step_time",)
    wakes = follows = PACE

    def clear(self) -> None:
        """No usual yet."""
        self.skip = True
        """The first stretch is yet to come."""
        self.seconds, self.per_token, self.tokens = Course(), Course(), Course()
        self.resized = 0
        """Stretches in a row with another number of tokens."""
        self.slow: list[Stretch] = []
        """The stretches of the drop so far: the first, and the newest eight."""
        self.stretches, self.lasted, self.onset, self.calm = 0, 0.0, 0, 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """A usual; tokens per second will do for the times."""
        known = next((name for name in ("step_time", "throughput") if name in now.seen), None)
        if known is None:
            return super().waits_for(now)
        return () if self._has_usual or self.episode else (f"{(FEWEST + 1) * SIZE} values of {known}",)

    @property
    def _has_usual(self) -> bool:
        return max(len(self.seconds), len(self.per_token)) >= FEWEST

    def row(self, now: Signals) -> None:
        """Look at a stretch that has just become complete."""
        last = now.pace.last
        if last is None or last.rows[-1][0] != now.step:
            return
        if self.skip:
            self.skip = False
        elif self._is_another_task(last):
            if self.episode:
                self.close(now, "The number of tokens per step has changed since; what is usual is learned anew.")
            self.clear()
            self.skip = False
            self._learn(last)
        else:
            self._compare(last, now)

    def _is_another_task(self, last: Stretch) -> bool:
        if math.isnan(last.tokens) or len(self.tokens) < FEWEST:
            return False
        times = last.tokens / self.tokens.usual()[0]
        self.resized = self.resized + 1 if not 1 / OTHER_SIZE < times < OTHER_SIZE else 0
        return self.resized >= 2

    def _compare(self, last: Stretch, now: Signals) -> None:
        times, limit = self._times(last)
        if self.episode:
            self._follow(last, times, now, self.episode)
        elif times <= limit:
            self.slow, self.stretches, self.lasted = [], 0, 0.0
            if not self.resized:
                self._learn(last)
        else:
            if not self.slow:
                self.onset = self._onset(last, now)
            self._take(last)
            patience = WITHOUT_TIME if math.isnan(last.seconds) else FEWEST
            if self.stretches >= patience and (self.lasted >= LASTS or math.isnan(last.seconds)):
                self._open(now)

    def _times(self, last: Stretch) -> tuple[float, float]:
        """How many times the usual it took, by the kinder of step and token, and from where that is slow."""
        found = [(math.exp(math.log(value) - course.usual()[0]), course.usual()[1])
                 for value, course in ((last.seconds, self.seconds), (last.per_token, self.per_token))
                 if not math.isnan(value) and len(course) >= FEWEST]
        times, scale = min(found, default=(1.0, 0.0))
        return times, max(SLOW, math.exp(min(FAR * scale, 3.0)))

    def _learn(self, last: Stretch) -> None:
        for value, course in ((last.seconds, self.seconds), (last.per_token, self.per_token)):
            if not math.isnan(value):
                course.add(last.first, math.log(value))
        if not math.isnan(last.tokens):
            self.tokens.add(last.first, last.tokens)

    def _onset(self, last: Stretch, now: Signals) -> int:
        """The step at which the drop began, within this stretch or the one before."""
        rows = (*(now.pace.before.rows if now.pace.before else ()), *last.rows)
        by_step = not math.isnan(last.seconds) and len(self.seconds) >= FEWEST
        of, level, course = (seconds_of, last.seconds, self.seconds) if by_step else (
            per_token_of, last.per_token, self.per_token)
        return rose(rows, of, math.exp(course.usual()[0]), level)

    def _take(self, last: Stretch) -> None:
        self.slow = [*self.slow, last][-2 * FEWEST:]
        self.stretches += 1
        self.lasted += last.lasted if not math.isnan(last.seconds) else 0.0

    def _open(self, now: Signals) -> None:
        episode = self.open(now, self.onset, "info", "medium", worst=0.0, usual_seconds=self._usual(self.seconds),
                            usual_per_token=self._usual(self.per_token), tokens=self._tokens())
        self._measure(episode)

    @staticmethod
    def _usual(course: Course) -> float:
        return math.exp(course.usual()[0]) if len(course) >= FEWEST else math.nan

    def _tokens(self) -> float:
        return self.tokens.usual()[0] if len(self.tokens) >= FEWEST else math.nan

    def _measure(self, episode: Episode) -> None:
        """The drop as its newest stretches show it."""
        n = episode.numbers
        n["times"] = typical([self._times(one)[0] for one in self.slow])
        n["worst"] = max(n["worst"], n["times"])
        n["seconds"] = typical([one.seconds for one in self.slow])
        n["per_token"] = typical([one.per_token for one in self.slow])
        n["waited"] = typical([one.waited for one in self.slow])
        n["lasted"] = self.lasted
        long = self.lasted >= 2 * LASTS
        severity: Severity = "warning" if long and n["times"] >= BAD else episode.severity
        episode.severity, episode.confidence = severity, "high" if long else "medium"

    def _follow(self, last: Stretch, times: float, now: Signals, episode: Episode) -> None:
        if times <= CALM:
            self.calm += 1
            episode.calm_since = episode.calm_since if self.calm > 1 else last.first
            if self.calm >= FEWEST:
                self.close(now)
                self.slow, self.stretches, self.lasted, self.calm = [], 0, 0.0, 0
            return
        self.calm = 0
        self._take(last)
        self._measure(episode)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        times = n["worst"] if over else n["times"]
        waits = n["waited"] >= 0.3
        if math.isfinite(n["seconds"]) and math.isfinite(n["usual_seconds"]):
            level = seconds(n["usual_seconds"] * times if over else n["seconds"])
            why = (f"Each step {'took up to' if over else 'takes'} {level} since step {count(episode.onset)}, "
                   f"{fold(times)} its usual {seconds(n['usual_seconds'])}")
            evidence = Evidence("step_time", n["usual_seconds"] * times, SLOW * n["usual_seconds"], n["usual_seconds"])
            same = f", at the same {count(round(n['tokens']))} tokens" if math.isfinite(n["tokens"]) else ""
        else:
            usual = 1 / n["usual_per_token"]
            why = (f"Throughput {'fell to' if over else 'is'} {number(usual / times)} tokens a second since step "
                   f"{count(episode.onset)}; its usual is {number(usual)}, {fold(times)} as much")
            evidence, same = Evidence("throughput", usual / times, usual / SLOW, usual), ""
        why += f"{same}; {100 * n['waited']:.0f} % of it waits for data." if waits and not over else f"{same}."
        if over:
            why += f" Back at its pace since step {count(episode.calm_since)}."
        first = ("mend the loader first: more workers, prefetching, data prepared ahead (see data-starved)"
                 if waits else "see what else runs on this machine, and the device's clocks and temperature")
        return Story(
            "Training has slowed down", why,
            (first, f"look at what the script began to do around step {count(episode.onset)}: logs, evaluations",
             "go on if neither: the weights are as good as before, only later"),
            (evidence, *self._share(n)), "slower",
        )

    @staticmethod
    def _share(n: dict[str, float]) -> tuple[Evidence, ...]:
        if not n["waited"] >= 0.3 or math.isnan(n["seconds"]):
            return ()
        return (Evidence("data_time", n["waited"] * n["seconds"], 0.3 * n["seconds"]),)
