"""Those whom tuimon is compared with: rule sets that others use, restated. Each looks at one row after the other. Pure.

A baseline says which of its rules fire in a row. Firings of one rule no more than 30 rows apart are one alarm, as
tuimon's own incidents stay open for 30 clean rows. What a rule calls a cause is counted as the slug of ours that it
amounts to; most name none.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from tests.zoo.judges import Alarm, Judge, Said, Telling, Told
from tests.zoo.recording import Recording
from tuimon.diagnosis.model import SEVERITIES, Severity
from tuimon.diagnosis.notebook_rules import EMERGENCY, HEALTHY, NON_FINITE, VERDICTS, is_emergency
from tuimon.diagnosis.notebook_rules import judge as notebook_verdict

Row = Mapping[str, float]
TOGETHER: Final = 30
"""Rows without a firing that still belong to the same alarm."""


class Meaning(NamedTuple):
    """What a rule of a baseline amounts to."""

    severity: Severity
    cause: str | None


class Watch(Protocol):
    """A rule set at work on one run."""

    def row(self, row: Row) -> list[str]:
        """The names of the rules that fire."""


class Notebook:
    """The notebook's `check_vitals` and `emergency_stop_needed`."""

    MEANS: Final = {
        "notebook-non-finite": "non-finite", "notebook-exploding": "exploding-gradients",
        "notebook-vanishing": "vanishing-gradients", "notebook-learning-rate-high": "learning-rate-too-high",
        "notebook-learning-rate-low": "learning-rate-too-low", "notebook-rising-loss": "divergence",
    }

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=6)

    def row(self, row: Row) -> list[str]:
        loss, norm = row.get("loss"), row.get("grad_norm")
        if loss is None and norm is None:
            return []
        if loss is not None:
            self.losses.append(loss)
        verdict = notebook_verdict(loss, norm, row.get("grad_param_ratio"), self.losses)
        said = [] if verdict is HEALTHY else [verdict.slug]
        return [*said, EMERGENCY.slug] if verdict is not NON_FINITE and is_emergency(loss, norm) else said


class Window:
    """The last values of a series, and mean and deviation of a full window."""

    def __init__(self, size: int) -> None:
        self.values: deque[float] = deque(maxlen=size)

    @property
    def full(self) -> bool:
        return len(self.values) == self.values.maxlen

    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    def deviation(self) -> float:
        mean = self.mean()
        return math.sqrt(math.fsum((v - mean) ** 2 for v in self.values) / len(self.values))


class ZScore:
    """OLMo-core's StabilityMonitor: above mean + 6 sigma of the last 128 values, of the loss or the gradient's norm."""

    NAMES: Final = {"loss": "loss-z-score", "grad_norm": "gradient-z-score"}

    def __init__(self) -> None:
        self.windows = {metric: Window(128) for metric in self.NAMES}

    def row(self, row: Row) -> list[str]:
        found = []
        for metric, window in self.windows.items():
            value = row.get(metric)
            if value is None:
                continue
            if window.full and all(map(math.isfinite, window.values)):     # else mean and sigma are no numbers
                sigma = window.deviation()
                if sigma >= 1e-10 and value > window.mean() + 6 * sigma:
                    found.append(self.NAMES[metric])
            window.values.append(value)
        return found


class KillLossSpike:
    """llm-foundry's callback: five losses in a row at twice the mean of the last 100, or half of those above 10."""

    def __init__(self) -> None:
        self.window, self.above, self.rows = Window(100), 0, 0

    def row(self, row: Row) -> list[str]:
        loss = row.get("loss")
        if loss is None:
            return []
        self.rows += 1
        found = []
        if self.window.full:
            self.above = self.above + 1 if loss >= 2 * self.mean() else 0
            if self.above >= 5:
                found = ["loss-spike"]
            elif self.rows >= 200 and sum(v > 10 for v in self.window.values) >= 50:
                found = ["high-loss"]
        self.window.values.append(loss)
        return found

    def mean(self) -> float:
        return self.window.mean() if all(map(math.isfinite, self.window.values)) else math.nan


class TenfoldMaximum:
    """Megatron-LM's rerun machine: loss not finite, or ten times the largest of the first 100."""

    def __init__(self) -> None:
        self.largest, self.samples = 0.0, 0

    def row(self, row: Row) -> list[str]:
        loss = row.get("loss")
        if loss is None:
            return []
        if not math.isfinite(loss):
            return ["not-finite"]
        if self.samples < 100:
            self.samples, self.largest = self.samples + 1, max(self.largest, abs(loss))
            return []
        return ["unexpectedly-large"] if abs(loss) >= 10 * self.largest else []


