"""What several ranks save together is resumed, bit for bit, by as many, by fewer and by one; a rank that dies costs nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import tuimon
from tests.ranks import shelving
from tests.ranks.launching import PATIENCE, launch, start
from tests.ranks.measuring import net
from tuimon.cli import main
from tuimon.record.manifest import listed
from tuimon.record.rundir import RunDir

SCRIPT = Path(shelving.__file__)
Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelving")


@pytest.fixture(scope="module")
def two(place: Path) -> Found:
    """Two ranks that saved and went on, and others that resumed."""
    return launch(SCRIPT, place, ["save-ddp", "save-fsdp", "resume-ddp", "resume-fsdp", "resume-fsdp@ddp", "alone-0"], 2)


def saved(found: Found, wrap: str) -> dict[str, Any]:
    told = found[0][f"save-{wrap}"]
    assert told["answer"].startswith("applied saved as ")
    return told


def as_one(place: Path, wrap: str) -> tuple[int, str]:
    """Resumed by a process without ranks."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)
    info = tuimon.resume(place / wrap, model, optimizer, scheduler=schedule)
    assert schedule.last_epoch == info.step
    return info.step, shelving.fingerprint(model, optimizer)


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_as_many_ranks_go_on_bit_for_bit_each_with_its_own_random_numbers(two: Found, wrap: str) -> None:
    told = saved(two, wrap)
    for one in two:
        resumed = one[f"resume-{wrap}"]
        assert resumed["notes"] == []
        assert len(resumed["prints"]) == 1 + shelving.AFTER
        assert resumed["prints"].items() <= told["prints"].items()
        assert resumed["draws"].items() <= one[f"save-{wrap}"]["draws"].items()


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_one_process_goes_on_from_what_two_ranks_saved(two: Found, place: Path, wrap: str) -> None:
    step, found = as_one(place, wrap)
    assert found == saved(two, wrap)["prints"][str(step)]


def test_shards_become_replicas(two: Found) -> None:
    told = saved(two, "fsdp")["prints"]
    for one in two:
        resumed = one["resume-fsdp@ddp"]
        assert resumed["prints"][str(resumed["step"])] == told[str(resumed["step"])]


def test_a_rank_that_resumes_alone_is_told_who_is_missing(two: Found) -> None:
    assert two[0]["alone-0"] == "rank 1 has not said within 0 s whether it can resume: every rank has to call it"


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_it_is_listed_and_verified_like_any_other(
    two: Found, place: Path, wrap: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert saved(two, wrap)
    assert main(["checkpoints", str(place / wrap), "--verify", "--json"]) == 0
    [one] = json.loads(capsys.readouterr().out)["checkpoints"]
    assert (one["ranks"], one["verified"], one["problem"]) == (2, True, "")
    [info] = listed(RunDir(place / wrap).checkpoints)
    shard = info.path / "__0_0.distcp"
    whole = shard.read_bytes()
    shard.write_bytes(b"")
    status = main(["checkpoints", str(place / wrap), "--verify"])
    shard.write_bytes(whole)   # others go on from it, in any order
    assert status == 3
    assert "its __0_0.distcp has 0 bytes" in capsys.readouterr().out


@pytest.mark.nightly
def test_what_four_ranks_saved_two_and_one_go_on_from(tmp_path: Path) -> None:
    wraps = ["ddp", "fsdp", "hsdp"]
    four = launch(SCRIPT, tmp_path, [f"save-{wrap}" for wrap in wraps] + [f"resume-{wrap}" for wrap in wraps], 4)
    for wrap in wraps:
        for one in four:   # from there on sums of four are not bit for bit: DDP orders its buckets anew
            resumed, told = one[f"resume-{wrap}"], saved(four, wrap)["prints"]
            assert resumed["prints"][str(resumed["step"])] == told[str(resumed["step"])]
            assert resumed["draws"].items() <= one[f"save-{wrap}"]["draws"].items()
    names = [f"resume-{wrap}" for wrap in wraps] + ["resume-hsdp@fsdp", "resume-ddp@hsdp"]
    for size in (2, 1):
        for one in launch(SCRIPT, tmp_path, [n for n in names if size > 1 or "hsdp" not in n.partition("-")[2].split("@")[-1]], size):
            for name, resumed in one.items():
                told = saved(four, name.removeprefix("resume-").split("@")[0])["prints"]
                assert resumed["prints"][str(resumed["step"])] == told[str(resumed["step"])], (size, name)
    for wrap in wraps:
        step, found = as_one(tmp_path, wrap)
        assert found == saved(four, wrap)["prints"][str(step)]
    more = launch(SCRIPT, tmp_path, ["resume-fsdp"], 3)
    assert {one["resume-fsdp"]["prints"][str(one["resume-fsdp"]["step"])] for one in more} == {
        saved(four, "fsdp")["prints"][str(more[0]["resume-fsdp"]["step"])]}


@pytest.mark.nightly
@pytest.mark.parametrize("who", [0, 1, 2])
def test_a_rank_that_is_killed_while_it_saves_costs_no_earlier_checkpoint(tmp_path: Path, who: int) -> None:
    ranks = start(SCRIPT, tmp_path, [f"dies-{who}"], 3)
    try:
        said = [process.communicate(timeout=PATIENCE)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert ranks[who].returncode == -signal.SIGKILL, said
    kept = listed(RunDir(tmp_path / f"dies-{who}").checkpoints)
    assert [info.problem for info in kept] == [""]
    assert main(["checkpoints", str(tmp_path / f"dies-{who}"), "--verify"]) == 0
    if who:
        found = json.loads((tmp_path / "found-0.json").read_text())[f"dies-{who}"]
        assert found["left"] == []
        assert f"refused not saved: rank {who} has died" in found["answers"].values()
