"""FOREIGN: the readers of what other tools wrote."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import recorded
from tests.fuzz.reader import Reader, refused
from tests.fuzz.recorded import packed, parts_of
from tuimon.errors import LogError
from tuimon.formats import read
from tuimon.formats.crc32c import masked_crcs
from tuimon.record.history import History


def _table(name: str) -> Callable[[Path, bytes], None]:
    def read_it(at: Path, data: bytes) -> None:
        path = at / name
        path.write_bytes(data)
        with refused(LogError):
            found = read(path)
            history = History()
            for chunk in found.chunks:
                history.extend(chunk)
            assert all("\n" not in note for note in found.notes)

    return read_it


def _records(at: Path, data: bytes) -> None:
    """Events of TensorBoard, with checksums that are right."""
    parts = [piece for _, part in list(parts_of(data))[:8] for piece in (len(part).to_bytes(8, "little"), part)]
    crcs = masked_crcs(parts).astype("<u4") if parts else ()
    _table("events.out.tfevents.1")(at, b"".join(part + crc.tobytes() for part, crc in zip(parts, crcs, strict=True)))


def _wandb_records(at: Path, data: bytes) -> None:
    """Records of W&B, with checksums that are right."""
    parts = [len(part).to_bytes(2, "little") + b"\1" + part for _, part in parts_of(data)]
    whole = b":W&B\xe1\xbe\x00" + b"".join(zlib.crc32(p[3:], zlib.crc32(b"\1")).to_bytes(4, "little") + p for p in parts)
    _table("run.wandb")(at, whole[:32768])


def _tfevents() -> bytes:
    (path,) = [path for path in sorted(recorded.FOREIGN.joinpath("tfevents").rglob("*")) if path.is_file()][:1]
    return path.read_bytes()


def _in_records(data: bytes) -> bytes:
    at, found = 0, []
    while at + 12 <= len(data):
        length = int.from_bytes(data[at:at + 8], "little")
        found.append((0, data[at + 12:at + 12 + length]))
        at += 16 + length
    return packed(found)


def _wandb() -> bytes:
    return gzip.decompress((recorded.FOREIGN / "offline.wandb.gz").read_bytes())


def _wandb_parts() -> bytes:
    data, at, found = _wandb(), 7, []
    while at + 7 < min(len(data), 20_000):
        length, kind = int.from_bytes(data[at + 4:at + 6], "little"), data[at + 6]
        if kind == 1:
            found.append((0, data[at + 7:at + 7 + length]))
        at += 7 + length
    return packed(found)


FOREIGN: dict[str, Reader] = {
    "csv": Reader(_table("metrics.csv"), lambda _: [recorded.TABLE, (recorded.FOREIGN / "metrics.csv").read_bytes()[:2000]]),
    "jsonl": Reader(_table("metrics.jsonl"), lambda _: [recorded.LINES]),
    "json": Reader(_table("trainer_state.json"), lambda _: [(recorded.FOREIGN / "trainer_state.json").read_bytes()[:8000]]),
    "tfevents": Reader(_table("events.out.tfevents.1"), lambda _: [_tfevents()[:4000]]),
    "records": Reader(_records, lambda _: [_in_records(_tfevents())[:4000]]),
    "wandb": Reader(_table("run.wandb"), lambda _: [_wandb()[:6000]]),
    "wandb-records": Reader(_wandb_records, lambda _: [_wandb_parts()[:6000]]),
}
