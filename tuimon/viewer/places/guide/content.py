"""The guide's chapters: Markdown files of a small subset, read into blocks. Reads files of this package only.

A chapter begins with `# Title` and lines of `key: value`: `in short` (its summary), `listed` (its name in the list),
`shows` (a miniature), `try` (commands, separated by commas), `explain` (rules with a manual page), `within` (the
chapter it belongs to). Its body has paragraphs, `## headings`, `- ` and `1. ` lists, formulas (four spaces: never
wrapped), **strong** and `typed` words.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from tuimon.errors import UsageError
from tuimon.viewer.lines import Line, Span

HERE: Final = Path(__file__).parent / "chapters"
KEYS: Final = ("in short", "listed", "shows", "try", "explain", "within")
TIED: Final = "\u00a0"
"""A space at which no line is broken."""
_KEY: Final = re.compile(rf"^({'|'.join(KEYS)}): (.+)$")
_ITEM: Final = re.compile(r"(- |\d\. )(.*)")
_INLINE: Final = re.compile(r"\*\*(?P<strong>.+?)\*\*|`(?P<typed>.+?)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, heading, item of a list, or line of a formula."""

    kind: Literal["text", "heading", "item", "formula"]
    line: Line
    mark: str = ""
    """What stands before an item."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One chapter."""

    slug: str
    title: str
    summary: str
    blocks: tuple[Block, ...]
    shows: str = ""
    """Name of its miniature; "" for none."""
    tries: tuple[str, ...] = ()
    """What to try, as it is typed."""
    rules: tuple[str, ...] = ()
    """Rules whose manual pages go on from here."""
    listed: str = ""
    """What it is called in the list."""
    within: str = ""
    """Slug of the chapter that it belongs to; "" for none."""


@cache
def chapters() -> tuple[Chapter, ...]:
    """All chapters, in order."""
    return tuple(_chapter(path) for path in sorted(HERE.glob("*.md")))


def chapter(name: str) -> Chapter:
    """The chapter of a slug, or the beginning of one. UsageError lists what is near."""
    known = [one.slug for one in chapters()]
    wanted = name.strip().lower().replace(" ", "-")
    exact = [slug for slug in known if slug == wanted] or [slug for slug in known if wanted and slug.startswith(wanted)]
    if len(exact) == 1:
        return next(one for one in chapters() if one.slug == exact[0])
    near = exact or difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; tuimon guide lists them"
    raise UsageError(f"the guide has no chapter {name!r:.60}{hint}")


def _chapter(path: Path) -> Chapter:
    head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    title, *rest = head.split("\n")
    said: dict[str, str] = {}
    for row in rest:
        found = _KEY.match(row)
        if found is None:
            raise ValueError(f"{path.name}: {row!r} is no line of a chapter's head")
        said[found[1]] = found[2]
    return Chapter(
        path.stem.split("-", 1)[1], title.removeprefix("# "), said["in short"], tuple(_blocks(body)),
        said.get("shows", ""), tuple(said["try"].split(", ")) if "try" in said else (),
        tuple(said.get("explain", "").split()), said.get("listed", title.removeprefix("# ")), said.get("within", ""))


def _blocks(body: str) -> list[Block]:
    found: list[Block] = []
    for part in re.split(r"\n{2,}", body.strip("\n")):
        if part.startswith("    "):
            found += [Block("formula", (Span(row[4:]),)) for row in part.split("\n")]
        elif part.startswith("## "):
            found.append(Block("heading", (Span(part.removeprefix("## "), "strong"),)))
        elif _ITEM.match(part):
            items: list[tuple[str, list[str]]] = []
            for row in part.split("\n"):
                begins = _ITEM.match(row)
                if begins:
                    items.append((begins[1].replace("- ", "· "), [begins[2]]))
                else:
                    items[-1][1].append(row.strip())
            found += [Block("item", _inline(" ".join(rows)), mark) for mark, rows in items]
        else:
            found.append(Block("text", _inline(" ".join(part.split("\n")))))
    return found


def _inline(text: str) -> Line:
    spans: list[Span] = []
    text, at = text.replace(" %", f"{TIED}%"), 0
    for found in _INLINE.finditer(text):
        spans.append(Span(text[at:found.start()]))
        spans.append(Span(found["strong"], "strong") if found["strong"] else Span(found["typed"], "key"))
        at = found.end()
    spans.append(Span(text[at:]))
    return tuple(span for span in spans if span.text)
