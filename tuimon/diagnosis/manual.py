"""The manual: the docstrings of the rules, as pages. Pure; the one place that knows how they are laid out."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from tuimon.diagnosis.model import Category
from tuimon.diagnosis.rule import Rule
from tuimon.diagnosis.rules import RULES
from tuimon.errors import UsageError

PARTS = ("Symptom", "Why it happens", "What to try", "Confused with", "Rule", "Source")
"""What every page has, in this order."""


@dataclass(frozen=True, slots=True)
class Page:
    """The manual page of one rule."""

    slug: str
    code: str
    category: Category
    needs: tuple[str, ...]
    summary: str
    """One line, without the slug."""
    parts: Mapping[str, str]
    """Part -> its text, as one line."""


def pages() -> tuple[Page, ...]:
    """All pages, by code."""
    return tuple(sorted((_page(rule) for rule in RULES), key=lambda page: page.code))


def page(name: str) -> Page:
    """The page of a slug or code, in any case. UsageError names what is near."""
    known = pages()
    wanted = name.strip().lower()
    found = next((p for p in known if wanted in (p.slug, p.code.lower())), None)
    if found is None:
        near = difflib.get_close_matches(wanted, [p.slug for p in known], n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; tuimon explain lists them"
        raise UsageError(f"no rule is called {name!r:.60}{hint}")
    return found


def _page(rule: type[Rule]) -> Page:
    first, *rest = inspect.cleandoc(sys.modules[rule.__module__].__doc__ or "").split("\n\n")
    summary = " ".join(first.split()).split(": ", 1)[1]
    parts: dict[str, str] = {}
    for paragraph in rest:
        title, _, text = " ".join(paragraph.split()).partition(": ")
        if title in PARTS:
            parts[title] = text
        else:
            last = next(reversed(parts))
            parts[last] = f"{parts[last]} {' '.join(paragraph.split())}"
    return Page(rule.slug, rule.code, rule.category, rule.needs, summary, parts)
