"""What a layout has read of a frame: while that stays, it would say the same again. Pure."""

from __future__ import annotations

from typing import Any, Final

from tuimon.viewer.views import Frame, differs

PARTS: Final = frozenset({"header", "facts"})
"""Of a frame: of these it is told apart which fields were read, as some are new in every frame."""


class Noted:
    """Stands for a frame, or a part of one, and keeps what was read of it."""

    __slots__ = ("_read", "_whole")

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self._read: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self._read:
            value = getattr(self._whole, name)
            self._read[name] = Noted(value) if name in PARTS else value
        return self._read[name]

    def stays(self, newer: Any) -> bool:
        """Whether all that was read is the same in a newer one."""
        return not any(
            not value.stays(getattr(newer, name)) if isinstance(value, Noted)
            else differs(name, value, getattr(newer, name)) for name, value in self._read.items())


def noting(frame: Frame) -> tuple[Frame, Noted]:
    """A frame to read, and what will have been read of it."""
    noted = Noted(frame)
    return noted, noted   # type: ignore[return-value]  # it has whatever a frame has
