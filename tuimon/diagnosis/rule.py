"""What every rule is: a fold over rows with at most one open episode, which it can tell in words. Pure.

A rule sees one row at a time, in order, so that how the log was cut into chunks cannot matter. It reads `Signals`,
never another rule, a clock or a screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final

from tuimon.diagnosis.activations import Sampled
from tuimon.diagnosis.layers import Profile, Profiles
from tuimon.diagnosis.limits import NEAR
from tuimon.diagnosis.model import Category, Confidence, Evidence, Incident, RunContext, Severity
from tuimon.diagnosis.rows import ROW
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.tellings import Tellings, put_away
from tuimon.diagnosis.wording import count, fold, rate
from tuimon.record.chunk import Bools, Mark

if TYPE_CHECKING:
    from tuimon.diagnosis.outlook import Outlook

CLEAN: Final = 30
"""Rows back in the usual range after which an incident counts as over."""
LEFT: Final = 1.5
"""Times the present learning rate that it had at the onset, from which on it counts as lowered since."""
TIERS: Final[tuple[Confidence, ...]] = ("low", "medium", "high")
"""Healthy runs show it once per 1e3, 1e4, 1e5 steps."""


@dataclass(slots=True)
class Episode:
    """One thing gone wrong, while it lasts."""

    onset: int
    detected: int
    severity: Severity
    confidence: Confidence
    layer: str | None = None
    clean: int = 0
    """Rows in a row without the symptom, and the step of the first of them."""
    calm_since: int = 0
    last: int = 0
    """The last step judged, when it is told."""
    agreed: bool = False
    """Whether an independent channel has confirmed it."""
    numbers: dict[str, float] = field(default_factory=dict)
    """What the story needs: references, peaks, current values."""
    badness: float = -math.inf
    """How bad it was at its worst, as its rule measures that."""
    at_worst: tuple[str | None, dict[str, float]] | None = None
    """Layer and numbers of that moment; None where no layer was blamed."""
    tellings: Tellings = field(default_factory=Tellings)

    def blame(self, layer: str | None, badness: float, **numbers: float) -> None:
        """The layer in which it shows now, and the numbers there."""
        self.layer = layer
        self.numbers |= numbers
        if badness >= self.badness:
            self.badness, self.at_worst = badness, (layer, numbers)

    def end(self) -> None:
        """It is over, and told by its worst moment: where it faded last is chance."""
        if self.at_worst is not None:
            self.layer, numbers = self.at_worst
            self.numbers |= numbers

    def tick(self, step: int, *, calm: bool) -> bool:
        """Count a row without the symptom, or start counting anew; True when there have been enough."""
        self.clean = self.clean + 1 if calm else 0
        if self.clean == 1:
            self.calm_since = step
        return self.clean >= CLEAN

    def pause(self, enough: int, *, calm: bool = True) -> bool:
        """The same for rows that are sampled rarely, of which fewer are enough."""
        self.clean = self.clean + 1 if calm else 0
        return calm and self.clean >= enough


@dataclass(frozen=True, slots=True)
class Story:
    """An episode in words."""

    headline: str
    why: str
    next: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    word: str


class Rule:
    """Base of all rules. `row`, `profile`, `probes` and `mark` fold; `tell` puts the open episode into words."""

    slug: ClassVar[str]
    code: ClassVar[str]
    category: ClassVar[Category]
    needs: ClassVar[tuple[str, ...]]
    """Columns without which it cannot look; "tensors" for per-tensor rows, a quantity for activation probes."""
    wakes: ClassVar[int] = ROW
    """Which rows it looks at while nothing is going on: bits of `rows`."""
    follows: ClassVar[int] = ROW
    """Which rows it looks at while an episode is open. One that lasts must not ask for every row without need: the run
    cannot be taken in stretches then."""
    holds: ClassVar[bool] = False
    """Whether its critical episodes keep the bad stretch out of the baselines."""
    rescue_helps: ClassVar[bool] = False
    """Whether a rescue (go back, smaller learning rate, clip) is a treatment."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.episode: Episode | None = None
        self.attending = False
        """Whether it wants to see every row, without an episode yet."""
        self.past: list[Incident] = []
        self.clear()

    def clear(self) -> None:
        """Forget whatever was building up: the run starts anew."""

    @property
    def wants(self) -> int:
        """Which rows it looks at now."""
        return ROW if self.attending else self.wakes if self.episode is None else self.follows

    def row(self, now: Signals) -> None:
        """Look at one row."""

    def singles(self, ahead: Outlook) -> Bools | None:
        """(n,) which of the rows ahead it must look at, if it wants every row; None: each of them.

        At all others nothing may begin or end: `pass_over` takes them in.
        """
        del ahead
        return None

    def pass_over(self, ahead: Outlook, at: int, upto: int) -> None:
        """Take in the rows from `at` to `upto`, the last left out, of which `singles` has named none."""

    def profile(self, row: Profile, now: Signals) -> None:
        """Look at one row of per-layer gradients."""

    def unusual(self, rows: Profiles) -> Bools | None:
        """(m,) which rows of per-layer gradients ahead it must look at; None: each of them.

        At all others nothing may begin or end: `pass_profiles` takes them in.
        """
        del rows
        return None

    def pass_profiles(self, rows: Profiles, i: int, j: int) -> None:
        """Take in the rows i to j of per-layer gradients, j left out, of which `unusual` has named none."""

    def probes(self, row: Sampled, now: Signals) -> None:
        """Look at one row of activation probes."""

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """The episode in words; `over` when it has just ended."""
        raise NotImplementedError

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """What it still needs before it can judge; empty when it does judge."""
        return tuple(name for name in self.needs if name not in now.seen)

    def mark(self, mark: Mark, now: Signals) -> None:
        """A break in the run. An attempt ends what was open; after a rollback the clean rows are counted anew."""
        if mark.kind == "attempt":
            if self.episode:
                self.close(now, "The run was started again.")
            self.clear()
        elif mark.kind == "rollback":
            self.clear()
            if self.episode:
                self.episode.clean = 0
                self.episode.numbers["rolled_back"] = 1.0

    # ------------------------------------------------------------------ for the rules

    def open(self, now: Signals, onset: int, severity: Severity, confidence: Confidence, **numbers: float) -> Episode:
        """Begin an episode at this row."""
        episode = Episode(min(onset, now.step), now.step, severity, confidence, numbers=numbers)
        growth, since, low = now.rates.growth()
        if growth >= 1.5:
            episode.numbers |= {"lr_growth": growth, "lr_since": float(since), "lr_low": low}
        if now.lr is not None:
            episode.numbers["lr"] = now.lr
        self.episode = episode
        if severity == "critical" and self.holds:
            now.hold(self.slug, episode.onset)
        return episode

    def worsen(self, now: Signals, confidence: Confidence) -> None:
        """The open episode has become critical."""
        episode = self.episode
        if episode is None or episode.severity == "critical":
            return
        episode.severity, episode.confidence = "critical", confidence
        if self.holds:
            now.hold(self.slug, episode.onset)

    def close(self, now: Signals, because: str = "") -> None:
        """End the open episode at this row."""
        if self.episode is None:
            return
        put_away(self.past, self.incident(now, over=True, because=because))
        self.episode = None
        now.release(self.slug)

    def confirm(self, *alarm_rows: int, now: Signals) -> None:
        """Raise the confidence one tier, once, when another channel is in alarm within three rows."""
        episode = self.episode
        if episode and not episode.agreed and any(now.attempt_rows - row <= NEAR for row in alarm_rows):
            episode.agreed = True
            episode.confidence = TIERS[min(2, TIERS.index(episode.confidence) + 1)]

    def incident(self, now: Signals, *, over: bool = False, because: str = "") -> Incident:
        """The open episode as the rest of the program sees it. Needs one to be open."""
        episode = self.episode
        assert episode is not None
        episode.last = now.step
        if over:
            episode.end()
        if now.lr is not None:
            episode.numbers["lr_now"] = now.lr
        story = self.tell(episode, over=over)
        return Incident(
            rule=self.slug,
            code=self.code,
            category=self.category,
            severity=episode.severity,
            state="resolved" if over else "open",
            onset_step=episode.onset,
            detected_step=episode.detected,
            resolved_step=now.step if over else None,
            layer=episode.layer,
            confidence=episode.confidence,
            headline=story.headline,
            why=" ".join(filter(None, (story.why, because))),
            next=story.next,
            evidence=story.evidence,
            word=story.word,
            rescue_helps=self.rescue_helps,
            before=tuple(episode.tellings.told),
        )

    def note(self, now: Signals) -> None:
        """Remember how the open episode, if any, is told now, where that is worth remembering."""
        episode = self.episode
        if episode is not None and episode.tellings.is_due(now.step, episode.severity, episode.confidence):
            episode.tellings.keep(now.step, replace(self.incident(now), before=()))