class Debugger:
    """SageMaker Debugger's LossNotDecreasing (0.1 % within 10 steps, asked every 10) and ExplodingTensor."""

    def __init__(self) -> None:
        self.before, self.rows = math.nan, 0

    def row(self, row: Row) -> list[str]:
        found = [] if all(math.isfinite(row.get(m, 0.0)) for m in ("loss", "grad_norm", "param_norm")) else ["exploding-tensor"]
        loss = row.get("loss")
        if loss is None:
            return found
        if self.rows % 10 == 0:
            if self.rows and loss > self.before * 0.999:
                found.append("loss-not-decreasing")
            self.before = loss
        self.rows += 1
        return found


class DeepChecker:
    """TheDeepChecker: loss, or size of the gradient, twice that of the step before, five times in a row."""

    NAMES: Final = {"loss": "loss-divergence", "grad_norm": "exploding-gradient"}

    def __init__(self) -> None:
        self.before = dict.fromkeys(self.NAMES, math.nan)
        self.doubled = dict.fromkeys(self.NAMES, 0)

    def row(self, row: Row) -> list[str]:
        found = []
        for metric, name in self.NAMES.items():
            value = row.get(metric)
            if value is None:
                continue
            self.doubled[metric] = self.doubled[metric] + 1 if value >= 2 * self.before[metric] > 0 else 0
            self.before[metric] = value
            if self.doubled[metric] >= 5:
                found.append(name)
        return found


class Baseline(NamedTuple):
    """A rule set, and what its rules amount to."""

    name: str
    watch: Callable[[], Watch]
    means: Mapping[str, Meaning]


BASELINES: Final = (
    Baseline("notebook", Notebook, {
        EMERGENCY.slug: Meaning("critical", None),
        **{v.slug: Meaning(v.severity or "info", Notebook.MEANS[v.slug]) for v in VERDICTS},
    }),
    Baseline("mean + 6 sigma", ZScore, {name: Meaning("warning", None) for name in ZScore.NAMES.values()}),
    Baseline("2x mean, patience 5", KillLossSpike, {
        "loss-spike": Meaning("critical", None), "high-loss": Meaning("critical", None),
    }),
    Baseline("10x first maximum", TenfoldMaximum, {
        "not-finite": Meaning("critical", "non-finite"), "unexpectedly-large": Meaning("warning", None),
    }),
    Baseline("SageMaker Debugger", Debugger, {
        "exploding-tensor": Meaning("warning", "non-finite"), "loss-not-decreasing": Meaning("warning", "no-learning"),
    }),
    Baseline("DeepChecker", DeepChecker, {
        "loss-divergence": Meaning("warning", "divergence"),
        "exploding-gradient": Meaning("warning", "exploding-gradients"),
    }),
)


def rows_of(recording: Recording) -> Iterator[tuple[int, Row]]:
    """Each row's step, and what was measured in it."""
    for chunk in recording.chunks:
        columns = [(name, values.tolist(), chunk.present[name].tolist()) for name, values in chunk.columns.items()]
        for i, step in enumerate(chunk.steps.tolist()):
            yield step, {name: values[i] for name, values, present in columns if present[i]}


def listen(baseline: Baseline, recording: Recording) -> Said:
    """What it says of a run."""
    standing: dict[str, tuple[Alarm, int]] = {}       # and the row of its last firing
    alarms: list[Alarm] = []
    tellings: list[Telling] = []
    alarmed: list[int] = []
    watch, step = baseline.watch(), 0
    for at, (step, row) in enumerate(rows_of(recording)):
        over = [name for name, (_, last) in standing.items() if at - last > TOGETHER]
        alarms += [standing.pop(name)[0] for name in over]
        fired = watch.row(row)
        if any(baseline.means[name].severity != "info" for name in fired):
            alarmed.append(step)
        for name in fired:
            alarm = standing[name][0] if name in standing else _opened(name, baseline.means[name], step)
            standing[name] = alarm, at
        told = _told(a for a, _ in standing.values())
        if not tellings or tellings[-1].told != told:
            tellings.append(Telling(step, told))
    alarms += [alarm for alarm, _ in standing.values()]
    return Said(tuple(sorted(alarms, key=lambda a: a.opened)), tuple(tellings), tuple(alarmed), step)


def _opened(name: str, means: Meaning, step: int) -> Alarm:
    alarm = Alarm(name, means.cause, means.severity, step, step, step)
    return replace(alarm, critical=step) if means.severity == "critical" else alarm


def _told(alarms: Iterator[Alarm]) -> tuple[Told, ...]:
    """Worst first, then the oldest; those that name no cause are left out."""
    ordered = sorted(alarms, key=lambda a: (-SEVERITIES.index(a.severity), a.opened))
    return tuple(Told(slug, None) for slug in dict.fromkeys(a.cause for a in ordered if a.cause))


def _judge(baseline: Baseline) -> Judge:
    names = any(meaning.cause for meaning in baseline.means.values())
    return Judge(baseline.name, names, lambda recording: listen(baseline, recording))


OTHERS: Final = tuple(map(_judge, BASELINES))
