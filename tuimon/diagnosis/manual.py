"""The manual: the docstrings of the rules, as pages. Pure; the one place that knows how they are laid out."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.model import Category
from tuimon.diagnosis.rule import Rule
from tuimon.diagnosis.rules import RULES
from tuimon.errors import UsageError

MEASURED: Final = "False alarms"
"""The part that a page has only where it was measured: sentences of its Rule that speak of false alarms."""
PARTS: Final = ("Symptom", "Why it happens", "What to try", "Confused with", "Rule", MEASURED, "Source")
"""What every page has but for MEASURED, in this order."""


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
    parts["Rule"], parts[MEASURED] = _measured(parts.get("Rule", ""))
    ordered = {title: parts[title] for title in PARTS if parts.get(title)}
    return Page(rule.slug, rule.code, rule.category, rule.needs, summary, ordered)


def _measured(rule: str) -> tuple[str, str]:
    """A rule's text without, and with only, its sentences on false alarms."""
    sentences = re.split(r"(?<=\.)\s+(?=[A-Z])", rule)
    told = [s for s in sentences if "false alarm" in s.lower()]
    said = " ".join(s.removeprefix(MEASURED).removeprefix(":").strip() for s in told)
    return " ".join(s for s in sentences if s not in told), said


def markdown() -> str:
    """All pages as one Markdown document, one paragraph a line: docs/rules.md."""
    known = pages()
    rows = [f"| [{p.code}](#{p.slug}-{p.code.lower()}) | {p.slug} | {p.category} | {', '.join(p.needs)} | "
            f"{_escaped(p.summary)} |" for p in known]
    about = ("Printed by `tuimon explain --markdown` from the rules' own docstrings; `tuimon explain RULE` shows one "
             "page. A rule that lacks what it needs says so and stays silent.")
    found = [
        "# What tuimon can find", about,
        "\n".join(("| code | rule | category | needs | what |", "|---|---|---|---|---|", *rows)),
    ]
    for p in known:
        found += [f"## {p.slug} ({p.code})", f"{_escaped(p.summary[:1].upper() + p.summary[1:])}",
                  *(f"**{title}.** {_escaped(text[:1].upper() + text[1:])}" for title, text in p.parts.items())]
    return "\n\n".join(found) + "\n"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<>|\[\]~])", r"\\\1", text)
