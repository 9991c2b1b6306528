"""Which rank of how many this process is, and the store by which ranks find each other. Never waits for another rank.

The store is the one that torch.distributed was started with: it is there before the first collective, also on hosts
that share no disk, and a look into it is a round trip, not a wait.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import torch

_COUNT: Final = itertools.count()


@dataclass(frozen=True, slots=True)
class World:
    """The ranks that train together, as seen by one of them."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of its host."""
    serial: int = 0
    """Which of this process's attached runs: ranks that attach two models do so in the same order."""

    @property
    def is_many(self) -> bool:
        """Whether there is anybody else."""
        return self.size > 1


def world_size() -> int:
    """Ranks that train together; 1 where torch.distributed was not started."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def here() -> World:
    """The world at this moment; of one where torch.distributed was not started. Counts on with each call."""
    return own_world(_COUNT)


def own_world(count: Iterator[int]) -> World:
    """The same by another count."""
    size = world_size()
    if size == 1:
        return World()
    rank = torch.distributed.get_rank()
    return World(rank, size, _whole(os.environ.get("LOCAL_RANK"), rank), next(count))


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() else otherwise


class Board:
    """Notes that all ranks of one attached run can read: words by name. RuntimeError where the store is gone."""

    def __init__(self, world: World, store: Any = None, about: str = "") -> None:
        """store: of torch.distributed; None: the one that it was started with. about: what is not a run's own."""
        # the only name of the second, within torch as well
        from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = _get_default_store() if store is None else store
        self._store: Any = PrefixStore(f"tuimon/{restart}/{about}{world.serial}", store)

    def put(self, name: str, note: str) -> None:
        """Leave a note."""
        self._store.set(name, note)

    def look(self, name: str) -> str | None:
        """The note of that name, None where there is none yet: one look, no wait."""
        return self._store.get(name).decode() if self._store.check([name]) else None

    def drop(self, name: str) -> None:
        """Take a note away that nobody looks for any more."""
        self._store.delete_key(name)

    def apart(self) -> Board:
        """The same by another connection, where there can be one: for another thread.

        torch waits on a connection, and whoever waits on one keeps all others off.
        """
        found = object.__new__(Board)
        found._store = store = self._store
        with suppress(AttributeError, RuntimeError):   # an older torch, or a kind of store that has one connection
            found._store = store.clone()
        return found

    def under(self, name: str) -> Any:
        """A store of its own for what torch itself writes, such as the addresses of a group."""
        from torch.distributed.distributed_c10d import PrefixStore

        return PrefixStore(name, self.apart()._store)  # noqa: SLF001  # of the same class
