"""Growing arrays. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Column:
    """A growing array: room for half as many again, views without copies. The first axis grows."""

    __slots__ = ("_data", "size")

    def __init__(self, dtype: Any, width: tuple[int, ...] = (), room: int = 256) -> None:
        self._data: NDArray[Any] = np.zeros((room, *width), dtype)
        self.size = 0

    @staticmethod
    def of(values: NDArray[Any]) -> Column:
        """A column that begins with these, which it may change."""
        found = Column(values.dtype, values.shape[1:], 0)
        found._data, found.size = values, len(values)
        return found

    def extend(self, values: NDArray[Any]) -> None:
        """Append along the first axis."""
        need = self.size + len(values)
        if need > len(self._data):
            grown = np.empty((max(need, self.size + self.size // 2), *self._data.shape[1:]), self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown
        self._data[self.size:need] = values
        self.size = need

    def cut(self, size: int) -> None:
        """Forget what lies after the first `size`."""
        self.size = size

    def drop(self, count: int) -> None:
        """Forget the first `count`, and give their memory back."""
        self._data = self._data[count:self.size].copy()
        self.size = len(self._data)

    @property
    def view(self) -> NDArray[Any]:
        """What it holds, (size, ...). Changes with the column."""
        return self._data[: self.size]
