"""The files of a run of several ranks: how many ranks there are, their segments, what each says of itself.

Touches the disk; what cannot be read is absent.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

from tuimon.record import log
from tuimon.record.files import open_to_read
from tuimon.record.plain import is_whole
from tuimon.record.reader import bytes_at, segment_paths, size_of

MOST_RANKS: Final = 1 << 16
"""More than that is damage."""
_NAME: Final = re.compile(r"^r(\d+)-(\d{3,})\.tlog$")


def world_of(metrics: Path, *, is_now: bool = False) -> int:
    """How many ranks write into a log; 1 where that is not said. The largest of its attempts, or that of the last."""
    found = 1
    for path in segment_paths(metrics)[-1 if is_now else 0:]:
        data = bytes_at(path, 0, 4096) or b""
        for frame in log.frames(data):
            if isinstance(frame, int) or frame.kind != log.HEAD:
                break
            try:
                world = log.decode_json(frame.payload).get("world", 1)
            except ValueError:
                break
            found = max(found, world) if is_whole(world) and world <= MOST_RANKS else found
            break
    return found


def bytes_of(metrics: Path) -> int:
    """Bytes of the segments of all ranks."""
    return sum(size_of(path) for paths in segments_of(metrics).values() for path in paths)


def segments_of(metrics: Path) -> dict[int, list[Path]]:
    """The segments of every rank, oldest first, by one look at the folder."""
    found: dict[int, list[tuple[int, str]]] = {}
    try:
        names = os.listdir(metrics)
    except OSError:
        return {}
    for name in names:
        if match := _NAME.match(name):
            found.setdefault(int(match.group(1)), []).append((int(match.group(2)), name))
    return {rank: [metrics / name for _, name in sorted(each)] for rank, each in found.items()}


def described(path: Path) -> dict[str, Any]:
    """What a rank says of itself; nothing where it cannot be read."""
    try:
        fd = open_to_read(path)
    except OSError:
        return {}
    try:
        said = json.loads(os.pread(fd, 1 << 16, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    finally:
        os.close(fd)
    if not isinstance(said, dict):
        return {}
    process = said.get("process")
    return {**(process if isinstance(process, dict) else {}), **said}
