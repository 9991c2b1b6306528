"""Which training runs a path holds: a file is one, a directory may hold several. Touches the disk, reads no contents.

What lies in a directory is taken for, in this order: a run of ours, a Trainer's state (its own or its newest
checkpoint's), `.wandb` files, Lightning's `metrics.csv`, TensorBoard event files. Nothing is looked for below a run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tuimon.errors import LogError
from tuimon.formats.names import some

MAX_DEPTH: Final = 6
MAX_ENTRIES: Final = 20_000
"""Directory entries that are looked at before giving up: this is no place for searching a whole disk."""
_CHECKPOINT: Final = re.compile(r"^checkpoint-(\d{1,18})$")
_EVALUATION: Final = frozenset({"validation", "val", "eval", "test", "valid", "dev"})
_TABLES: Final = (".csv", ".tsv", ".jsonl", ".jsonl.gz", ".csv.gz", ".ndjson")


@dataclass(frozen=True, slots=True)
class Source:
    """One run that can be read."""

    path: str
    """The file or the directory that stands for it, as given by the user or below that."""
    kind: str
    """"run", "file", "trainer state", "wandb", "csv" or "tfevents"."""
    files: tuple[tuple[str, str], ...] = ()
    """What is read: paths, each with a prefix for its columns ("val/" for a directory of evaluations)."""


def sources(path: str) -> tuple[Source, ...]:
    """The runs in a file or directory, by path. LogError where there are none or where it cannot be looked at."""
    try:
        is_folder = os.path.isdir(path)
        os.stat(path)
    except (OSError, ValueError) as error:
        raise LogError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not is_folder:
        name = os.path.basename(path)
        if name.endswith(".tlog"):
            run = os.path.dirname(os.path.dirname(os.path.abspath(path)))
            if not _is_run(run):
                raise LogError(f"{path}: a metrics file is read with its run: it belongs into RUN/metrics")
            return (Source(run, "run"),)
        return (Source(path, "tfevents" if "tfevents" in name else "file", ((path, ""),)),)
    budget = [MAX_ENTRIES]
    found = tuple(sorted(_below(path, 0, budget), key=lambda s: s.path)) or tuple(_tables(path))
    if not found:
        raise LogError(f"{path}: a directory without logs of a training (looked for runs, trainer_state.json, .wandb, "
                       f"metrics.csv, event files, .csv and .jsonl{'' if budget[0] > 0 else '; too large to see all'})")
    return found


def only(path: str) -> Source:
    """The one run in a file or directory. LogError where there are none or several."""
    found = sources(path)
    if len(found) > 1:
        inside = some([os.path.relpath(source.path, path) for source in found])
        raise LogError(f"{path}: holds {len(found)} runs, name one of {inside}")
    return found[0]


def _below(folder: str, depth: int, budget: list[int]) -> Iterator[Source]:
    files, folders = _entries(folder, budget)
    if depth == 0 and _is_run(folder):
        yield Source(folder, "run")
        return
    if "metrics" in folders and _is_run(folder):
        yield Source(folder, "run")
        return
    state = _trainer_state(folder, files, folders)
    if state:
        yield Source(folder, "trainer state", ((state, ""),))
        return
    logs = sorted(name for name in files if name.endswith(".wandb"))
    if logs:
        for name in logs:
            yield Source(os.path.join(folder, name) if len(logs) > 1 else folder, "wandb",
                         ((os.path.join(folder, name), ""),))
        return
    if "metrics.csv" in files:
        yield Source(folder, "csv", ((os.path.join(folder, "metrics.csv"), ""),))
        return
    events = _events(folder, files)
    beside = [(sub, inner) for sub in folders if sub.lower() in _EVALUATION | {"train", "training"}
              and (inner := _events(os.path.join(folder, sub), _entries(os.path.join(folder, sub), budget)[0]))]
    pair = {sub.lower() in _EVALUATION for sub, _ in beside} == {True, False} or (events and len(beside) == 1)
    if pair:  # what Keras writes: train/ and validation/ of one run, with the same tags
        events += [(p, "val/" if sub.lower() in _EVALUATION else "") for sub, inner in beside for p, _ in inner]
        folders = [name for name in folders if name not in {sub for sub, _ in beside}]
    if events:
        yield Source(folder, "tfevents", tuple(events))
    if depth < MAX_DEPTH:
        for name in folders:
            yield from _below(os.path.join(folder, name), depth + 1, budget)


def _entries(folder: str, budget: list[int]) -> tuple[list[str], list[str]]:
    """Names of files and of folders, sorted; links to folders are not followed, so that there are no circles."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                budget[0] -= 1
                if budget[0] < 0:
                    break
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file():
                    files.append(entry.name)
    except OSError as error:
        if budget[0] == MAX_ENTRIES:
            raise LogError(f"{folder}: cannot be read: {error.strerror}") from None
    return sorted(files), sorted(folders)


def _is_run(folder: str) -> bool:
    metrics = os.path.join(folder, "metrics")
    try:
        return any(name.endswith(".tlog") for name in os.listdir(metrics)) or (
            os.path.isdir(metrics) and os.path.exists(os.path.join(folder, "run.json")))
    except OSError:
        return False


def _trainer_state(folder: str, files: list[str], folders: list[str]) -> str | None:
    """A Trainer's state in this directory or, newer ones first, in its checkpoints."""
    if "trainer_state.json" in files:
        return os.path.join(folder, "trainer_state.json")
    numbered = sorted(((int(m.group(1)), name) for name in folders if (m := _CHECKPOINT.match(name))), reverse=True)
    paths = (os.path.join(folder, name, "trainer_state.json") for _, name in numbered)
    return next((path for path in paths if os.path.isfile(path)), None)


def _events(folder: str, files: list[str]) -> list[tuple[str, str]]:
    """Event files in the order in which they were begun: their names hold the time."""
    return [(os.path.join(folder, name), "") for name in sorted(files, key=_begun) if "tfevents" in name]


def _begun(name: str) -> tuple[int, str]:
    found = re.search(r"tfevents\.(\d{1,18})", name)
    return int(found.group(1)) if found else 0, name


def _tables(folder: str) -> Iterator[Source]:
    """Tables that lie in a directory in which nothing else was found."""
    for name in _entries(folder, [MAX_ENTRIES])[0]:
        if name.lower().endswith(_TABLES):
            path = os.path.join(folder, name)
            yield Source(path, "file", ((path, ""),))
