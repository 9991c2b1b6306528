"""Whether the model still consists of the tensors that its optimizer steps.

load_state_dict(assign=True) puts new parameters into a model, and the optimizer goes on with the old ones: every step
then changes tensors that nothing uses, and no number shows it. Looks at two of them per step: attribute reads only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from torch import nn

PATIENCE: Final = 2
"""Boundaries that a script gets to give its optimizer the new ones."""


class Drift:
    """One attached run's look at its model."""

    def __init__(self, model: nn.Module, held: Collection[int]) -> None:
        """`held`: the ids of the tensors that the optimizers hold."""
        found = [(m, n) for m in model.modules() for n, p in m._parameters.items() if id(p) in held]  # noqa: SLF001  # where torch keeps them, replaced or not
        self._places = list(dict.fromkeys([*found[:1], *found[-1:]]))
        self._seen = 0

    def has_begun(self, held: Collection[int]) -> bool:
        """At a boundary: True once, when parameters have been others than the held ones for some boundaries."""
        for module, name in self._places:
            parameter = module._parameters.get(name)  # noqa: SLF001
            if parameter is not None and id(parameter) not in held:
                self._seen += 1
                return self._seen == PATIENCE
        return False
