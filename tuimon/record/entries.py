"""What `run.json` lists of a run: its tensors and its probes. Values; no numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One parameter tensor, as `run.json` lists it."""

    name: str
    """Dotted parameter name, e.g. "blocks.3.mlp.fc2.weight"."""
    shape: tuple[int, ...]
    dtype: str
    trained: bool = True
    """Whether an optimizer holds it and it requires a gradient."""

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class ProbeEntry:
    """One probe, as `run.json` lists it."""

    module: str
    """Dotted module name, e.g. "blocks.3.attn"; "" is the model itself."""
    quantity: str
    """One of QUANTITIES; a reader leaves alone what it does not know."""
