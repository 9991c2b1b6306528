"""What one run of the zoo is: its label and its log, kept in one small file. Touches the disk; knows neither torch nor rules.

What is loaded is what was saved, bit for bit, so that it is judged the same: a float64 is kept as a float32 only where
that loses nothing. The file is an .npz of two arrays: `about`, JSON in which an array is a reference, and `cells`, the
bytes of all arrays, those of equal weight side by side (which is what makes measured numbers compress at all).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

import tuimon.diagnosis.model
import tuimon.record.chunk
import tuimon.record.probes
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Label:
    """What is true of a run, whatever anybody says of it."""

    kind: str
    """Name of the kind, e.g. "exploding-lr-jump"."""
    healthy: bool
    causes: tuple[str, ...]
    """Slugs of rules that count as the right first cause, the best first; () for a healthy run."""
    also: tuple[str, ...]
    """Slugs that may be reported as well without being wrong."""
    onset: int | None
    """First faulty step, counted from 1; None for a healthy run."""
    layer: str | None
    """The right layer, as `layer_of` names it; None where it does not matter."""
    catastrophic: bool
    lost: int | None
    """First step at which the run is lost; None where it never is."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One run: what it was, and what was logged of it."""

    label: Label
    seed: int
    model: str
    """"gpt", "gpt-wide", "gpt-deep", "encoder", "vit", "lstm"."""
    optimizer: str
    context: RunContext
    chunks: tuple[Chunk, ...]

    @property
    def name(self) -> str:
        """Kind and seed, as files and tables name it."""
        return f"{self.label.kind}-{self.seed}"

    @property
    def steps(self) -> int:
        """The number of rows."""
        return sum(len(chunk) for chunk in self.chunks)


def save(path: Path, recording: Recording) -> None:
    """Write it, whole or not at all."""
    cells: list[bytes] = []
    about = json.dumps(_pack(recording, cells), separators=(",", ":")).encode()
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        np.savez_compressed(
            file, about=np.frombuffer(about, np.uint8), cells=np.frombuffer(b"".join(cells), np.uint8)
        )
    beside.replace(path)


def load(path: Path) -> Recording:
    """Read it. ValueError where the file is no recording, or one of another age of the log."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about, cells = json.loads(file["about"].tobytes()), file["cells"].tobytes()
        found = _unpack(about, cells)
        if not isinstance(found, Recording):
            raise TypeError(f"it holds a {type(found).__name__}")
    except (KeyError, TypeError, StopIteration, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no recording of this zoo: {error!r}") from error
    return found


# ---------------------------------------------------------------------- values to JSON and back

_MODULES = (tuimon.record.chunk, tuimon.record.probes, tuimon.diagnosis.model)


def _pack(value: Any, cells: list[bytes]) -> Any:
    """The value as JSON; arrays go into `cells`."""
    if isinstance(value, np.ndarray):
        return _pack_array(value, cells)
    if is_dataclass(value):
        return {"$is": type(value).__name__, **{f.name: _pack(getattr(value, f.name), cells) for f in fields(value)}}
    if isinstance(value, Mapping):
        return {str(key): _pack(item, cells) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_pack(item, cells) for item in value]
    if isinstance(value, list):
        return {"$list": [_pack(item, cells) for item in value]}
    return value.item() if isinstance(value, np.generic) else value


def _unpack(value: Any, cells: bytes) -> Any:
    if isinstance(value, list):
        return tuple(_unpack(item, cells) for item in value)
    if not isinstance(value, dict):
        return value
    if "$list" in value:
        return [_unpack(item, cells) for item in value["$list"]]
    if "$at" in value:
        return _unpack_array(value, cells)
    items = {key: _unpack(item, cells) for key, item in value.items() if key != "$is"}
    return _type(value["$is"])(**items) if "$is" in value else items


def _type(name: str) -> type:
    if name in ("Label", "Recording"):
        return {"Label": Label, "Recording": Recording}[name]
    return next(getattr(module, name) for module in _MODULES if hasattr(module, name))


# ---------------------------------------------------------------------- arrays to bytes and back


def _pack_array(array: NDArray[Any], cells: list[bytes]) -> dict[str, Any]:
    kept = array
    if array.dtype == np.bool_:
        kept = np.packbits(array.ravel())
    elif array.dtype.kind == "i":
        kept = np.diff(array.ravel(), prepend=array.dtype.type(0))      # steps: nearly all differences are equal
    elif array.dtype == np.float64:
        with np.errstate(over="ignore", invalid="ignore"):
            short = array.astype(np.float32)
        if np.array_equal(short.astype(np.float64), array, equal_nan=True):
            kept = short
    planes = np.ascontiguousarray(kept).reshape(-1).view(np.uint8).reshape(-1, kept.itemsize).T.tobytes()
    cells.append(planes)
    at = sum(map(len, cells)) - len(planes)
    return {"$at": at, "of": array.dtype.str, "as": kept.dtype.str, "shape": list(array.shape)}


def _unpack_array(about: Mapping[str, Any], cells: bytes) -> NDArray[Any]:
    dtype, kept, shape = np.dtype(about["of"]), np.dtype(about["as"]), tuple(about["shape"])
    size = int(np.prod(shape, dtype=np.int64))
    count = -(-size // 8) if dtype == np.bool_ else size
    planes = np.frombuffer(cells, np.uint8, count * kept.itemsize, about["$at"]).reshape(kept.itemsize, count)
    flat = np.ascontiguousarray(planes.T).reshape(-1).view(kept)
    if dtype == np.bool_:
        flat = np.unpackbits(flat, count=size).view(np.bool_)
    elif dtype.kind == "i":
        flat = np.cumsum(flat, dtype=dtype)
    return flat.astype(dtype).reshape(shape)
