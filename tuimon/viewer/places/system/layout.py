"""How the place divides a terminal. By its size and by what is shown, not by numbers: nothing moves by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuimon.viewer.places.system.model import Choice, Panel, SystemView, hidden_of

COLUMNS: Final = ((160, 3), (100, 2))
"""From how many cells on there are so many panels beside each other."""
ROWS: Final = 26
"""Below: one row for each instead."""
LISTED: Final = 13
"""Rows of the processes at most, where they have a row to themselves."""
FRAMED: Final = 3
"""Rows of a table that are frame and heading."""
STEP: Final = 10
"""Rows of the step panel in one column."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a panel stands: cells."""

    panel: Panel
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The division of the body: one line, rows of single lines, then rows of panels."""

    strips: tuple[Panel, ...] = ()
    """Panels of which one line is shown."""
    rows: tuple[tuple[Slot, ...], ...] = ()


def shown(view: SystemView, choice: Choice) -> tuple[Panel, ...]:
    """The panels that have something to show and are not put away, in the order of their digits."""
    sample = view.sample
    found: list[Panel] = ["cpu", "memory", "flow"] if sample.host is not None or sample.where != "elsewhere" else []
    if sample.gpus.gpus:
        found.append("gpu")
    found += ["step", "growth"]
    if sample.tree is not None:
        found.append("processes")
    return tuple(panel for panel in found if panel not in choice.hidden)


def plan(view: SystemView, choice: Choice, width: int, height: int) -> Plan:
    """The division of a body of that size."""
    panels = shown(view, choice)
    room = height - 1
    beside = next((count for least, count in COLUMNS if width >= least), 1)
    return _one_column(panels, width, room) if beside == 1 or height < ROWS else _grid(panels, beside, width, room)


def listed(view: SystemView, choice: Choice, width: int, height: int) -> int:
    """How many processes are shown in a body of that size; 0 where the panel has no place."""
    slots = [slot for row in plan(view, choice, width, height).rows for slot in row if slot.panel == "processes"]
    return max(1, slots[0].height - FRAMED - len(hidden_of(view.sample.tree))) if slots else 0


def _grid(panels: tuple[Panel, ...], beside: int, width: int, room: int) -> Plan:
    groups = [panels[i:i + beside] for i in range(0, len(panels), beside)]
    heights = _shares(room, len(groups))
    if groups and groups[-1] == ("processes",) and heights[-1] > LISTED:
        heights = [*_shares(room - LISTED, len(groups) - 1), LISTED] if len(groups) > 1 else heights
    return Plan((), tuple(
        tuple(Slot(panel, cells, rows) for panel, cells in zip(group, _shares(width, len(group)), strict=True))
        for group, rows in zip(groups, heights, strict=True)))


def _one_column(panels: tuple[Panel, ...], width: int, room: int) -> Plan:
    strips = tuple(panel for panel in panels if panel not in ("step", "growth", "processes"))
    rest = [panel for panel in panels if panel in ("step", "growth", "processes")]
    left = room - len(strips)
    if "growth" in rest and len(rest) > 1 and left < STEP + (8 if len(rest) == 2 else 2 * STEP):
        rest.remove("growth")   # its words stand in the step panel
    if len(rest) > 1 and left < STEP + 4:
        rest = rest[:1]
    if not rest or left < 3:
        return Plan(strips[:room])
    first = left if len(rest) == 1 else min(STEP, left - 4)
    heights = [first, *_shares(left - first, len(rest) - 1)] if len(rest) > 1 else [left]
    return Plan(strips, tuple((Slot(panel, width, rows),) for panel, rows in zip(rest, heights, strict=True)))


def _shares(whole: int, parts: int) -> list[int]:
    """`whole` in almost equal parts, the first ones larger."""
    each, over = divmod(whole, parts) if parts else (0, 0)
    return [each + (i < over) for i in range(parts)]
