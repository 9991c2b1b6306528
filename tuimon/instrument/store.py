"""A run's checkpoints with what only `attach` was given: the loader, whose position belongs into them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from tuimon.instrument.checkpoints import CheckpointInfo, Checkpoints
from tuimon.instrument.host import Captured

_LOG: Final = logging.getLogger("tuimon")


class Store:
    """Where steering saves. `remember` is for the training thread, `save` for the background."""

    def __init__(self, checkpoints: Checkpoints, loader: Any) -> None:
        self._checkpoints, self._loader = checkpoints, loader
        self._position: Any = None

    def remember(self) -> None:
        """At a boundary where a command waits: where the loader stands, if it can say so (StatefulDataLoader)."""
        tell = getattr(self._loader, "state_dict", None)
        if tell is None:
            return
        try:
            self._position = tell()
        except Exception as error:  # somebody else's loader: a checkpoint without its position is still one
            self._position = None
            _LOG.debug("the loader's position: %s", error)

    def save(self, captured: Captured, step: int, *, attempt: int, overrides: Mapping[str, Any]) -> CheckpointInfo:
        """Write what was captured, durable on return; raises CheckpointError."""
        return self._checkpoints.save(
            captured, step, attempt=attempt, overrides=overrides, loader=self._position,
        )
