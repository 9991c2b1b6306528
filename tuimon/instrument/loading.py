"""Loads checkpoints as `resume` would, in a process of its own, and says of each what is wrong: one JSON object a line.

    python -m tuimon.instrument.loading DIRECTORY ID...     {"id": ..., "problem": ""}

For programs that do not know torch, and so that what a file does to whoever loads it is done to nobody else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tuimon.errors import CheckpointError
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.contents import non_finite
from tuimon.record.printing import print_words


def problem_of(store: Checkpoints, name: str) -> str:
    """Why `resume` would pass it over; "" where it would not."""
    try:
        broken = non_finite(store.load(name)["tensors"])
    except CheckpointError as error:
        return str(error).removeprefix(f"checkpoint {name}: ")
    return "" if broken is None else f"{broken} is not finite"


def main(directory: str, *names: str) -> None:
    """Print what there is to say."""
    store = Checkpoints(Path(directory))
    for name in names:
        print_words(json.dumps({"id": name, "problem": problem_of(store, name)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
