"""A history as JSON and arrays, and back: what a cache holds of a long run. Pure.

Law: what cannot be understood raises ValueError, KeyError or TypeError, and whoever asked reads the log instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from numpy.typing import NDArray

from tuimon.record.chunk import Mark
from tuimon.record.columns import Column
from tuimon.record.history import Archived, History
from tuimon.record.places import Places
from tuimon.record.probes import ProbeEntry
from tuimon.record.reader import Place
from tuimon.record.tensors import TensorTable
from tuimon.record.track import FINEST, RADIX, Level, Track

VERSION: Final = 2
"""2: the weights' norms; what was stored before may lack those of a newer log."""
_LEVEL: Final = ("ends", "low", "high", "last", "bad")

Arrays = dict[str, NDArray[Any]]


def told(history: History, place: Place, places: Places) -> tuple[dict[str, Any], Arrays]:
    """What to store: of the history, how far its log was read, and where in the log rows lie."""
    arrays: Arrays = {"places": places.table}
    tracks = []
    for i, (name, track) in enumerate(history.tracks.items()):
        arrays[f"{i}.steps"], arrays[f"{i}.values"] = track.steps.view, track.values.view
        for depth, level in enumerate(track.levels):
            for part, column in zip(_LEVEL, level.columns, strict=True):
                arrays[f"{i}.{depth}.{part}"] = column.view
        tracks.append({"name": name, "base": track.base, "levels": [level.base for level in track.levels]})
    meta: dict[str, Any] = {
        "version": VERSION, "pyramid": [FINEST, RADIX], "place": asdict(place), "page_bytes": places.page_bytes,
        "tracks": tracks, "last_step": history.last_step, "last_time": history.last_time, "rows": history.rows,
        "marks": [[m.step, m.kind, m.fields] for m in history.marks], "bands": {},
    }
    for kind, bands in history.bands().items():
        state, parts = bands.state()
        meta["bands"][kind] = {**state, "parts": len(parts)}
        arrays |= {f"{kind}.{i}": part for i, part in enumerate(parts)}
    return meta, arrays


def places_of(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Places:
    """Where in the log rows lie."""
    return Places.of(arrays["places"], int(meta["page_bytes"]))


def recalled(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], table: TensorTable | None,
             probes: Sequence[ProbeEntry], archive: Archived) -> History:
    """The history that was stored."""
    if meta["version"] != VERSION or meta["pyramid"] != [FINEST, RADIX]:
        raise ValueError("a store of another version")
    history = History(table, probes, archive)
    history.last_step, history.last_time = int(meta["last_step"]), float(meta["last_time"])
    history.rows = int(meta["rows"])
    for i, body in enumerate(meta["tracks"]):
        track = Track()
        track.base = int(body["base"])
        track.steps, track.values = Column.of(arrays[f"{i}.steps"]), Column.of(arrays[f"{i}.values"])
        for depth, base in enumerate(body["levels"]):
            level = Level(FINEST * RADIX ** depth, int(base))
            columns = [Column.of(arrays[f"{i}.{depth}.{part}"]) for part in _LEVEL]
            level.ends, level.low, level.high, level.last, level.bad = columns
            track.levels.append(level)
        _check(track)
        history.tracks[str(body["name"])] = track
    history.mark([Mark(int(step), str(kind), dict(fields)) for step, kind, fields in meta["marks"]])
    for kind, body in meta["bands"].items():
        parts = [arrays[f"{kind}.{i}"] for i in range(int(body["parts"]))]
        history.recall(kind, body, parts)
    return history


def _check(track: Track) -> None:
    """ValueError where the parts do not fit each other: a store may be sound and yet not ours."""
    sizes = {len(track.steps.view), len(track.values.view)}
    whole = len(sizes) == 1
    for level in track.levels:
        whole &= len({column.size for column in level.columns}) == 1 and level.end == len(track) // level.points
    if not whole or (track.levels and track.base > track.levels[0].end * FINEST):
        raise ValueError("a store that does not fit itself")
