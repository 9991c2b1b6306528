"""Whether the ranks can be counted on to take the same steps: only then one may wait for another at a boundary.

Training itself holds them together where each step meets the other ranks, which shows in the number of collectives
that its groups have begun. A step that met nobody (`no_sync`, a trial on the module within its wrapper) may have been
taken by one rank alone; from where `Join` begins on, one may run out of data. Reads counters, and never communicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuimon.instrument.ranks.shares import groups_of, wrappers_of
from tuimon.instrument.weakly import Weak

JOIN: Final = "its ranks may run out of data at different steps (Join)"
ALONE: Final = "a rank took a step that met no other"


class Steps:
    """Of one rank. Holds wrappers and groups weakly."""

    def __init__(self, model: nn.Module, params: Sequence[Tensor]) -> None:
        self._wrappers, self._groups = Weak(wrappers_of(model, params)), Weak(groups_of(model, params))
        self._before: list[int] = []

    def begun(self) -> Mapping[str, int]:
        """By group (its ranks, as 0-1-2), how many collectives it has begun: steps that ranks count differently."""
        return {"-".join(map(str, torch.distributed.get_process_group_ranks(group))): _count(group)
                for _, group in self._groups.living()}

    def joins(self) -> str:
        """Why a rank may run out of data just now; "" where it may not. All ranks enter Join between two steps."""
        return JOIN if any(getattr(getattr(wrapper, "_join_config", None), "enable", False)
                           for _, wrapper in self._wrappers.living()) else ""

    def uneven(self) -> str:
        """At each boundary: why the ranks may be at different ones; "" where they are not."""
        before, self._before = self._before, [_count(group) for _, group in self._groups.living()]
        stands = any(before) and len(before) == len(self._before) and before == self._before
        return self.joins() or (ALONE if stands else "")


def _count(group: Any) -> int:
    with suppress(RuntimeError, ValueError):   # a kind of group that does not count
        return int(group._get_sequence_number_for_group())  # noqa: SLF001  # no public word
    return 0
