"""Which run a person means. Touches the disk."""

from __future__ import annotations

import os
from pathlib import Path

from tuimon.errors import RunNotFound, UsageError
from tuimon.record.label import read_label
from tuimon.record.rundir import RunDir, list_runs, runs_root
from tuimon.record.status import is_live


def find_run(selector: str | None, root: Path | None = None) -> RunDir:
    """The run that a person means: a path, a name, or the beginning of a name; None is the latest live one.

    A name is a directory's, or one that was given to the run afterwards.
    RunNotFound says which runs there are; UsageError where a beginning fits several.
    """
    root = runs_root() if root is None else root
    runs = list_runs(root)
    if selector is None:
        if not runs:
            raise RunNotFound(f"no runs under {root}; start one with: tuimon demo exploding")
        return next((run for run in runs if is_live(run)), runs[0])
    if os.sep in selector or selector in (".", ".."):
        path = named_path(selector)
        if not (path / "metrics").is_dir():
            raise RunNotFound(f"{selector!r} is not a run directory: it has no metrics/")
        return RunDir(path)
    exact = [run for run in runs if run.name == selector] or [run for run in runs if _given(run) == selector]
    if exact:
        return exact[0]
    starting = ({run: run.called for run in runs if run.name.startswith(selector)}
                or {run: _given(run) for run in runs if _given(run).startswith(selector)})
    if not starting:
        known = f"the latest are: {', '.join(run.name for run in runs[:5])}" if runs else "there is none at all"
        raise RunNotFound(f"no run named {selector!r} under {root}; {known}")
    if len(set(starting.values())) > 1:
        raise UsageError(f"{selector!r} fits several runs: {', '.join(run.name for run in list(starting)[:5])}")
    return next(iter(starting))


def named_path(text: str) -> Path:
    """What a person wrote, as an absolute path; RunNotFound where no path can be written so."""
    try:
        path = Path(text).expanduser().absolute()
        os.stat(path)
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:  # nobody's home, a NUL, far too long, not to be entered
        why = error.strerror if isinstance(error, OSError) else "it cannot be a path"
        raise RunNotFound(f"{text!r:.80} is not a run directory: {why}") from None
    return path


def _given(run: RunDir) -> str:
    return read_label(run).name
