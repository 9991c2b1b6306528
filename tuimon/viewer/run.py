"""From a run directory to a screen: what `tuimon watch` and `tuimon demo` call. Touches process and terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tuimon.errors import UsageError
from tuimon.record.rundir import RunDir
from tuimon.viewer.pace import is_paced
from tuimon.viewer.telling import tell, why_plain
from tuimon.viewer.views import Rules
from tuimon.viewer.wanted import Place

NICENESS: Final = 5
"""The viewer steps back behind the training that it watches."""
LOCAL_PERIOD: Final = 0.25
REMOTE_PERIOD: Final = 0.5
"""Seconds between two frames, on this machine and over SSH."""


def check_terminal(env: Mapping[str, str] | None = None) -> None:
    """UsageError unless there is a terminal to draw on: Textual itself would send its escapes anywhere."""
    why = why_plain(os.environ if env is None else env)
    if why is not None:
        raise UsageError(f"this needs a screen, and there is none, {why}; try: tuimon watch NAME, "
                         "or tuimon demo NAME --headless")


def watch(run: RunDir, *, rules: Rules = "tuimon", owner: bool | Callable[[], bool] = False,
          end: Callable[[], object] | None = None, mouse: bool | None = None, place: Place = "overview",
          ask: object = None, pace: bool | None = None, plain: bool = False) -> int:
    """Show a run until the person leaves; the exit status. It begins at `place`, which is asked `ask`.

    `pace`: whether frames wait for the terminal's answers; None: as the environment says, and over SSH.
    `owner`: leaving a live run asks whether it goes on (of several: whether one does); "end it" calls `end` after the
    terminal is itself again.
    Where there is no terminal, and where `plain` is asked for, it is told in sentences instead.
    """
    env = os.environ
    why = why_plain(env, asked=plain)
    if why is not None:
        return tell(run, why, rules=rules, end=end)
    remote = bool(env.get("SSH_CONNECTION"))
    # Read by textual when it is imported: nothing here moves by itself, least of all over a slow link.
    env.setdefault("TEXTUAL_ANIMATIONS", "none")
    env.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    from tuimon.viewer.app import Feeding, Tuimon
    from tuimon.viewer.feed import Feed
    from tuimon.viewer.glyphs import choose
    from tuimon.viewer.screens.quit import END

    period = REMOTE_PERIOD if remote else LOCAL_PERIOD
    def opened(path: Path) -> tuple[str, Feeding]:
        other = RunDir(path)
        return other.name, lambda ready: Feed(other, ready, rules=rules, period=period)

    app = Tuimon(run.name, opened(run.path)[1], glyphs=choose(env, sys.stdout.encoding), owner=owner,
                 guards_terminal=True, opener=opened, place=place, ask=ask, paced=is_paced(env, pace))
    # Mouse motion over charts costs a millisecond of CPU per event on the far side of a link: off there.
    answer = app.run(mouse=not remote if mouse is None else mouse)
    if answer == END and end is not None:
        end()
    return app.return_code or 0