def rate_cause(episode: Episode) -> str:
    """A sentence when the learning rate had grown before the episode; else nothing."""
    growth = episode.numbers.get("lr_growth", 1.0)
    if growth < 1.5:
        return ""
    since = int(episode.numbers["lr_since"])
    return f"The learning rate grew {fold(growth)} from step {count(since)}."


def rate_cut(episode: Episode, by: float = 10.0) -> str:
    """The advice to lower the learning rate, with the numbers where they are known."""
    numbers = episode.numbers
    lr, low = numbers.get("lr", math.nan), numbers.get("lr_low", math.nan)
    now = numbers.get("lr_now", lr)
    if now <= 1.1 * low and lr > LEFT * now > 0:
        return f"keep the learning rate at {rate(now)}, where it was before it grew"
    lr = max(lr, now) if now < math.inf else lr  # it may grow on; what a decay has made of it by now is no measure
    if not math.isfinite(lr) or lr <= 0:
        return f"lower the learning rate {by:.0f}x"
    if lr / low >= by:
        return f"lower the learning rate from {rate(lr)} back to {rate(low)}, where it was before it grew"
    return f"lower the learning rate from {rate(lr)} to {rate(lr / by)}"


def clip_advice(context: RunContext) -> str:
    """The advice to clip gradients, given whether the script does."""
    if context.clips:
        return "clip harder: this script clips already; halve its limit"
    return "clip gradients at 1.0" + (" (this script does not clip)" if context.clips is False else "")
