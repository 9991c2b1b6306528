"""The notebook's own monitor, rule for rule: a teaching profile and a baseline to beat, not the default.

Its thresholds are absolute (10, 1e-5, 0.1, 1e-5; emergencies at 100 and 50), its trend looks at five losses. On 35
labelled runs it says the same of healthy and of sick ones; the guide says why. Kept exact, so that what the
notebook taught can be seen at work. Pure, except `TrainingHealthMonitor`, which reads the tensors of a model (and
waits for the device: two reads per parameter and step) and `plot_dashboard`, which prints.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TextIO

from tuimon.diagnosis.model import (
    CATEGORIES,
    SEVERITIES,
    Badge,
    Category,
    Confidence,
    Diagnosis,
    Evidence,
    Incident,
    NotEvaluated,
    RunContext,
)
from tuimon.diagnosis.notebook_curves import LossCurveAnalyzer, generate_example_patterns
from tuimon.diagnosis.notebook_rules import (
    EMERGENCY,
    HEALTHY,
    NON_FINITE,
    RATE_LOW,
    VANISHING,
    VERDICTS,
    ZONES,
    Verdict,
    is_emergency,
    judge,
    zone_of,
)
from tuimon.diagnosis.plotting import Chart, beside, draw
from tuimon.diagnosis.tellings import Tellings
from tuimon.diagnosis.wording import count, number
from tuimon.record.chunk import Chunk

__all__ = ["LossCurveAnalyzer", "NotebookEngine", "TrainingHealthMonitor", "generate_example_patterns"]


class Model(Protocol):
    """What is asked of a model: `parameters()`, whose items have `.grad` and `.norm()`, as torch's do."""

    def parameters(self) -> Iterable[Any]:
        """All parameters."""


