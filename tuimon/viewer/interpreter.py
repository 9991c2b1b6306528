"""What the viewer asks of the interpreter, so that nothing stands in the way of a frame. Touches the interpreter.

Modules, classes and screens, 80,000 objects, live as long as the viewer: to search them for garbage now and then took
40 to 90 ms of the processor each time, in the middle of a frame. They are left out; what is new is searched as ever.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

NEW: Final = 25_000
"""Objects that have come and not gone after which the new ones are searched: more than a large frame has cells. Frames
free theirs without a search; only rings wait for one, and 25,000 objects are a few MB."""
TURN: Final = 0.001
"""Seconds that one thread may keep another waiting. With Python's own 5 ms a key took 29 ms to show while the feed was
at work and 17 ms while it was not; with 1 ms it takes 17 ms either way."""


def begin() -> None:
    """Short turns, and no search while the program is loaded: nothing of that is garbage."""
    gc.disable()
    sys.setswitchinterval(TURN)


def settle() -> None:
    """All that is here stays; from now on search only what is new."""
    gc.freeze()
    gc.set_threshold(NEW, *gc.get_threshold()[1:])
    gc.enable()
