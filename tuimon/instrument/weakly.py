"""Objects of the script that tuimon must not keep alive: a sequence that forgets. Attaching prolongs no lifetime."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class Weak(Sequence[T]):
    """As many items as it was given. One that the script has let go of raises ReferenceError when it is asked for."""

    def __init__(self, items: Iterable[T]) -> None:
        self._refs = [_reference(item) for item in items]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        """The item, or a list of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        item = self._refs[index]()
        if item is None:
            raise ReferenceError("the script has let go of it")
        return item

    def __len__(self) -> int:
        return len(self._refs)

    def living(self) -> Iterator[tuple[int, T]]:
        """(index, item) of those that are still there."""
        for index, ref in enumerate(self._refs):
            item = ref()
            if item is not None:
                yield index, item


def _reference(item: T) -> Callable[[], T | None]:
    try:
        return weakref.ref(item)
    except TypeError:  # a class with slots and none for it
        return lambda: item