class TrainingHealthMonitor:
    """The notebook's monitor for a bare loop: call `check_vitals` after `backward()`.

    monitor = TrainingHealthMonitor()
    verdict = monitor.check_vitals(model, loss, optimizer, step)
    if monitor.emergency_stop_needed():
        break
    monitor.plot_dashboard()
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.grad_norms: list[float] = []
        self.param_norms: list[float] = []
        self.ratios: list[float] = []
        self.learning_rates: list[float] = []
        self.verdicts: list[str] = []

    def check_vitals(self, model: Model, loss: Any, optimizer: Any, step: int) -> str:
        """Record this step and say what the notebook would: one of `VERDICTS`' sentences, or the healthy one."""
        value = plain_number(loss)
        parameters = list(model.parameters())
        grad_norm = total_norm(p.grad for p in parameters if getattr(p, "grad", None) is not None)
        param_norm = total_norm(parameters)
        ratio = grad_norm / param_norm if param_norm else math.inf if grad_norm else 0.0
        self.steps.append(int(step))
        self.losses.append(value)
        self.grad_norms.append(grad_norm)
        self.param_norms.append(param_norm)
        self.ratios.append(ratio)
        self.learning_rates.append(plain_number(optimizer.param_groups[0]["lr"]))
        verdict = judge(value, grad_norm, ratio, self.losses)
        self.verdicts.append(verdict.says)
        return verdict.says

    def emergency_stop_needed(self) -> bool:
        """Whether the last step calls for a stop: loss non-finite or above 50, or gradient norm above 100."""
        return bool(self.steps) and is_emergency(self.losses[-1], self.grad_norms[-1])

    def health_summary(self) -> str:
        """A few lines: the last values, their zones, and how often each verdict was given."""
        if not self.steps:
            return "Training health: no step checked yet"
        lines = [f"Training health after {count(len(self.steps))} steps (last step {count(self.steps[-1])})"]
        lines += [
            f"  {label:<18}{number(values[-1]):>10}  {zone_of(metric, values[-1])}".rstrip()
            for label, metric, values in (
                ("loss", "loss", self.losses),
                ("grad norm", "grad_norm", self.grad_norms),
                ("grad/param ratio", "grad_param_ratio", self.ratios),
                ("learning rate", "lr", self.learning_rates),
            )
        ]
        said = {says: self.verdicts.count(says) for says in dict.fromkeys(self.verdicts)}
        lines += [f"  {times:>6} x {says}" for says, times in sorted(said.items(), key=lambda item: -item[1])]
        lines.append(
            f"  now: {self.verdicts[-1]}" + ("; emergency stop needed" if self.emergency_stop_needed() else "")
        )
        return "\n".join(lines)

    def dashboard(self, *, width: int = 100, height: int = 14, colour: bool = False) -> str:
        """The four charts (loss, gradient norm, learning rate, ratio), the zones' legend and the summary, as text."""
        half = max(30, (width - 2) // 2)
        loss, grad, lr, ratio = (
            draw(chart, width=half, height=height, colour=colour)
            for chart in (
                Chart("loss", self.steps, self.losses),
                Chart("grad norm, log", self.steps, self.grad_norms, log=True, zones=ZONES["grad_norm"]),
                Chart("learning rate", self.steps, self.learning_rates),
                Chart("grad/param ratio, log", self.steps, self.ratios, log=True, zones=ZONES["grad_param_ratio"]),
            )
        )
        legend = "\n".join(
            f"{name.replace('_', ' ')}: " + ", ".join(f"{z.name} {number(z.low)} to {number(z.high)}" for z in zones)
            for name, zones in ZONES.items()
        )
        if colour or width < 62:
            pictures = f"{loss}\n{grad}\n{lr}\n{ratio}"
        else:
            pictures = "\n".join((beside(loss, grad, width=half), beside(lr, ratio, width=half)))
        return f"{pictures}\n{legend}\n{self.health_summary()}\n"

    def plot_dashboard(self, file: TextIO | None = None, *, width: int = 100, height: int = 14) -> None:
        """Print the dashboard, in colour on a terminal."""
        out = sys.stdout if file is None else file
        out.write(self.dashboard(width=width, height=height, colour=out.isatty()))
        out.flush()


def plain_number(value: Any) -> float:
    """A float out of a float, or of a tensor with one element (waits for its device)."""
    return float(value.item() if hasattr(value, "item") else value)


def total_norm(tensors: Iterable[Any]) -> float:
    """Global L2 norm over tensors; 0 for none. One read from the device per tensor."""
    return math.hypot(*(plain_number(t.detach().norm()) for t in tensors))


@dataclass(slots=True)
class _Open:
    """A verdict that stands."""

    verdict: Verdict
    onset: int
    value: float
    tellings: Tellings = field(default_factory=Tellings)


class NotebookEngine:
    """The notebook's verdicts over a log, with `Engine`'s interface: for `--rules notebook`."""

    KEPT: Final = 500
    """Resolved incidents that are kept, the newest."""
    COLUMNS: Final = ("loss", "grad_norm", "grad_param_ratio")

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._losses: deque[float] = deque(maxlen=6)
        self._open: dict[str, _Open] = {}
        self._past: deque[Incident] = deque(maxlen=self.KEPT)
        self._seen: set[str] = set()
        self._step = 0

    def feed(self, chunk: Chunk) -> None:
        """Take in the next stretch."""
        columns = {
            name: (chunk.columns[name].tolist(), chunk.present[name].tolist())
            for name in self.COLUMNS
            if name in chunk.columns
        }
        for i, step in enumerate(chunk.steps.tolist()):
            row = {name: values[i] for name, (values, present) in columns.items() if present[i]}
            self._seen.update(row)
            self._row(step, row)

    def _row(self, step: int, row: dict[str, float]) -> None:
        self._step = step
        if not row:
            return
        loss, grad = row.get("loss"), row.get("grad_norm")
        if loss is not None:
            self._losses.append(loss)
        verdict = judge(loss, grad, row.get("grad_param_ratio"), self._losses)
        said = [verdict] if verdict is not HEALTHY else []
        if verdict is not NON_FINITE and is_emergency(loss, grad):
            said.append(EMERGENCY)
        for slug in [slug for slug in self._open if slug not in {v.slug for v in said}]:
            self._past.append(self._incident(self._open.pop(slug), over=True))
        for one in said:
            value = row.get(one.metric, math.nan)
            if one.slug in self._open:
                self._open[one.slug].value = value
            else:
                self._open[one.slug] = _Open(one, step, value)
            self._note(self._open[one.slug])

    def _note(self, item: _Open) -> None:
        """Remember how it is told now, where that is worth remembering."""
        verdict = item.verdict
        if verdict.severity is not None and item.tellings.is_due(self._step, verdict.severity, _confidence(verdict)):
            item.tellings.keep(self._step, replace(self._incident(item, over=False), before=()))

    def _incident(self, item: _Open, *, over: bool) -> Incident:
        verdict = item.verdict
        metric = verdict.metric.replace("_", " ").capitalize()
        limit = "" if math.isnan(verdict.limit) else f"; the notebook's limit is {number(verdict.limit)}"
        assert verdict.severity is not None
        return Incident(
            rule=verdict.slug,
            code=verdict.code,
            category=verdict.category,
            severity=verdict.severity,
            state="resolved" if over else "open",
            onset_step=item.onset,
            detected_step=item.onset,
            resolved_step=self._step if over else None,
            layer=None,
            confidence=_confidence(verdict),
            headline=verdict.headline,
            why=f"{metric} {'was' if over else 'is'} {number(item.value)}{limit}.",
            next=verdict.next,
            evidence=(Evidence(verdict.metric, item.value, verdict.limit),),
            word=verdict.word,
            rescue_helps=verdict not in {VANISHING, RATE_LOW},
            before=tuple(item.tellings.told),
        )

    @property
    def diagnosis(self) -> Diagnosis:
        """What the notebook's rules say by now."""
        current = sorted(
            (self._incident(item, over=False) for item in self._open.values()),
            key=lambda i: (-SEVERITIES.index(i.severity), i.onset_step),
        )
        past = sorted(self._past, key=lambda i: (-SEVERITIES.index(i.severity), i.onset_step))
        waiting = tuple(NotEvaluated(v.slug, (v.metric,)) for v in VERDICTS if v.metric not in self._seen)
        looked = {v.category for v in VERDICTS if v.metric in self._seen}
        return Diagnosis(
            self._step, (*current, *past), waiting, tuple(_badge(c, current, looked) for c in CATEGORIES), {}
        )


def _confidence(verdict: Verdict) -> Confidence:
    return "high" if verdict is NON_FINITE else "low"


def _badge(category: Category, current: Sequence[Incident], looked: set[Category]) -> Badge:
    worst = next((i for i in current if i.category == category), None)
    if worst is None:
        return Badge(category, None, "ok" if category in looked else "waiting", None)
    return Badge(category, worst.severity, worst.word, worst.onset_step)
