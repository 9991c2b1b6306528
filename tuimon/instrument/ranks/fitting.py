"""What this process takes of a checkpoint, however many ranks wrote it and however many there are now.

Of each tensor the part that is here; random generators and the position of the data as this rank left them, where there
was this rank. Reads only; for `resume`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tuimon.errors import CheckpointError
from tuimon.instrument.contents import check_packing
from tuimon.instrument.ranks.chunks import FORMAT, Shelf, own
from tuimon.instrument.ranks.layouts import Fitting, cut
from tuimon.instrument.ranks.world import World
from tuimon.instrument.state import TrainingState, random_state
from tuimon.record.manifest import Opened


def loaded(opened: Opened, name: str) -> Any:
    """The contents of one of its files, once every byte is as it was written; tensors and primitives only."""
    with opened.file(name) as file:
        opened.check(file, name)
        check_packing(file)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


class Fit:
    """Of one process."""

    def __init__(self, state: TrainingState | None = None, world: World | None = None) -> None:
        """state: into which it goes; None: all there is is wanted."""
        self._fitting = None if state is None else Fitting(state)
        self._world = world or World()

    def cut(self, body: dict[str, Any]) -> None:
        """Of what one rank wrote alone."""
        if self._fitting is not None:
            body["tensors"] = cut(body["tensors"], self._fitting)
        if self._world.rank:
            body["plain"]["random"] = random_state()
            _note(body, f"the random numbers of rank {self._world.rank} go on as they are: rank 0 alone saved its own")

    def read(self, opened: Opened, body: dict[str, Any]) -> None:
        """Of what several wrote."""
        with Shelf(opened) as shelf:
            body["tensors"] = shelf.tensors(self._fitting)
        mine: Mapping[str, Any] = {"random": body["plain"].get("random"), "loader": body.get("loader")}
        had_position = body.get("loader") is not None
        saved, rank = opened.manifest.world, self._world.rank
        is_new = rank >= saved
        if rank and not is_new:
            mine = self._own(opened)
        mine = {"random": random_state()} if is_new else mine
        body["plain"]["random"], body["loader"] = mine.get("random"), mine.get("loader")
        if is_new:
            _note(body, f"the random numbers of rank {rank} go on as they are: {saved} ranks saved theirs")
        if saved != self._world.size and self._fitting is not None and had_position:
            body["loader"] = None
            _note(body, f"the data were not put back: {saved} ranks shared them, and {self._world.size} do now")

    def _own(self, opened: Opened) -> Mapping[str, Any]:
        found = loaded(opened, own(self._world.rank))
        if not isinstance(found, dict) or (found.get("format"), found.get("rank")) != (FORMAT, self._world.rank):
            raise CheckpointError(f"its {own(self._world.rank)} is not what a rank saved")
        return found


def _note(body: dict[str, Any], text: str) -> None:
    body["notes"].append(text)
