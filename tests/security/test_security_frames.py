"""What comes into the panel is clean before any widget sees it: every text of every frame of every place."""

from __future__ import annotations

import pytest

from tests.security.hostile_runs import hostile_run, unreadable_run, walked
from tests.security.hostile_text import odd_characters
from tuimon.record.rundir import RunDir
from tuimon.viewer.places import PLACES
from tuimon.viewer.places.compare import model as compare
from tuimon.viewer.places.gallery import model as gallery
from tuimon.viewer.places.layers import model as layers
from tuimon.viewer.reading import Reading
from tuimon.viewer.wanted import Wanted

KEYS = ("Frame.wanted", "RunsView.here", "Entry.path")
"""What only tells one thing from another, as it was asked or as the disk has it: it is not drawn."""


def _asks(run: RunDir, other: RunDir) -> dict[str, list[object]]:
    sides = (compare.Source("", run.path), compare.Source("", other.path), compare.Source("\x1b[2Jgone", run.path / "no\x1b[2Jwhere"))
    return {"compare": [compare.Ask(sides)], "gallery": [gallery.Ask((run.path, other.path))],
            "layers": [None, layers.Ask(tensors=True)]}


@pytest.mark.parametrize("state", ["held", "crashed", "waiting", "unreadable"])
def test_every_text_of_every_frame_is_clean(state):
    other = hostile_run(directory="other", end="crashed", alive=False)
    run = {"held": hostile_run, "crashed": lambda: hostile_run(end="crashed", alive=False),
           "waiting": lambda: hostile_run(attached=False, alive=False), "unreadable": unreadable_run}[state]()
    asks, seen, dirty = _asks(run, other), 0, set()
    for place in PLACES:
        for ask in asks.get(place, [None]):
            reading = Reading(run)
            for at in (None, 100):
                for _ in range(3):
                    frame = reading.poll(1e9, 1e9, Wanted(place, at=at, ask=ask))
                    if frame is None:
                        continue
                    texts = walked(frame, skip=KEYS)
                    seen += len(texts)
                    dirty |= {f"{place}: {where}" for where, text in texts if odd_characters(text)}
            reading.close()
    assert not dirty, "\n".join(sorted(dirty))
    assert seen > 500
