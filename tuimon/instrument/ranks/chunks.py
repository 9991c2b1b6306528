"""The tensors of a checkpoint that several ranks wrote, as torch.distributed.checkpoint keeps them.

    __<k>_0.distcp    what rank k wrote, tensor after tensor, each as torch.save writes it
    .metadata         where all of it is, for `torch.distributed.checkpoint.load`: a pickle, which tuimon never reads
    rank-<k>.json     the same for what rank k wrote, as tuimon reads it
    rank-<k>.pt       of ranks other than 0: random generators and the position of the data

Touches the disk; for background threads, and for `resume`.
"""

from __future__ import annotations

import io
import json
import math
import pickle
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

from tuimon.errors import CheckpointError
from tuimon.instrument.contents import check_packing, is_plain
from tuimon.instrument.durable import Sink, put, read_back
from tuimon.instrument.ranks.layouts import Fitting, Layout, whole
from tuimon.record.manifest import Damaged, Opened, Written
from tuimon.record.plain import is_whole

METADATA: Final = ".metadata"
FORMAT: Final = 1
_MAX_INDEX: Final = 64 << 20
_DEEPEST: Final = 64
"""Dimensions of a tensor, at most."""


def shards(rank: int) -> str:
    """The file with what a rank wrote."""
    return f"__{rank}_0.distcp"


def index(rank: int) -> str:
    """The file that says where in it."""
    return f"rank-{rank}.json"


def own(rank: int) -> str:
    """The file with what is that rank's alone."""
    return f"rank-{rank}.pt"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a tensor in a file."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    rank: int
    """Who wrote it."""
    at: int
    length: int
    """Bytes."""


@dataclass(slots=True)
class Saved:
    """A tensor, and where it is."""

    dtype: torch.dtype
    size: tuple[int, ...]
    chunks: list[Chunk]


# -- writing

def write_part(
    folder: Path, rank: int, tensors: Mapping[str, Tensor], layouts: Mapping[str, Layout], mine: Mapping[str, Any]
) -> dict[str, Written]:
    """This rank's files, durable and read back.

    mine: what is its own, in portable types; nothing for rank 0, whose state.pt has it.
    """
    said: dict[str, Any] = {}
    with Sink(folder / shards(rank)) as sink:
        for key, tensor in tensors.items():
            layout = layouts[key]
            if tuple(tensor.shape) != layout.sizes:
                raise CheckpointError(f"{key} has changed its shape")
            rows = layout.rows(tensor.element_size())
            if rows is None:
                continue
            piece, at = tensor[rows[0] : rows[1]] if tensor.dim() else tensor, sink.size
            torch.save(piece.clone() if piece.untyped_storage().nbytes() != piece.nbytes else piece, sink.file)
            offsets = [layout.offsets[0] + rows[0], *layout.offsets[1:]] if piece.dim() else []
            said[key] = {"dtype": str(tensor.dtype).removeprefix("torch."), "size": list(layout.size),
                         "offsets": offsets, "sizes": list(piece.shape), "at": at, "length": sink.size - at}
    files = {shards(rank): sink.written}
    body = {"format": FORMAT, "rank": rank, "tensors": said}
    files[index(rank)] = put(folder / index(rank), json.dumps(body, sort_keys=True).encode())
    if mine:
        with Sink(folder / own(rank)) as sink:
            torch.save({"format": FORMAT, "rank": rank, **mine}, sink.file)
        files[own(rank)] = sink.written
    for name, written in files.items():
        read_back(folder / name, written)
    return files


def write_metadata(folder: Path, saved: Mapping[str, Saved]) -> Written:
    """For torch's own tools."""
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex

    told: dict[str, Any] = {}
    places: dict[Any, Any] = {}
    for key, one in saved.items():
        told[key] = _described(one)
        for chunk in one.chunks:
            places[MetadataIndex(key, torch.Size(chunk.offsets))] = _StorageInfo(
                shards(chunk.rank), chunk.at, chunk.length)
    written = put(folder / METADATA, pickle.dumps(Metadata(told, storage_data=places)))
    read_back(folder / METADATA, written)
    return written


def _described(one: Saved) -> Any:
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, TensorProperties, TensorStorageMetadata

    return TensorStorageMetadata(TensorProperties(dtype=one.dtype), torch.Size(one.size), [
        ChunkStorageMetadata(torch.Size(chunk.offsets), torch.Size(chunk.sizes)) for chunk in one.chunks])


# -- where it is

