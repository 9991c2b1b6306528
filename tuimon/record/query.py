"""What a person looks for among runs, in one line: `lr>1e-3 state:died gpt -seed age<2d "two words"`. Pure.

    lr>1e-3 steps>=10k age<2d     a number compared: > >= < <= = !=, with k, M, G, for times s, min, h, d, w
    state:died note:warm          a text that contains these words, in any case
    gpt "two words"               name, model or note contain it
    -seed -state:finished         not that

All of it must hold. What a run does not have is neither more nor less than anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from tuimon.errors import UsageError
from tuimon.record.catalogue import Entry

Kind = Literal["number", "time", "size"]
_CLOSE: Final = 1.5e-7
"""Relative difference of numbers that count as equal: learning rates are kept in single precision."""
_MULTIPLES: Final[Mapping[Kind, Mapping[str, float]]] = {
    "number": {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12},
    "size": {"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12},
    "time": {"": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800},
}
_UNITS: Final[Mapping[Kind, str]] = {"number": "k, M, G", "size": "k, M, G", "time": "s, min, h, d, w"}


class Number(NamedTuple):
    """A field that is compared."""

    kind: Kind
    value: Callable[[Entry, float], float | None]
    """Of a run, at that wall clock; None: it has none."""


NUMBERS: Final[Mapping[str, Number]] = {
    "lr": Number("number", lambda e, _: e.status.lr),
    "loss": Number("number", lambda e, _: e.status.loss),
    "val": Number("number", lambda e, _: e.best_val),
    "steps": Number("number", lambda e, _: float(e.status.step)),
    "total": Number("number", lambda e, _: _some(e.status.total_steps)),
    "params": Number("number", lambda e, _: float(e.parameters) or None),
    "age": Number("time", lambda e, now: max(0.0, now - e.started) if e.started else None),
    "size": Number("size", lambda e, _: float(e.size)),
    "since": Number("number", lambda e, _: _some(e.status.since)),
    "attempt": Number("number", lambda e, _: float(e.status.attempt)),
}
TEXTS: Final[Mapping[str, Callable[[Entry], str]]] = {
    "state": lambda e: f"{e.status.state} live" if e.is_read and e.status.is_live else e.status.state,
    "verdict": lambda e: f"{e.status.verdict} {e.status.headline}",
    "name": lambda e: f"{e.name} {e.run_name} {e.key}",
    "model": lambda e: e.model,
    "optimizer": lambda e: e.optimizer,
    "device": lambda e: e.device,
    "host": lambda e: f"{e.machine} {e.host}",
    "note": lambda e: e.label.note,
    "argv": lambda e: " ".join(e.argv),
}
_ALSO: Final[Mapping[str, str]] = {
    "step": "steps", "val_loss": "val", "best": "val", "opt": "optimizer", "disk": "size", "cmd": "argv",
    "parameters": "params",
}
FIELDS: Final = (*NUMBERS, *TEXTS)

_WORD: Final = re.compile(r'((?:[^\s"]|"[^"]*(?:"|$))+)')
_TERM: Final = re.compile(r"^([A-Za-z_]+)(>=|<=|!=|>|<|=|:)(.*)$", re.DOTALL)
_AMOUNT: Final = re.compile(r"^([+-]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf|nan)([a-z]*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that must hold, or with `negated` must not."""

    field: str
    """Of FIELDS; "" is name, model or note."""
    operator: str
    """> >= < <= = !=, or ":" for a text that is contained."""
    text: str = ""
    """In lower case."""
    number: float = math.nan
    negated: bool = False

    def holds(self, entry: Entry, now: float) -> bool:
        """Whether it is true of that run."""
        return self._is_true(entry, now) != self.negated

    def _is_true(self, entry: Entry, now: float) -> bool:
        if self.operator == ":":
            texts = (TEXTS[self.field],) if self.field else (TEXTS["name"], TEXTS["model"], TEXTS["note"])
            return any(self.text in read(entry).lower() for read in texts)
        value = NUMBERS[self.field].value(entry, now)
        return value is not None and _compares(value, self.operator, self.number)


@dataclass(frozen=True, slots=True)
class Query:
    """All terms must hold; none: every run."""

    terms: tuple[Term, ...] = ()

    def matches(self, entry: Entry, now: float) -> bool:
        """Whether that run is meant; `now` is the wall clock, for ages."""
        return all(term.holds(entry, now) for term in self.terms)


def parse(text: str) -> Query:
    """What is asked for. UsageError says in one line what cannot be understood."""
    return Query(tuple(_term(word) for word in _WORD.findall(text)))


def _term(word: str) -> Term:
    negated = word.startswith("-") and len(word) > 1
    body = word[1:] if negated else word
    found = None if body.startswith('"') else _TERM.match(body)
    if found is None:
        return Term("", ":", _unquoted(body), negated=negated)
    name, operator, rest = found.group(1).lower(), found.group(2), _unquoted(found.group(3))
    field = _ALSO.get(name, name)
    if field not in FIELDS:
        raise UsageError(f"there is no {name}; there are {', '.join(FIELDS)}")
    if not rest:
        raise UsageError(f"{name}{operator} wants {'a number' if field in NUMBERS else 'a text'} behind it")
    if field in TEXTS:
        if operator in (">", "<", ">=", "<="):
            raise UsageError(f"{name} is a text: {name}:{_shown(rest)} looks for it")
        return Term(field, ":", rest, negated=negated != (operator == "!="))
    return Term(field, "=" if operator == ":" else operator, "", _amount(name, rest, NUMBERS[field].kind), negated)


def _unquoted(text: str) -> str:
    return text.replace('"', "").lower()


def _shown(text: str) -> str:
    return text if text.isprintable() and len(text) <= 40 and " " not in text else '"…"'


def _amount(name: str, text: str, kind: Kind) -> float:
    found = _AMOUNT.match(text)
    if found is None:
        raise UsageError(f"{name} wants a number, not {text!r:.40}")
    multiple = _MULTIPLES[kind].get(found.group(2).lower())
    if multiple is None:
        raise UsageError(f"{name} knows {_UNITS[kind]}, not {found.group(2)!r:.20}")
    return float(found.group(1).replace(",", "").replace("_", "")) * multiple


def _compares(value: float, operator: str, wanted: float) -> bool:
    if operator in ("=", "!="):
        same = math.isclose(value, wanted, rel_tol=_CLOSE) or (math.isnan(value) and math.isnan(wanted))
        return same == (operator == "=")
    return {">": value > wanted, ">=": value >= wanted, "<": value < wanted, "<=": value <= wanted}[operator]


def _some(value: int | None) -> float | None:
    return None if value is None else float(value)
