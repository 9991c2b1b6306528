"""What a checkpoint needs and nobody passed: the schedules of the attached optimizers, where the data stand.

Schedules are found by one look at everything that Python's collector tracks, at the first checkpoint, and held weakly:
on a background thread, unless the run stands still, is being stopped, or its script asks. [60 to 85 ms with 0.3 million
objects, as many as torch alone makes, 100 to 120 ms with 1.3 million; one core.] What `gc.freeze()` took away is not
seen: then pass scheduler=.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from tuimon.instrument.arguments import unwrap
from tuimon.instrument.state import TrainingState

_LOG = logging.getLogger("tuimon")


def look_for(*kinds: type) -> list[Any]:
    """Every live instance of these classes. `isinstance` would ask proxies, which may raise."""
    return [o for o in gc.get_objects() if issubclass(type(o), kinds)]


def outermost(found: Iterable[Any], optimizers: Sequence[Any]) -> list[Any]:
    """The schedules of these optimizers that no other one contains, by optimizer and kind."""
    places = {id(o): i for i, o in enumerate(optimizers)}
    mine = [s for s in found if id(unwrap(getattr(s, "optimizer", None))) in places]
    inner = {id(child) for s in mine for child in getattr(s, "_schedulers", ())}
    return sorted((s for s in mine if id(s) not in inner), key=lambda s: (places[id(unwrap(s.optimizer))], _kind(s)))


def schedules_of(optimizers: Sequence[Any]) -> list[Any]:
    """Those alive now."""
    return outermost(look_for(LRScheduler), optimizers)


def only_scaler() -> Any:
    """The GradScaler of this process, where there is exactly one that is in use."""
    found = [s for s in look_for(GradScaler) if s.is_enabled()]
    return found[0] if len(found) == 1 else None


def only_loader() -> Any:
    """The loader of this process that can be put back to a position, where there is exactly one."""
    found = [o for o in look_for(DataLoader) if hasattr(o, "load_state_dict")]
    return found[0] if len(found) == 1 else None


class Discovery:
    """One run's. `look` may run on any thread, the rest is for the training thread."""

    def __init__(self, state: TrainingState, loader: Any, newest: Callable[[], Any]) -> None:
        """`newest`: the iterator that last fed training, if it can tell where it stands."""
        self._state, self._loader, self._newest = state, loader, newest
        self._is_given = bool(state.schedulers)
        self._has_scaler = state.scaler is not None
        self._found: list[weakref.ref[Any]] = []

    @property
    def is_due(self) -> bool:
        """Whether to look (again): nothing was passed, nothing found, or what was found is gone."""
        return not self._is_given and (not self._found or any(ref() is None for ref in self._found))

    def look(self) -> None:
        """Find the schedules."""
        try:
            self._found = [weakref.ref(s) for s in schedules_of(self._state.optimizers)]
        except Exception as error:  # somebody else's objects: a checkpoint without its schedule is still one
            _LOG.debug("looking for schedules: %s", error)

    def settle(self) -> None:
        """Before a capture: what was found is part of the state."""
        if not self._is_given:
            self._state.schedulers = tuple(s for ref in self._found if (s := ref()) is not None)

    def forget(self) -> None:
        """After it: nothing is kept alive."""
        if not self._is_given:
            self._state.schedulers = ()

    def position(self) -> Any:
        """Where the data stand: of the loader that was passed, else of the one that training reads from."""
        source = self._source()
        try:
            return None if source is None else source.state_dict()
        except Exception as error:  # as above
            _LOG.debug("the loader's position: %s", error)
            return None

    def _source(self) -> Any:
        return self._loader if hasattr(self._loader, "state_dict") else self._newest()

    def parts(self) -> dict[str, str]:
        """What a checkpoint holds besides weights and optimizers, in words."""
        state, source = self._state, self._source()
        return {
            "scheduler": _said(state.schedulers, given=self._is_given) or "none found",
            "scaler": _said((state.scaler,), given=self._has_scaler) or "none found",
            "loader": _said((source,), given=source is self._loader) or "none that tells its position",
        }


def _said(things: Iterable[Any], *, given: bool) -> str:
    kinds = ", ".join(_kind(thing) for thing in things if thing is not None)
    return f"{kinds} ({'given' if given else 'found'})" if kinds else ""


def _kind(thing: Any) -> str:
    return type(thing).__name__.removeprefix("_")
