"""From a run directory to a screen: what `tuimon watch` and `tuimon demo` call. Touches process and terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tuimon.config.file import Keeper, config_path, load
from tuimon.errors import UsageError
from tuimon.record.rundir import RunDir
from tuimon.viewer import interpreter
from tuimon.viewer.apart import Feeds
from tuimon.viewer.background import asking, guess
from tuimon.viewer.login import Login
from tuimon.viewer.opening import opening
from tuimon.viewer.pace import Pace, is_paced
from tuimon.viewer.settings import Settled, settle
from tuimon.viewer.views import Rules
from tuimon.viewer.wanted import Place

NICENESS: Final = 5
"""The viewer steps back behind the training that it watches."""


def has_terminal(app: object) -> bool:
    """Whether Textual has taken the terminal, and gives it back."""
    return getattr(app, "_driver", None) is not None


def why_plain(env: Mapping[str, str], *, asked: bool = False, is_terminal: bool | None = None) -> str | None:
    """Why there is no screen, as part of a sentence; None: there is one."""
    if is_terminal is None:
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
    if asked or env.get("TUIMON_PLAIN", "").strip().lower() in ("1", "yes", "on", "true"):
        return "as asked"
    if not is_terminal:
        return "this is no terminal"
    term = env.get("TERM", "")
    return f"this terminal (TERM={term!r}) cannot draw one" if term in ("", "dumb", "unknown") else None


def check_terminal(env: Mapping[str, str] | None = None) -> None:
    """UsageError unless there is a terminal to draw on: Textual itself would send its escapes anywhere."""
    why = why_plain(os.environ if env is None else env)
    if why is not None:
        raise UsageError(f"this needs a screen, and there is none, {why}; try: tuimon watch NAME, "
                         "or tuimon demo NAME --headless")


class Ready:
    """What a panel needs before it is known which run it shows: settings, and a process that reads."""

    def __init__(self, run: RunDir | None = None, *, rules: Rules = "tuimon", settled: Settled | None = None,
                 plain: bool = False, hosts: Path | None = None) -> None:
        """`run`: where it is known, reading begins. `settled`: what is preferred; None: what environment and file say.

        `hosts`: where other machines tell of their runs, see `record.hosts`.

        Where there is no terminal, and where `plain` is asked for, there is no panel, and `why` says why.
        """
        env = os.environ
        # Nothing here multiplies matrices: threads for it would cost time at the start, and memory for ever.
        for library in ("OPENBLAS", "OMP", "MKL"):
            env.setdefault(f"{library}_NUM_THREADS", "1")
        with contextlib.suppress(OSError, AttributeError):
            os.nice(NICENESS)
        self.rules, self.why = rules, why_plain(env, asked=plain)
        self.settled = settle({}, env, *load(config_path(env))) if settled is None else settled
        self.feeds: Feeds | None = None
        if self.why is None:
            # Read by textual when it is imported: nothing here moves by itself, least of all over a slow link.
            env.setdefault("TEXTUAL_ANIMATIONS", "none")
            env.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
            interpreter.begin()
            # Before anything is loaded that whoever reads need not have.
            self.feeds = Feeds(run, rules, self.settled.settings.period(remote=bool(env.get("SSH_CONNECTION"))), hosts)

    def load(self) -> None:
        """Load the screen, or what tells of a run, in the time that something else takes."""
        if self.why is None:
            import tuimon.viewer.app
        else:
            import tuimon.viewer.telling  # noqa: F401  # for later

    def close(self) -> None:
        """End what reads."""
        if self.feeds is not None:
            self.feeds.close()
            self.feeds = None


def watch(run: RunDir, *, rules: Rules = "tuimon", owner: bool | Callable[[], bool] = False,
          end: Callable[[], object] | None = None, place: Place = "overview", ask: object = None,
          settled: Settled | None = None, pace: bool | None = None, plain: bool = False,
          ready: Ready | None = None) -> int:
    """Show a run until the person leaves; the exit status. It begins at `place`, which is asked `ask`.

    `pace`: whether frames wait for the terminal's answers; None: as the environment says, and over SSH.
    `owner`: leaving a live run asks whether it goes on (of several: whether one does); "end it" calls `end` after the
    terminal is itself again. `rules`, `settled`, `plain`: see `Ready`; what is `ready` has them.
    """
    env = os.environ
    ready = ready or Ready(run, rules=rules, settled=settled, plain=plain)
    if ready.feeds is None:
        from tuimon.viewer.telling import tell

        return tell(run, ready.why or "", rules=ready.rules, end=end)
    feeds, settled, app = ready.feeds, ready.settled, None
    try:
        # The terminal answers while the screen is loaded; the first run is that which `open` is asked for first.
        with opening(run.called, lambda: has_terminal(app)), asking(env) as question:
            from tuimon.viewer.app import Tuimon
            from tuimon.viewer.glyphs import choose

            around = {name: value for name, value in env.items() if name != "TUIMON_GLYPHS"}   # `settled` knows it
            found = question.answer()
            app = Tuimon(*feeds.open(run.path), glyphs=choose(around, sys.stdout.encoding), owner=owner,
                         guards_terminal=True, opener=feeds.open, place=place, ask=ask, settled=settled,
                         keeper=Keeper(config_path(env)), pace=Pace(wanted=is_paced(env, pace)),
                         background=found if found.dark is not None else replace(found, dark=guess(env)),
                         settle=interpreter.settle, login=Login(run))
            answer = app.run(mouse=settled.settings.has_mouse(remote=bool(env.get("SSH_CONNECTION"))))
    finally:
        ready.close()
    if answer == "end" and end is not None:
        end()
    return app.return_code or 0
