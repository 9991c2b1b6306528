"""TOML written, and edited without losing what a person wrote around it. Pure; reading is the standard library's."""

from __future__ import annotations

import datetime as dt
import math
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path = tuple[str, ...]
"""The tables that lead to a key, and the key."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
_KEY: Final = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_HEADER: Final = re.compile(rf"\s*\[\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]\s*(?:#.*)?$")
_ANY_HEADER: Final = re.compile(r"\s*\[")
_ENTRY: Final = re.compile(rf"(\s*({_KEY})\s*=\s*)(.*)$")
_VALUE: Final = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^#"'])*""")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def loads(text: str) -> dict[str, Any]:
    """What a document says; ValueError with the line where it is none."""
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found


def literal(value: object) -> str:
    """A value as TOML writes it: strings, numbers, booleans, dates, lists, and tables in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return '"' + "".join(_character(c) for c in value) + '"'
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_name(k)} = {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    raise TypeError(f"{value!r:.60} cannot be written as TOML")


def _number(value: float) -> str:
    if math.isfinite(value):
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e", 1)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _character(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    return f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7f else c


def _name(key: str) -> str:
    return key if _BARE.match(key) else literal(key)


def dumps(data: Mapping[str, Any]) -> str:
    """A whole document: the keys of each table, then the tables in it."""
    return "\n".join(_written(data, ())).lstrip("\n") + "\n" if data else ""


def _written(table: Mapping[str, Any], at: Path) -> list[str]:
    plain = [f"{_name(key)} = {literal(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    rows = ["", f"[{'.'.join(map(_name, at))}]", *plain] if at else plain
    for key, value in table.items():
        if isinstance(value, Mapping):
            rows += _written(value, (*at, key))
    return rows


def changed(data: Mapping[str, Any], changes: Mapping[Path, object]) -> dict[str, Any]:
    """`data` with each path set to its value, or without it where that is None."""
    found = dict(data)
    for path, value in changes.items():
        head, rest = path[0], path[1:]
        if rest:
            inner = found.get(head)
            inner = changed(inner if isinstance(inner, Mapping) else {}, {rest: value})
            if inner or head in found:
                found[head] = inner
        elif value is None:
            found.pop(head, None)
        else:
            found[head] = value
    return found


def edited(text: str, changes: Mapping[Path, object]) -> str:
    """`text` with those changes, its comments and the order of its lines kept.

    Where that cannot be done line by line (a value over several lines, a table written as `a.b = 1`), the document is
    written anew: it says the same then, without comments. ValueError where `text` is no TOML.
    """
    wanted = changed(loads(text), changes)
    lines = text.removesuffix("\n").split("\n") if text else []   # TOML knows no other ends of lines
    for path, value in changes.items():
        lines = _edited(lines, path, value)
    found = "\n".join(lines) + "\n" if lines else ""
    try:
        if loads(found) == wanted:
            return found
    except ValueError:
        pass
    return dumps(wanted)


def _edited(lines: list[str], path: Path, value: object) -> list[str]:
    """One key changed, added at the end of its table, or taken out."""
    table, here = path[:-1], Path()
    end = 0 if len(path) == 1 else None
    for i, line in enumerate(lines):
        if _ANY_HEADER.match(line) and not _ENTRY.match(line):
            header = _HEADER.match(line)
            here = tuple(_unquoted(key) for key in re.findall(_KEY, header[1])) if header else ("[[",)
            end = i + 1 if here == table else end
        elif here == table and (entry := _ENTRY.match(line)):
            end = i + 1
            if _unquoted(entry[2]) == path[-1]:
                if value is None:
                    return [*lines[:i], *lines[i + 1:]]
                old = _VALUE.match(entry[3])
                length = len(old[0].rstrip()) if old else len(entry[3])
                return [*lines[:i], f"{entry[1]}{literal(value)}{entry[3][length:]}", *lines[i + 1:]]
    if value is None:
        return lines
    new = f"{_name(path[-1])} = {literal(value)}"
    if end is None:
        return [*lines, *([""] if lines else []), f"[{'.'.join(map(_name, table))}]", new]
    if end == 0 and not table:   # no key yet that stands outside of tables: below the comment that opens the file
        while end < len(lines) and lines[end].lstrip().startswith("#"):
            end += 1
    return [*lines[:end], new, *lines[end:]]


def _unquoted(key: str) -> str:
    return str(next(iter(loads(f"{key} = 0")))) if key[:1] in "\"'" else key
