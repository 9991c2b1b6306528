"""Elements of HTML and SVG. What is no element is text, made safe here: nothing from outside becomes one. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

from tuimon.record.text import clean

LONGEST: Final = 2_000
"""Characters kept of one text."""
_VOID: Final = frozenset({"meta", "br"})
_EMPTY: Final = frozenset({"path", "rect", "line", "circle"})
"""Elements of SVG that hold nothing."""


class Html(str):
    """What has been made of elements already."""

    __slots__ = ()


Child = str | Html | None
"""A text, an element, or nothing."""


def text(words: str) -> Html:
    """Safe to stand between tags, and between double quotes."""
    return Html(html.escape(clean(words, LONGEST), quote=True))


def el(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element. `class_` is class, `stroke_width` stroke-width; None and False leave an attribute out."""
    words = "".join(_attribute(name, value) for name, value in attributes.items() if value is not None)
    if tag in _VOID:
        return Html(f"<{tag}{words}>")
    if tag in _EMPTY:
        return Html(f"<{tag}{words}/>")
    return Html(f"<{tag}{words}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Html:
    """Elements and texts behind each other."""
    return Html("".join(c if isinstance(c, Html) else text(c) for c in children if c is not None))


def _attribute(name: str, value: str | float | bool) -> str:
    if value is False:
        return ""
    name = name.rstrip("_")
    name = name if name in ("viewBox", "preserveAspectRatio") else name.replace("_", "-")
    if value is True:
        return f" {name}"
    words = value if isinstance(value, str) else f"{round(value, 2):g}"
    words = words if name == "d" else clean(words, LONGEST)
    return f' {name}="{html.escape(words, quote=True)}"'


def share(fraction: float) -> str:
    """A place on a picture: "37.52%"."""
    return f"{100 * fraction:.2f}%"
