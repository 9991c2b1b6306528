"""The static tensor table of a run and its grouping into layers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tuimon.record.entries import TensorEntry

__all__ = ["TensorEntry", "TensorTable", "layer_of"]

_INDEXED = re.compile(r"^(.*?\.\d+)(?:\.|$)")


def layer_of(name: str) -> str:
    """The layer a tensor belongs to: up to its first index ("blocks.3"), else its first module ("embed")."""
    found = _INDEXED.match(name)
    if found:
        return found.group(1)
    return name.split(".", 1)[0]


@dataclass(frozen=True, slots=True)
class TensorTable:
    """All tensors of a run, in the order of the log's vectors."""

    entries: tuple[TensorEntry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def layers(self) -> dict[str, list[int]]:
        """Layer name -> indices into the vectors, in order of first appearance; trained tensors only."""
        found: dict[str, list[int]] = {}
        for i, entry in enumerate(self.entries):
            if entry.trained:
                found.setdefault(layer_of(entry.name), []).append(i)
        return found
