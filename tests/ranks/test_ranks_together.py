"""Ranks that write one checkpoint together: nobody waits for ever, and what cannot be whole is not published."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

from tuimon.errors import CheckpointError
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.ranks import chunks
from tuimon.instrument.ranks.council import Council
from tuimon.instrument.ranks.layouts import Layout, layouts_of, whole
from tuimon.instrument.ranks.together import Part, Together
from tuimon.instrument.ranks.world import Board, World
from tuimon.instrument.snapshots import capture_copy
from tuimon.instrument.state import TrainingState, random_state

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="this torch has no torch.distributed")
FULL = torch.arange(12.0).reshape(6, 2)


class Pair:
    """Two ranks of one process; the second speaks as it is told to."""

    def __init__(self, folder: Path, *, gone: str = "", parted: str = "", patience: float = 60.0, farewell: float = 60.0) -> None:
        store = distributed.HashStore()
        self.store = Checkpoints(folder)
        self.ends = [Together(
            Board(World(k, 2, k), store), World(k, 2, k), gone=lambda k: gone if k else "", parted=lambda: parted,
            patience=patience, farewell=farewell) for k in range(2)]

    def part(self, rank: int) -> Part:
        layout = Layout((6, 2), (3 * rank, 0), (3, 2))
        mine = {"random": random_state(), "loader": None} if rank else {}
        return Part("a", {"x": FULL[3 * rank:][:3]}, {"x": layout}, mine)

    def save(self, *, spare: bool = False) -> Any:
        """As rank 0 does."""
        torch.manual_seed(0)
        net = nn.Linear(2, 2)
        state = TrainingState(net, torch.optim.SGD(net.parameters(), 0.1))
        try:
            found = self.store.save(capture_copy(state, 3), 3, beside=self.ends[0].host(self.part(0), spare=spare))
        except CheckpointError as error:
            self.ends[0].finish("a", why=f"rank 0: {error}")
            raise
        self.ends[0].finish("a", id=found.id)
        return found

    def beside(self, what: Callable[[Together], Any]) -> list[Any]:
        """On rank 1, at the same time; what came of it."""
        said: list[Any] = []

        def do() -> None:
            try:
                said.append(what(self.ends[1]))
            except CheckpointError as error:
                said.append(str(error))

        self.thread = threading.Thread(target=do)
        self.thread.start()
        return said


def test_both_write_and_hear_what_became_of_it(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    said = pair.beside(lambda end: end.join(pair.part(1)))
    info = pair.save()
    pair.thread.join()
    assert said[0].id == info.id
    assert torch.equal(pair.store.load(info.id)["tensors"]["x"], FULL)
    pair.store.verify(info.id)


@pytest.mark.parametrize(("how", "why"), [
    ({"gone": "has died"}, "rank 1 has died"),
    ({"patience": 0.05}, "rank 1 has not said what it wrote: it takes too long"),
    ({"parted": "the run has ended", "farewell": 0.05}, "rank 1 has not said what it wrote: the run has ended"),
], ids=["died", "silent", "left"])
def test_a_rank_that_writes_nothing_is_named_and_nothing_is_left_of_it(tmp_path: Path, how: Any, why: str) -> None:
    pair = Pair(tmp_path, **how)
    with pytest.raises(CheckpointError, match=why):
        pair.save()
    assert os.listdir(tmp_path) == []
    with pytest.raises(CheckpointError, match=why):   # who comes later hears of it, and does not wait
        pair.ends[1].join(pair.part(1))


def test_who_holds_all_there_is_writes_alone_where_another_fails(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    said = pair.beside(lambda end: end.excuse("a", "no memory for a copy"))
    info = pair.save(spare=True)
    pair.thread.join()
    assert said == [None]
    assert info.world == 1
    assert sorted(os.listdir(info.path)) == ["manifest.json", "state.pt"]
    assert b"rank 0 alone: rank 1: no memory for a copy" in (info.path / "manifest.json").read_bytes()


def test_a_directory_that_is_not_seen_from_another_host_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuimon.instrument.ranks import together

    monkeypatch.setattr(together, "ARRIVAL", 0.05)
    pair = Pair(tmp_path)
    monkeypatch.setattr(Path, "is_dir", lambda path: ".tmp-" not in str(path))
    said = pair.beside(lambda end: end.join(pair.part(1)))
    with pytest.raises(CheckpointError, match=r"rank 1: rank 0 saves in .* which cannot be reached from here"):
        pair.save()
    pair.thread.join()
    assert "cannot be reached from here" in said[0]


def test_parts_that_do_not_make_a_whole_are_no_checkpoint(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    again = Part("a", {"x": FULL[:3]}, {"x": Layout((6, 2), (0, 0), (3, 2))}, {"random": None, "loader": None})
    said = pair.beside(lambda end: end.join(again))
    with pytest.raises(CheckpointError, match="the parts of x do not make a whole"):
        pair.save()
    pair.thread.join()
    assert "do not make a whole" in said[0]
    assert os.listdir(tmp_path) == []


def test_ranks_that_resume_take_what_all_can_read(tmp_path: Path) -> None:
    store = distributed.HashStore()
    ends = [Council(World(k, 2, k), Board(World(k, 2, k), store, about="resume")) for k in range(2)]
    said: list[Any] = []

    def other() -> None:
        end = ends[1]
        said.extend([end.choose(["nothing"]), end.agree("it is damaged"), end.agree("", "b"), end.agree("no"), end.agree("", "a")])

    thread = threading.Thread(target=other)
    thread.start()
    mine = [ends[0].choose(["new", "old"]), ends[0].agree(""), ends[0].agree("", "a"), ends[0].agree("no"), ends[0].agree("", "a")]
    thread.join()
    assert mine == said == [["new", "old"], "rank 1: it is damaged", "the ranks see different checkpoints by that name", "no", ""]


def test_an_optimizer_that_keeps_parts_as_plain_tensors_is_not_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuimon.instrument.ranks import layouts

    net = nn.Linear(4, 3, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    optimizer.state[net.weight]["mine"] = torch.zeros(2, 4)
    optimizer.state[net.weight]["sums"] = torch.zeros(3)
    shard = Layout((6, 4), (3, 0), (3, 4))
    monkeypatch.setattr(layouts, "part_of", lambda t: shard if t is net.weight else whole(t.shape))
    monkeypatch.setattr(layouts, "copies_of", lambda _, params: [[] for _ in params])
    monkeypatch.setattr(layouts, "copies_beside", lambda *_: [])
    with pytest.raises(CheckpointError, match="opt/0/weight/mine may be a part or the whole"):
        layouts_of(net, TrainingState(net, optimizer), World(0, 2))
    optimizer.state[net.weight] = {"mine": torch.zeros(3, 4)}   # as large as what is here: that is what it is of
    assert layouts_of(net, TrainingState(net, optimizer), World(0, 2))["opt/0/weight/mine"] == shard
    assert chunks.shards(3) == "__3_0.distcp"
