"""Replicas that have come apart are named, from one bit on; those that have not are never accused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.ranks import twins
from tests.ranks.launching import launch
from tuimon.diagnosis.judging import judge
from tuimon.diagnosis.model import Incident
from tuimon.formats.read import read_run
from tuimon.instrument.ranks import checksums
from tuimon.instrument.ranks.checksums import EVERY, Checksums
from tuimon.record.rundir import RunDir

SCRIPT = Path(twins.__file__)
HEALTHY = ["ddp", "ddp-accumulates-clips"]


def seen(place: Path) -> tuple[dict[int, float], list[Incident]]:
    """How many ranks differed, by the steps at which they were looked at; and what is said of it."""
    recording = read_run(RunDir(place))
    looks = {int(s): float(v) for c in recording.chunks for s, v in zip(*c.measured("strays"), strict=True)}
    return looks, [i for i in judge(recording.chunks, recording.context).incidents if i.rule == "desynchronised-replicas"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("twins")
    launch(SCRIPT, place, [*HEALTHY, "fsdp", "ddp-bit"], 2)
    return place


@pytest.mark.parametrize("name", HEALTHY)
def test_replicas_that_are_alike_are_looked_at_and_not_accused(two: Path, name: str) -> None:
    looks, told = seen(two / name)
    assert len(looks) >= 5
    assert set(looks.values()) == {0.0}
    assert set(np.array(list(looks)) % EVERY) == {0}
    assert not told


def test_shards_that_nobody_else_holds_are_not_compared(two: Path) -> None:
    assert seen(two / "fsdp") == ({}, [])


def test_one_bit_on_one_rank_is_found_with_rank_step_and_layer(two: Path) -> None:
    looks, [told] = seen(two / "ddp-bit")
    first = min(step for step, odd in looks.items() if odd)
    assert all(not odd for step, odd in looks.items() if step <= twins.APART)
    assert (told.onset_step, told.state, told.severity) == (first, "open", "critical")
    assert told.why.startswith("Rank 1 holds other weights")
    assert told.layer is not None


@pytest.mark.nightly
def test_four_ranks_two_of_which_hold_each_shard(tmp_path: Path) -> None:
    healthy = ["ddp", "ddp-accumulates-clips", "ddp-sgd", "hsdp", "hsdp-clips"]
    launch(SCRIPT, tmp_path, [*healthy, "hsdp-bit", "ddp-bit"], 4)
    for name in healthy:
        looks, told = seen(tmp_path / name)
        assert len(looks) >= 5
        assert (set(looks.values()), told) == ({0.0}, []), name
    for name in ("hsdp-bit", "ddp-bit"):
        _, [told] = seen(tmp_path / name)
        assert told.why.startswith("Rank 3 holds other weights"), name


class Alike(Checksums):
    """As if this process were one of two."""

    def __init__(self, *params: torch.Tensor) -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(checksums, "twins_of", lambda _, params: [(0, 1)] * len(params))
        super().__init__(nn.Module(), params, range(len(params)), [])
        patch.undo()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_every_element_is_looked_at_in_the_end_and_its_last_bit_counts(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mine = torch.randn(3 * checksums.SAMPLE + 7).to(dtype)
    steps = [EVERY * k for k in range(1, 9)]

    def sums(tensor: torch.Tensor) -> list[Any]:
        return [float(Alike(tensor).of(step)["checksum"]) for step in steps]

    usual = sums(mine)
    assert all(0 <= value < 1 << 48 and value == int(value) for value in usual)
    for at in (0, 1, 2, 300, 3 * checksums.SAMPLE - 1):
        other = mine.clone()
        other[at : at + 1].view(torch.int16)[:1].bitwise_xor_(1)
        assert sums(other) != usual, at
    assert sums(mine.clone()) == usual
    swapped = mine.clone()
    swapped[[0, 3]] = mine[[3, 0]]
    assert sums(swapped) != usual   # a sum that did not know the places would be the same


def test_what_is_not_a_number_is_the_same_in_all_its_forms() -> None:
    one, other = torch.full((4,), float("nan")), -torch.full((4,), float("nan"))
    assert Alike(one).of(8)["checksum"] == Alike(other).of(8)["checksum"]


def test_nothing_is_due_between_looks_and_each_tensor_has_its_turn() -> None:
    mine = Alike(torch.ones(3), torch.ones(5))
    assert [mine.of(step) != {} for step in range(1, 17)] == [step % EVERY == 0 for step in range(1, 17)]
    assert {mine.of(EVERY * k)["checked_tensor"] for k in range(2)} == {0.0, 1.0}
