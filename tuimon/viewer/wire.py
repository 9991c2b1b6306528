"""How frames go from one process to another: of an array that has grown since the last frame, only what is new.

Pure. Both ends keep the arrays of the last message in order; a frame of a long run is 200 kB, and what is new of it 10.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import threading
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

LEAST: Final = 512
"""Bytes below which an array is sent as it is."""
_NAME: Final = "_grown"


class Sender:
    """Writes messages into a pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        import numpy as np

        self._pipe = pipe
        self._lock = threading.Lock()
        """Of a run that is left the last frame may come while the next one's first is sent."""
        self._last: list[Array] = []
        self._now: list[Array] = []
        self._plain: Callable[[Any], Any] = np.ndarray.__reduce__
        self._table = _Reducers({**copyreg.dispatch_table, np.ndarray: self._reduced})

    def send(self, message: object) -> None:
        """OSError where nobody reads any more."""
        with self._lock:
            self._now = []
            buffer = io.BytesIO()
            pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
            pickler.dispatch_table = self._table
            pickler.dump(message)
            self._last = self._now
            self._pipe.write(buffer.getbuffer())
            self._pipe.flush()

    def _reduced(self, array: Array) -> Any:
        if array.nbytes < LEAST or array.ndim == 0 or array.dtype.hasobject:
            return self._plain(array)
        at = len(self._now)
        self._now.append(array)
        kept = _shared(self._last[at], array) if at < len(self._last) else 0
        rest = array[kept:]
        return _grown, (at, kept, array.dtype.str, rest.shape, rest.tobytes())


class _Reducers(dict[type, "Callable[[Any], Any]"]):
    """How each type is taken apart; a record into what it is made of, in a third of the time of its own way."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            parts: Callable[[Any], Any] = tuple
        elif is_dataclass(kind):
            names = [field.name for field in fields(kind)]
            ended = attrgetter(*names, "__class__")   # with one name more it is never without a tuple
            parts = lambda one: ended(one)[:-1]  # noqa: E731  # beside the other way
        else:
            raise KeyError(kind)
        found = self[kind] = lambda one: (kind, parts(one))
        return found


class Receiver(pickle.Unpickler):
    """Reads one message."""

    def __init__(self, pipe: IO[bytes], last: list[Array]) -> None:
        """`last`: the arrays of the message before; those of this one take their place."""
        super().__init__(pipe)
        self._last, self._now = last, []  # type: list[Array], list[Array]

    def receive(self) -> Any:
        """EOFError at the end."""
        found = self.load()
        self.memo.clear()   # it holds `_whole`, and so this and all of the message: a ring
        self._last[:] = self._now
        return found

    def find_class(self, module: str, name: str, /) -> Any:
        """Pickle's own; arrays are put together here."""
        return self._whole if (module, name) == (__name__, _NAME) else super().find_class(module, name)

    def _whole(self, at: int, kept: int, dtype: str, shape: tuple[int, ...], rest: bytes) -> Array:
        import numpy as np

        array: Array = np.frombuffer(rest, np.dtype(dtype)).reshape(shape)
        if kept:
            array = np.concatenate((self._last[at][:kept], array))
        self._now.append(array)
        return array


def _grown(*_: object) -> Any:
    raise pickle.UnpicklingError("only a Receiver puts arrays together")


def _shared(old: Array, new: Array) -> int:
    """How many leading rows both have in common: all that both have, all but the last one, or none."""
    from tuimon.record.stacked import same_bits

    last = min(len(old), len(new)) - 1
    if last < 0 or not same_bits(old[:last], new[:last]):
        return 0
    return last + int(old[last].tobytes() == new[last].tobytes())
