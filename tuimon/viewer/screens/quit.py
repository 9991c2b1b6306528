"""What q asks whoever started the training: its process can outlive this screen."""

from __future__ import annotations

from tuimon.viewer.actions import loss_line
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import dim, say
from tuimon.viewer.messages import END, LEAVE
from tuimon.viewer.screens.confirm import Answer, Confirm
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame


def ask_to_quit(frame: Frame, ink: Ink, glyphs: GlyphSet, runs: int = 1, *, is_aside: bool = False) -> Confirm:
    """Stay, leave it running, or end it; the same for several runs that were started together.

    `is_aside`: another run is on the screen, and `frame` is as old as that.
    """
    if runs > 1:
        return Confirm("Leave these runs?", (
            say(f"All {runs} were started together."),
            say("Left running, they go on without a screen; come back with:"), (dim("    tuimon watch"),),
            say("Ended, each leaves at its next step boundary; logs, checkpoints stay.")), (
            Answer("s", "stay", None), Answer("l", "leave them running", LEAVE), Answer("e", f"end all {runs}", END)),
            ink, glyphs)
    stands = frame.state in ("paused", "held") and not is_aside
    left = f"Left {frame.state}, it waits in memory" if stands else "Left running, it goes on without a screen"
    has_begun = frame.facts.step > 0
    at = f"is at {loss_line(frame)}" if has_begun else "has not trained yet"
    if is_aside:
        at = "was started with this screen; it is not the run shown"
    lines = (
        say(f"{frame.facts.name} {at}."),
        say(f"{left}; come back with:"),
        (dim("    tuimon watch"),),
        say("Ended, it leaves at its next step boundary; logs, checkpoints stay." if has_begun else
            "Ended, its process is told to go (SIGTERM); what it printed stays."),
    )
    leave = f"leave it {frame.state}" if stands else "leave it running"
    answers = (Answer("s", "stay", None), Answer("l", leave, LEAVE), Answer("e", "end it", END))
    return Confirm("Leave this run?", lines, answers, ink, glyphs)
