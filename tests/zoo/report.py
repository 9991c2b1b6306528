"""The scorecard as text that fits 120 columns, as Markdown, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.zoo.judges import Alarm
from tests.zoo.score import Outcome
from tests.zoo.summary import Rate, Share, Summary, by_kind, summary, summary_json

WIDTH: Final = 120
NONE: Final = "-"
LEGEND: Final = (
    "found: at least a warning after the onset that has to do with the fault; delay: median steps from onset to alarm",
    "first, in two: the right cause is told first, or among the first two, 64 steps later or at the end; at once: as found",
    "onset off: median steps between the onset said and the true one; in time: before a catastrophic run was lost",
    "strange: warnings that have nothing to do with the fault; in alarm: share of healthy steps with an open warning",
)


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are printed; the first column is a name, the others are numbers."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Aligned columns."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = [
            "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
            for row in (self.head, *self.rows)
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def markdown(self) -> str:
        """A table of pipes."""
        rule = ("---", *["---:"] * (len(self.head) - 1))
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(row)} |" for row in (self.head, rule, *self.rows))])


@dataclass(frozen=True, slots=True)
class Card:
    """Everything that the score of one set of runs says."""

    what: str
    outcomes: Mapping[str, Sequence[Outcome]]
    """By judge; the first is ours."""
    held_out: frozenset[str] = frozenset()
    """Kinds that nothing was tuned on; marked with a star."""

    @property
    def ours(self) -> Sequence[Outcome]:
        """What our rules came to."""
        return next(iter(self.outcomes.values()))

    def tables(self) -> tuple[Table, ...]:
        """Faults, healthy runs, all judges, how sure ours was, and each false alarm of it."""
        return _faults(self), _healthy(self), _judges(self), _tiers(self), *_false(self)

    def text(self) -> str:
        """As it is printed."""
        return "\n\n".join([self.what, *(table.text() for table in self.tables()), "\n".join(LEGEND)]) + "\n"

    def markdown(self) -> str:
        """As it stands in a document."""
        legend = "\n".join(f"- {line}" for line in LEGEND)
        return "\n\n".join([self.what, *(table.markdown() for table in self.tables()), legend]) + "\n"

    def json(self) -> dict[str, Any]:
        """For machines; the single runs of ours as well."""
        return {
            "what": self.what,
            "judges": {
                name: {
                    "all": summary_json(summary(outcomes)),
                    "kinds": {kind: summary_json(summary(some)) for kind, some in by_kind(outcomes).items()},
                }
                for name, outcomes in self.outcomes.items()
            },
            "runs": [_outcome_json(one) for one in self.ours],
        }

    def named(self, kind: str) -> str:
        """The kind, with its star."""
        return f"{kind} *" if kind in self.held_out else kind


# ---------------------------------------------------------------------- tables


def _faults(card: Card) -> Table:
    kinds = by_kind(o for o in card.ours if not o.healthy)
    rows = [_fault_row(card.named(kind), summary(some)) for kind, some in kinds.items()]
    rows.append(_fault_row("all", summary([o for some in kinds.values() for o in some])))
    return Table(
        "Planted faults, by tuimon's rules",
        ("fault", "runs", "found", "delay", "first", "in two", "at once", "layer", "onset off", "in time", "strange"),
        tuple(rows),
    )


def _fault_row(name: str, of: Summary) -> tuple[str, ...]:
    return (
        name, str(of.runs), _share(of.found), _number(of.delay), _share(of.first), _share(of.among_two),
        _share(of.at_once), _share(of.layer), _number(of.onset_error), _share(of.in_time), str(of.strange),
    )


def _healthy(card: Card) -> Table:
    kinds = by_kind(o for o in card.ours if o.healthy)
    rows = [_healthy_row(card.named(kind), summary(some)) for kind, some in kinds.items()]
    before = [o for o in card.ours if not o.healthy]
    if any(o.healthy_steps for o in before):
        rows.append(_healthy_row("(sick runs, before the onset)", summary(before)))
    rows.append(_healthy_row("all", summary(card.ours)))
    return Table(
        "Healthy steps, by tuimon's rules: false alarms per 10,000 steps [95 % interval]",
        ("healthy kind", "runs", "steps", "warnings", "per 10,000", "criticals", "per 10,000"), tuple(rows),
    )


def _healthy_row(name: str, of: Summary) -> tuple[str, ...]:
    return (
        name, str(of.runs), f"{of.warnings.steps:,}", str(of.warnings.count), _rate(of.warnings),
        str(of.criticals.count), _rate(of.criticals),
    )


def _judges(card: Card) -> Table:
    return Table(
        "Everybody: faults, and false alarms per 10,000 healthy steps [95 % interval]",
        ("judge", "found", "delay", "first", "in two", "in time", "warnings", "criticals", "in alarm"),
        tuple(_judge_row(name, summary(outcomes)) for name, outcomes in card.outcomes.items()),
    )


def _judge_row(name: str, of: Summary) -> tuple[str, ...]:
    return (
        name, _percent(of.found), _number(of.delay), _percent(of.first), _percent(of.among_two), _percent(of.in_time),
        _rate(of.warnings), _rate(of.criticals), _percent(of.alarmed),
    )


def _tiers(card: Card) -> Table:
    """What a confidence is worth: how often it was said of nothing, and how often rightly."""
    steps = sum(one.healthy_steps for one in card.ours)
    rows = []
    for tier in ("high", "medium", "low"):
        false = sum(alarm.confidence == tier for one in card.ours for alarm in one.false_warnings)
        found = [one for one in card.ours if one.found is not None and one.found.confidence == tier]
        right = sum(one.right_first is True for one in found)
        rows.append((tier, _rate(Rate(false, steps)), _share(Share(right, len(found)))))
    head = ("confidence", "false warnings per 10,000 healthy steps", "faults found with it, right cause first")
    return Table("How sure tuimon's rules were", head, tuple(rows))


def _false(card: Card) -> tuple[Table, ...]:
    rows = [
        (f"{o.kind}-{o.seed}", alarm.name, alarm.severity, str(alarm.warned), str(alarm.onset), alarm.confidence or NONE)
        for o in card.ours for alarm in o.false_warnings
    ]
    head = ("run", "rule", "severity", "warned at", "onset said", "confidence")
    return (Table("False alarms of tuimon's rules, one by one", head, tuple(rows)),) if rows else ()


# ---------------------------------------------------------------------- cells


def _share(share: Share) -> str:
    return f"{share.count}/{share.of}" if share.of else NONE


def _percent(share: Share) -> str:
    return NONE if share.part is None else f"{100 * share.part:.1f} %" if 0 < share.part < 1 else f"{share.part:.0%}".replace("%", " %")


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:g}"


def _rate(rate: Rate) -> str:
    if rate.per is None or rate.interval is None:
        return NONE
    low, high = rate.interval
    return f"{_short(rate.per)} [{_short(low)} {_short(high)}]"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


# ---------------------------------------------------------------------- JSON


def _outcome_json(one: Outcome) -> dict[str, Any]:
    return {
        "kind": one.kind, "seed": one.seed, "healthy": one.healthy, "healthy_steps": one.healthy_steps,
        "false_warnings": [_alarm_json(a) for a in one.false_warnings],
        "found": _alarm_json(one.found) if one.found else None, "found_at": one.found_at, "delay": one.delay,
        "right_at_once": one.right_at_once, "right_first": one.right_first, "right_among_two": one.right_among_two,
        "right_layer": one.right_layer, "onset_error": one.onset_error, "in_time": one.in_time,
        "strange": [_alarm_json(a) for a in one.strange],
    }


def _alarm_json(alarm: Alarm) -> dict[str, Any]:
    return {
        "name": alarm.name, "severity": alarm.severity, "onset": alarm.onset, "opened": alarm.opened,
        "warned": alarm.warned, "critical": alarm.critical, "layer": alarm.layer,
    }
