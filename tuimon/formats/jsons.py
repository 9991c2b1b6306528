"""Records as JSON: one object a line, an array of them, or the Hugging Face Trainer's state. Touches the disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tuimon.errors import LogError
from tuimon.formats import stored
from tuimon.formats.progress import Watch, unwatched
from tuimon.formats.table import Table, TableBuilder

ROWS: Final = 1 << 14
"""Records that are taken in at once."""


def read_json_lines(path: str, watch: Watch = unwatched) -> Table:
    """A table out of a file of one object a line. LogError with the line for what is none."""
    builder = TableBuilder()
    for block in stored.lines(path, watch):
        if block.torn and block.lines[0] and (block.cut or not _is_json(block.lines[0])):
            builder.notes.append(stored.torn(f"line {block.first}"))
            continue
        records = _together(block.lines)
        at: Sequence[int] = range(block.first, block.first + len(block.lines))
        if records is None:
            at = [block.first + i for i, line in enumerate(block.lines) if line and not line.isspace()]
            records = [_object(number, block.lines[number - block.first]) for number in at]
        builder.add_records(records, lambda row, name, at=at: f"line {at[row]}, key {name[:40]!r}")  # type: ignore[misc]
    if not builder.rows and not builder.notes:
        raise LogError("is empty")
    return builder.table()


def _together(lines: Sequence[str]) -> list[dict[str, Any]] | None:
    """All lines parsed at once, three times as fast as one by one; None where one of them is no object."""
    try:
        found = json.loads("[" + ",".join(lines) + "]")
    except (ValueError, RecursionError):
        return None
    return found if len(found) == len(lines) and set(map(type, found)) <= {dict} else None


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        one = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LogError(f"line {number}: not JSON ({why(error)})") from None
    if not isinstance(one, dict):
        raise LogError(f"line {number}: wanted an object, found {type(one).__name__}")
    return one


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def why(error: Exception) -> str:
    """What the JSON parser said, on one short line."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0][:80]


def read_json(path: str) -> tuple[Table, int | None, str]:
    """A table out of one JSON value: an array of objects, or an object with a `log_history`.

    Also the planned steps and the state, where a Trainer's state tells them. LogError with the key for what is wrong.
    """
    try:
        body = json.loads(stored.whole_text(path))
    except json.JSONDecodeError as error:
        raise LogError(f"line {error.lineno}: not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise LogError(f"not JSON ({why(error)})") from None
    if isinstance(body, dict) and isinstance(body.get("log_history"), list):
        builder = TableBuilder()
        _add(unmasked(_checked(body["log_history"], "log_history"), builder), "log_history", builder)
        total, at = body.get("max_steps"), body.get("global_step")
        planned = total if type(total) is int and 0 < total < 1 << 53 else None
        return builder.table(), planned, "finished" if planned is not None and at == planned else "unknown"
    if isinstance(body, list):
        builder = TableBuilder()
        _add(_checked(body, ""), "", builder)
        return builder.table(), None, "unknown"
    raise LogError("wanted an array of objects or an object with log_history, as in trainer_state.json")


def _add(records: Sequence[dict[str, Any]], key: str, builder: TableBuilder) -> None:
    for at in range(0, len(records), ROWS):
        builder.add_records(
            records[at:at + ROWS], lambda row, name, at=at: f"{key}[{at + row}], key {name[:40]!r}",  # type: ignore[misc]
        )


def _checked(items: list[Any], key: str) -> list[dict[str, Any]]:
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            raise LogError(f"{key}[{i}]: wanted an object, found {type(item).__name__}")
    return items


def unmasked(records: Sequence[Mapping[str, Any]], builder: TableBuilder) -> list[dict[str, Any]]:
    """The Trainer's records with the losses that its filter hid.

    `logging_nan_inf_filter` takes non-finite losses out of the mean that is logged; where all of them were, it logs 0.0
    beside a gradient norm that is not finite.
    """
    found, hidden = [], 0
    for record in records:
        norm = record.get("grad_norm")
        bad = (isinstance(norm, float) and not math.isfinite(norm)) or (
            isinstance(norm, str) and norm.strip().lower().lstrip("+-") in {"nan", "inf", "infinity"})
        if bad and record.get("loss") == 0.0 and not isinstance(record.get("loss"), bool):
            hidden += 1
            found.append({**record, "loss": math.nan})
        else:
            found.append(dict(record))
    if hidden:
        builder.notes.append(
            f"{hidden:,} losses of 0.0 beside a non-finite grad_norm are read as NaN: its nan filter hid them")
    return found
