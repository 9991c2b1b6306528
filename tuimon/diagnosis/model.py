"""The nouns of a diagnosis: finding, evidence, incident, badge, diagnosis. Frozen values; JSON at the bottom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from tuimon.record.probes import ProbeEntry  # with numpy, which the first paint does without

Severity = Literal["info", "warning", "critical"]
Confidence = Literal["low", "medium", "high"]
Category = Literal["loss", "gradients", "updates", "numerics", "layers", "generalisation", "throughput", "activations"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
CATEGORIES: Final[tuple[Category, ...]] = (
    "loss", "gradients", "updates", "numerics", "layers", "generalisation", "throughput", "activations",
)

NEAR_GUESS: Final = 0.1
"""Share by which the loss of a model that knows nothing may differ from that of a blind guess."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that speaks for a finding, with the limit it crossed."""

    metric: str
    value: float
    limit: float
    """The limit; NaN where the test is not against a number (non-finite values)."""
    usual: float = math.nan
    """What the run itself usually shows; NaN where there is no baseline."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a rule may know besides the log. Everything optional: a CSV has none of it."""

    total_steps: int | None = None
    vocab_size: int | None = None
    optimizer: str | None = None
    """Class name, e.g. "AdamW"."""
    eps: float | None = None
    """Adam's epsilon, for judging whether a gradient is too small to move anything."""
    clips: bool | None = None
    """Whether the script clips by itself; None where unknown."""
    tensor_names: tuple[str, ...] = ()
    tensor_sizes: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    """Of the trained tensors, each once, e.g. "bfloat16"."""
    layers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Layer name -> indices of its trained tensors, in model order."""
    misses_mean_none: bool = True
    """Whether a tensor that is missing from a row had no gradient there; in the logs of others it was not logged."""
    probes: tuple[ProbeEntry, ...] = ()
    """What each value of a probe row is."""

    def guess(self, first_loss: float) -> float:
        """The loss of guessing blindly, ln V, where the first loss is one or the vocabulary is known; else NaN.

        V is the vocabulary, or else as many classes as the last layer has biases, if a guess among them is what the run
        began with.
        """
        if self.vocab_size is not None:
            return math.log(self.vocab_size) if self.vocab_size > 1 else math.nan
        names, sizes = self.tensor_names, self.tensor_sizes
        if len(sizes) < 2 or len(names) != len(sizes) or not names[-1].endswith("bias"):
            return math.nan
        weights, classes = sizes[-2:]
        if classes < 2 or weights <= classes or weights % classes:
            return math.nan
        known = math.log(classes)
        return known if abs(first_loss - known) <= NEAR_GUESS * known else math.nan

    @property
    def follows_gradients(self) -> bool:
        """Whether a smaller gradient makes a smaller step, as with SGD; Adam and its like take the size out again."""
        return "sgd" in (self.optimizer or "").lower()


RISING: Final = "rising"
RECOVERED: Final = "recovered"
"""Words for a spike before and after its end."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is, or was, wrong."""

    rule: str
    """Slug."""
    code: str
    category: Category
    severity: Severity
    """The worst it has been while open."""
    state: Literal["open", "resolved"]
    onset_step: int
    """First faulty step, estimated."""
    detected_step: int
    resolved_step: int | None
    layer: str | None
    confidence: Confidence
    headline: str
    """A few words without numbers, sentence case: "Exploding gradients"."""
    why: str
    """One or two sentences with the numbers."""
    next: tuple[str, ...]
    """Ordered, concrete."""
    evidence: tuple[Evidence, ...]
    word: str
    """What its badge says, in one or two lower-case words: "exploding"."""
    rescue_helps: bool = False
    """Whether going back, a smaller learning rate and clipping treat it; what dies with depth they do not."""
    cause: str | None = None
    """Slug of the incident that brought it about, as far as is known."""
    before: tuple[Telling, ...] = field(default=(), compare=False)
    """How it was told while it was open, oldest first; none of these has a `before` of its own."""

    def reopened(self) -> Incident:
        """As it was before its end: not called by what only its end has shown."""
        word = RISING if self.word == RECOVERED else self.word
        return replace(self, state="open", resolved_step=None, headline=self.headline.removesuffix(f", {RECOVERED}"),
                       word=word)


