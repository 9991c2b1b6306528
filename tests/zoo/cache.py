"""Where recordings lie, and which are there. Touches the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.zoo.recording import Label, Recording, load
from tests.zoo.split import Run
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, TensorRows

HERE: Final = Path(__file__).resolve().parent
SMALL_DIR: Final = HERE / "data"
"""The recordings that are kept in the repository."""
JUDGING: Final = frozenset({
    "__init__.py", "__main__.py", "baselines.py", "cache.py", "card.py", "curves.py", "interval.py", "judges.py",
    "known.py", "making.py", "recording.py", "report.py", "score.py", "show.py", "split.py", "summary.py", "thin.py",
})
"""Modules that have no say in what a recording is."""
MEASURED: Final = 2
"""To be raised when tuimon itself measures otherwise than before, so that all is recorded anew."""


def default_dir() -> Path:
    """$TUIMON_ZOO, else a directory of one's own for this generator, this torch and this form of the log."""
    if chosen := os.environ.get("TUIMON_ZOO"):
        return Path(chosen)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "tuimon-zoo" / fingerprint()


def fingerprint() -> str:
    """Changes when recordings have to be made anew."""
    digest = hashlib.sha256(f"{MEASURED} {version('torch')}".encode())
    for kind in (Label, Recording, Chunk, TensorRows, RunContext):
        digest.update(" ".join(field.name for field in fields(kind)).encode())
    for path in sorted(HERE.glob("*.py")):
        if path.name not in JUDGING and not path.name.startswith("test_"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def path_of(directory: Path, run: Run) -> Path:
    """The file of a run."""
    return directory / f"{run.name}.npz"


def split_by_presence(directory: Path, runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """Those that are there, and those that are not."""
    there: list[Run] = []
    missing: list[Run] = []
    for run in runs:
        (there if path_of(directory, run).is_file() else missing).append(run)
    return there, missing


def load_run(directory: Path, run: Run) -> Recording:
    """One recording. FileNotFoundError and ValueError say in one line what is wrong."""
    path = path_of(directory, run)
    if not path.is_file():
        raise FileNotFoundError(
            f"no recording of {run.name} in {directory}: make it with "
            f"python -m tests.zoo make --kind {run.kind} --seed {run.seed}"
        )
    return load(path)