def gathered(indexes: Sequence[bytes], sizes: Sequence[int]) -> dict[str, Saved]:
    """All tensors, by the indexes of all ranks in turn; `sizes`: bytes of what each wrote.

    CheckpointError unless they are those of one state, with nothing missing and nothing twice.
    """
    found: dict[str, Saved] = {}
    for rank, (raw, size) in enumerate(zip(indexes, sizes, strict=True)):
        for key, dtype, whole_size, chunk in _read_index(raw, rank, size):
            one = found.setdefault(key, Saved(dtype, whole_size, []))
            if (one.dtype, one.size) != (dtype, whole_size):
                raise CheckpointError(f"the ranks hold different tensors by the name of {key}")
            if math.prod(chunk.sizes) or not one.chunks:
                one.chunks.append(chunk)
    for key, one in found.items():
        parts = {chunk.offsets for chunk in one.chunks}
        if len(parts) != len(one.chunks) or sum(math.prod(c.sizes) for c in one.chunks) != math.prod(one.size):
            raise CheckpointError(f"the parts of {key} do not make a whole")
    return found


def _read_index(raw: bytes, rank: int, size: int) -> list[tuple[str, torch.dtype, tuple[int, ...], Chunk]]:
    try:
        body = json.loads(raw)
        if (body["format"], body["rank"]) != (FORMAT, rank):
            raise CheckpointError(f"its {index(rank)} is of another version of tuimon")
        return [(key, *_read_entry(told, rank, size)) for key, told in body["tensors"].items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged(f"its {index(rank)} is damaged") from None


def _read_entry(told: Mapping[str, Any], rank: int, size: int) -> tuple[torch.dtype, tuple[int, ...], Chunk]:
    """One tensor's; ValueError or its like where that cannot be."""
    dtype = getattr(torch, told["dtype"])
    all_of_it, offsets, sizes = (tuple(told[name]) for name in ("size", "offsets", "sizes"))
    at, length = told["at"], told["length"]
    numbers = (*all_of_it, *offsets, *sizes, at, length)
    if not (isinstance(dtype, torch.dtype) and all(is_whole(n) and n >= 0 for n in numbers)
            and len(all_of_it) == len(offsets) == len(sizes) <= _DEEPEST and at + length <= size
            and all(o + s <= n for o, s, n in zip(offsets, sizes, all_of_it, strict=True))
            and math.prod(sizes) * dtype.itemsize <= length):
        raise ValueError("no part of a tensor")
    return dtype, all_of_it, Chunk(offsets, sizes, rank, at, length)


# -- reading

class Shelf:
    """The files of an open checkpoint, each compared with what was written before anything is taken from it."""

    def __init__(self, opened: Opened) -> None:
        self._opened, self._files = opened, dict[int, BinaryIO]()
        self._stack = ExitStack()
        ranks = range(opened.manifest.world)
        told = opened.manifest.files
        absent = next((name for k in ranks for name in (shards(k), index(k)) if name not in told), None)
        if absent is not None:
            raise Damaged(f"its manifest tells of no {absent}")
        self.saved = gathered([self._read(index(k)) for k in ranks], [told[shards(k)].size for k in ranks])

    def __enter__(self) -> Shelf:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _read(self, name: str) -> bytes:
        with self._opened.file(name) as file:
            self._opened.check(file, name)
            file.seek(0)
            return file.read(_MAX_INDEX)

    def tensors(self, fitting: Fitting | None) -> dict[str, Tensor]:
        """What this process is to hold of each; all, where nothing says what that is."""
        return {key: self._tensor(key, one, whole(one.size) if fitting is None else fitting.of(key, one.size))
                for key, one in self.saved.items()}

    def _tensor(self, key: str, one: Saved, part: Layout) -> Tensor:
        from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
        from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

        found = torch.zeros(part.sizes, dtype=one.dtype)
        if not found.numel():
            return found
        here = ChunkStorageMetadata(torch.Size(part.offsets), torch.Size(part.sizes))
        for item in create_read_items_for_chunk_list(key, _described(one), [here]):
            source, into = self._chunk(key, one, one.chunks[item.storage_index.index or 0]), found
            for dim, length in enumerate(item.lengths):
                source = source.narrow(dim, item.storage_offsets[dim], length)
                into = into.narrow(dim, item.dest_offsets[dim], length)
            into.copy_(source)
        return found

    def _chunk(self, key: str, one: Saved, chunk: Chunk) -> Tensor:
        if chunk.rank not in self._files:
            name = shards(chunk.rank)
            file = self._stack.enter_context(self._opened.file(name))
            self._opened.check(file, name)
            self._files[chunk.rank] = file
        file = self._files[chunk.rank]
        file.seek(chunk.at)
        packed = io.BytesIO(file.read(chunk.length))
        check_packing(packed)
        packed.seek(0)
        tensor = torch.load(packed, map_location="cpu", weights_only=True)
        if not is_plain(tensor) or tensor.dtype != one.dtype or tuple(tensor.shape) != chunk.sizes:
            raise CheckpointError(f"its part of {key} is another than it says")
        return tensor  # type: ignore[no-any-return]
