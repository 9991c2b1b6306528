"""What `attach(notify=...)` comes to: a helper beside the run, or a line about why not. Training goes on either way."""

from __future__ import annotations

import os
from collections.abc import Callable

from tuimon.errors import AttachError, UsageError
from tuimon.instrument.recorder import Recorder
from tuimon.notify import begin
from tuimon.notify.wishes import Wishes


def wanted(argument: object) -> tuple[Wishes, tuple[str, ...]]:
    """What is wanted, and what was left out of environment and file; AttachError for the argument."""
    try:
        return begin.wanted(argument)
    except UsageError as error:
        raise AttachError(str(error)) from None


def call(recorder: Recorder, wishes: Wishes, problems: tuple[str, ...], complain: Callable[[str], None]) -> None:
    """Have a person told of this run. Never raises: `complain` is given what is wrong."""
    for problem in problems:
        complain(problem)
    if not wishes.targets or not is_first():
        return
    if recorder.is_in_memory:
        complain("nobody is told of this run: the helper that does would read its directory")
        return
    try:
        begin.begin(recorder.run, recorder.attempt, wishes)
    except OSError as error:
        complain(f"nobody is told of this run: the helper cannot be started: {error.strerror}")
        return
    names = ", ".join(target.label for target in wishes.targets)
    recorder.event("note", recorder.from_step, text=f"told of what goes wrong: {names}")


def is_first() -> bool:
    """Whether this is the one process of a distributed training that tells: the others see the same."""
    return os.environ.get("RANK", "0") == "0" or os.environ.get("WORLD_SIZE", "1") == "1"
