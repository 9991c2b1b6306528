"""Where a reader of all ranks of a run stood, as JSON and arrays and back, for another one to go on from. Pure.

Law: what cannot be understood raises ValueError, KeyError or TypeError, and whoever asked reads the logs instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from tuimon.record.joined import Joiner
from tuimon.record.paces import Paces
from tuimon.record.places import Places
from tuimon.record.reader import Beat, Place
from tuimon.record.worlds import MOST_RANKS

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """One rank."""

    place: Place
    """From where on its log is to be read: before the oldest of what waited for other ranks."""
    is_again: bool
    """Whether some of what follows was told already."""
    attempt: int
    seen: int
    time: float
    last: Mapping[str, float]
    recent: Mapping[str, list[float]]


@dataclass(frozen=True, slots=True)
class Halt:
    """All of them."""

    attempt: int
    told: int
    """Last step."""
    began: float
    late: int
    worlds: Sequence[tuple[int, Joiner]]
    """After which step which attempt's joiner tells; the last one goes on."""
    lines: Sequence[Line]
    places: Sequence[Places]


def place_of(told: Mapping[str, Any]) -> Place:
    """How far a log was read."""
    body = dict(told)
    beat = body.pop("beat")
    found = Place(**body, beat=None if beat is None else Beat(**beat))
    numbers = (found.offset, found.attempt, found.last_step, found.tensors, found.probes, found.damaged)
    if not isinstance(found.segment, str) or not all(isinstance(n, int) for n in numbers):
        raise ValueError("not a place in a log")
    return found


def told(halt: Halt) -> tuple[dict[str, Any], Arrays]:
    """What to store."""
    arrays: Arrays = {f"places.{rank}": one.table for rank, one in enumerate(halt.places)}
    numbers, paces = halt.worlds[-1][1].paces.state()
    arrays |= {f"paces.{name}": array for name, array in paces.items()}
    return {
        "attempt": halt.attempt, "told": halt.told, "began": halt.began, "late": halt.late, "paces": numbers,
        "worlds": [[after, joiner.world, joiner.had] for after, joiner in halt.worlds],
        "lines": [asdict(line) for line in halt.lines], "page_bytes": [one.page_bytes for one in halt.places],
    }, arrays


def halt_of(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Halt:
    """What was stored."""
    worlds = []
    for after, world, had in meta["worlds"]:
        if not 1 < int(world) <= MOST_RANKS:
            raise ValueError("no world of several ranks")
        worlds.append((int(after), Joiner.of(int(world), had)))
    worlds[-1][1].paces = Paces.of(worlds[-1][1].world, meta["paces"], {
        name.removeprefix("paces."): array for name, array in arrays.items() if name.startswith("paces.")})
    lines = [Line(
        place_of(body["place"]), bool(body["is_again"]), int(body["attempt"]), int(body["seen"]), float(body["time"]),
        {str(name): float(value) for name, value in body["last"].items()},
        {str(name): [float(value) for value in values] for name, values in body["recent"].items()},
    ) for body in meta["lines"]]
    if len(lines) < max(joiner.world for _, joiner in worlds):
        raise ValueError("fewer logs than ranks")
    return Halt(int(meta["attempt"]), int(meta["told"]), float(meta["began"]), int(meta["late"]), worlds, lines, [
        Places.of(arrays[f"places.{rank}"], int(size)) for rank, size in enumerate(meta["page_bytes"])])
