"""Words for what a script handed over or raised: whatever it is, saying so must not raise, nor take long. Pure."""

from __future__ import annotations

from collections.abc import Callable
from reprlib import Repr
from typing import Any, Final

_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def shown(value: Any) -> str:
    """A value, at most 60 characters: of a container only its beginning is looked at, of an array only its shape."""
    shape = _tried(lambda: getattr(value, "shape", None))
    if isinstance(shape, tuple):
        return f"{type(value).__name__} of shape {tuple(shape)}"[:60]  # its numbers may be on a device
    return (_tried(lambda: _SHORT.repr(value)) or type(value).__name__)[:60]


def told(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join((_tried(lambda: str(error)) or "").split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def _tried(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:  # the script's own code
        return None
