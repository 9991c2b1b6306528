"""What runs inside a script's process before the script: a watch for torch's optimizers, and nothing else.

Loads no torch, and nothing of the instrument until the script has made an optimizer: scripts choose devices and threads
first. Nothing here may raise into the script, or show in it.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from tuimon.record import claim

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from tuimon.instrument.discover import Search

OPTIMIZERS: Final = "torch.optim.optimizer"
_search: list[Search] = []
"""The one of this process, once there is an optimizer."""


def begin() -> None:
    """Put the environment back, keep the run directory for this process, wait for torch."""
    for name, value in json.loads(os.environ.pop("TUIMON_BOOT", "{}")).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    claim.reserve()
    if claim.reserved() is not None:
        sys.meta_path.insert(0, AfterImport(OPTIMIZERS, remember_optimizers))


class AfterImport:
    """A finder for sys.meta_path: calls `then` with a module once the script's own import has executed it."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name, self._then = name, then

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None,
                  ) -> ModuleSpec | None:
        """What the others find, with its loader told to call back."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # its class has the real one
            execute(module)
            try:
                self._then(module)
            except Exception as error:
                complain("nothing is recorded", error)

        loader.exec_module = exec_module


def remember_optimizers(module: ModuleType) -> None:
    """Have each optimizer told to the search when it is made or unpickled. In this process: not in forked children."""
    pid = os.getpid()
    for name in ("__init__", "__setstate__"):
        setattr(module.Optimizer, name, _told(getattr(module.Optimizer, name), pid))


def _told(original: Callable[..., None], pid: int) -> Callable[..., None]:
    @functools.wraps(original)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if os.getpid() == pid:
            try:
                search().made(self)
            except Exception as error:
                complain("an optimizer is not watched", error)

    return made


def search() -> Search:
    """The search of this process. The first call loads the instrument."""
    if not _search:
        from tuimon.instrument.discover import Search

        _search.append(Search())
    return _search[0]


def complain(what: str, error: Exception) -> None:
    """One line on the script's console; training goes on."""
    from tuimon.record.printing import mention

    mention(f"tuimon: {what}, the script goes on: {type(error).__name__}: {error}")