Telling = tuple[int, Incident]
"""From that step on it was told like that."""


@dataclass(frozen=True, slots=True)
class NotEvaluated:
    """A rule that could not look, and what it waits for."""

    rule: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Badge:
    """The state of one category at a glance."""

    category: Category
    severity: Severity | None
    """None is healthy or unknown; see `word`."""
    word: str
    """"ok", "waiting", or the word of the worst open incident."""
    since: int | None
    """Onset step of that incident."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Where a metric of this run usually is: the learned baseline (5th and 95th percentile of recent healthy steps)."""

    low: float
    high: float
    median: float


Course = tuple[tuple[int, Usual | None], ...]
"""What was usual from each of these steps on, oldest first, at an even resolution; None: nobody knew."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that is judged about a run up to one step."""

    steps: int
    """Last step judged; 0 before the first."""
    incidents: tuple[Incident, ...]
    """Open ones first, then by severity (worst first), then by onset."""
    not_evaluated: tuple[NotEvaluated, ...]
    badges: tuple[Badge, ...]
    usual: Mapping[str, Usual]
    """Per metric name; absent until it is known."""
    once: Mapping[str, Course] = field(default_factory=dict)
    """Per metric name, what was usual before."""

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """Those that are still open."""
        return tuple(i for i in self.incidents if i.state == "open")

    def event(self, of: Incident) -> tuple[Incident, ...]:
        """The open incidents that are one event with this one: they share its root cause."""
        causes = {i.rule: i.cause for i in self.open_incidents}

        def root(slug: str) -> str:
            seen = {slug}
            while (cause := causes.get(slug)) is not None and cause not in seen:
                seen.add(slug := cause)
            return slug

        return tuple(i for i in self.open_incidents if root(i.rule) == root(of.rule))

    @property
    def leading(self) -> Incident | None:
        """The open incident to talk about first: the worst, and of equals the root cause."""
        return next(iter(self.open_incidents), None)

    @property
    def verdict(self) -> Literal["healthy", "info", "warning", "critical"]:
        """The worst open severity."""
        return max((i.severity for i in self.open_incidents), key=SEVERITIES.index, default="healthy")

    @staticmethod
    def nothing() -> Diagnosis:
        """Before the first step."""
        return Diagnosis(0, (), (), tuple(Badge(c, None, "waiting", None) for c in CATEGORIES), {})


def badge(category: Category, current: Sequence[Incident], *, known: bool) -> Badge:
    """The badge of one category, from its open incidents."""
    mine = [i for i in current if i.category == category]
    if not mine:
        return Badge(category, None, "ok" if known else "waiting", None)
    worst = max(mine, key=lambda i: (SEVERITIES.index(i.severity), -i.onset_step))
    return Badge(category, worst.severity, worst.word, worst.onset_step)


def plain(value: float) -> float | str:
    """A number as strict JSON carries it: non-finite values are words (design, section 7)."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def incident_json(incident: Incident) -> dict[str, Any]:
    """One incident as design.md section 7 prints it."""
    return {
        "rule": incident.rule, "code": incident.code, "category": incident.category, "severity": incident.severity,
        "state": incident.state, "onset_step": incident.onset_step, "detected_step": incident.detected_step,
        "resolved_step": incident.resolved_step, "layer": incident.layer, "confidence": incident.confidence,
        "cause": incident.cause, "headline": incident.headline, "why": incident.why, "next": list(incident.next),
        "evidence": [{"metric": e.metric, "value": plain(e.value), "limit": plain(e.limit)} for e in incident.evidence],
    }


def diagnosis_json(diagnosis: Diagnosis, *, source: str, state: str, is_measured: bool = True) -> dict[str, Any]:
    """The whole object that `tuimon diagnose --json` and the headless demo print; null for what has no verdict."""
    return {
        "schema": 1, "source": source, "steps": diagnosis.steps, "state": state,
        "verdict": diagnosis.verdict if is_measured else None,
        "incidents": [incident_json(i) for i in diagnosis.incidents],
        "not_evaluated": [{"rule": n.rule, "needs": list(n.needs)} for n in diagnosis.not_evaluated],
    }
