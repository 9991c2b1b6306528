"""When this process looks for garbage. Touches the interpreter.

Modules, classes and screens, 80,000 objects, live as long as the viewer: to search them now and then took 40 to 90 ms
of the processor each time, in the middle of a frame. They are left out; what frames leave behind is searched as ever.
"""

from __future__ import annotations

import gc
from typing import Final

NEW: Final = 25_000
"""Objects that have come and not gone after which the new ones are searched: more than a large frame has cells. Frames
free theirs without a search; only rings wait for one, and 25,000 objects are a few MB."""


def hold() -> None:
    """Search nothing: what is loaded at the start is no garbage, and searching it took a tenth of that time."""
    gc.disable()


def settle() -> None:
    """All that is here stays; from now on search only what is new."""
    gc.freeze()
    gc.set_threshold(NEW, *gc.get_threshold()[1:])
    gc.enable()
