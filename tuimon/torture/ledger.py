"""What a training has really done, told past tuimon: a file that the training and its torturer both have in memory.

It survives every death of the training, and no recording of ours is asked. Touches the disk.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("<qqq")
_STEP: Final = struct.Struct("<dd")
MOST: Final = 1 << 17
"""Steps that fit: at a thousand a second, two minutes."""


class Ledger:
    """Steps done, each with its loss and its moment; and one word from the torturer to the training."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        if fresh:
            with open(path, "xb") as file:
                os.ftruncate(file.fileno(), _HEAD.size + MOST * _STEP.size)
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.path = path

    @property
    def steps(self) -> int:
        """Steps done."""
        return int(_HEAD.unpack_from(self._memory)[0])

    @property
    def is_held(self) -> bool:
        """Whether what the training waits for, or hangs in, has not been let go."""
        return bool(_HEAD.unpack_from(self._memory)[1])

    @is_held.setter
    def is_held(self, value: bool) -> None:
        struct.pack_into("<q", self._memory, 8, int(value))

    @property
    def counted(self) -> int:
        """How often something happened that the training was asked to count."""
        return int(_HEAD.unpack_from(self._memory)[2])

    def count(self) -> None:
        """It happened once more."""
        struct.pack_into("<q", self._memory, 16, self.counted + 1)

    def done(self, loss: float) -> None:
        """One more step. The number goes last: what it counts is there."""
        steps = self.steps
        _STEP.pack_into(self._memory, _HEAD.size + steps * _STEP.size, loss, time.monotonic())
        struct.pack_into("<q", self._memory, 0, steps + 1)

    def loss(self, step: int) -> float:
        """Of the step of that number, from 1."""
        return float(_STEP.unpack_from(self._memory, _HEAD.size + (step - 1) * _STEP.size)[0])

    def moment(self, step: int) -> float:
        """When that step was done, by the monotonic clock."""
        return float(_STEP.unpack_from(self._memory, _HEAD.size + (step - 1) * _STEP.size)[1])

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
