"""What one rank is told all do at the same step, or none: and nobody waits for a rank that is not there."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.ranks import obeying
from tests.ranks.launching import PATIENCE, launch, start

SCRIPT = Path(obeying.__file__)
SCENES = ["early", "seam-ddp", "seam-fsdp", "seam-fsdp-clip", "held", "shuffled", "only-0", "only-1", "late", "uncoupled", "joined", "trial", "teams", "unstarted", "unwrapped",
          "leaves", "lacking", "interrupted", "guarded"]
ALONE = "refused this run trains on 2 ranks, of which one alone would act: "
UNKNOWN = ("the weights are spread over the ranks, none of which knows the norm, "
           "and the script does not clip all gradients by it itself")

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two ranks found, by scene."""
    return launch(SCRIPT, tmp_path_factory.mktemp("obeying"), SCENES, 2)


def alike(found: Found, scene: str, *, replicas: bool = True) -> list[Any]:
    """What all ranks have done, at which steps: the same, with the same weights in the end."""
    told = [one[scene] for one in found]
    assert all(one["step"] == told[0]["step"] and one["applied"] == told[0]["applied"] for one in told)
    assert len({one["weights"] for one in told}) == 1 or not replicas
    return told[0]["applied"]  # type: ignore[no-any-return]


def answers(found: Found, scene: str) -> list[list[str]]:
    return found[0][scene]["answers"]  # type: ignore[no-any-return]


def test_before_the_ranks_have_met_what_one_may_not_do_alone_is_refused(two: Found) -> None:
    assert answers(two, "early") == [["hold", f"{ALONE}the ranks have not met yet"]]


def test_replicas_obey_at_the_same_step_and_stay_alike(two: Found) -> None:
    done = [verb for verb, _ in alike(two, "seam-ddp")]
    assert done == ["set-lr-scale", "rollback", "set-clip", "rescue", "undo-overrides", "stop"]
    told = [why for _, why in answers(two, "seam-ddp")]
    assert told[1].startswith("refused no snapshot of step 7; there are: 0, 20")
    assert told[3].startswith("applied saved as ")
    assert [why for k, why in enumerate(told) if k not in (1, 3)] == ["applied"] * 6
    (norm,) = two[0]["seam-ddp"]["norms"]
    assert norm > 0   # of the step at which it was rescued: each replica knows it


@pytest.mark.parametrize("scene", ["seam-fsdp", "seam-fsdp-clip"])
def test_shards_obey_at_the_same_step_and_no_rank_clips_by_the_norm_of_its_own(two: Found, scene: str) -> None:
    done = [verb for verb, _ in alike(two, scene, replicas=False)]
    may_clip = scene == "seam-fsdp-clip"   # the script does, by a norm that torch adds up: its limit is lowered
    assert done == ["set-lr-scale", "rollback", *["set-clip"] * may_clip, "rescue", "undo-overrides", "stop"]
    told = dict(answers(two, scene))
    assert told["checkpoint"].startswith("applied saved as ")
    assert told["set-clip"] == ("applied" if may_clip else f"refused {UNKNOWN}")


def test_held_all_stand_at_the_same_step_and_obey_there(two: Found) -> None:
    applied = alike(two, "held")
    assert [verb for verb, _ in applied] == ["hold", "set-lr-scale", "rollback", "resume"]
    assert len({step for _, step in applied}) == 1


def test_twenty_orders_at_any_time_leave_replicas_bitwise_alike(two: Found) -> None:
    applied = alike(two, "shuffled")
    assert len(applied) >= obeying.ORDERS
    assert {why for _, why in answers(two, "shuffled")} == {"applied"}


def test_what_one_rank_cannot_put_back_none_does(two: Found) -> None:
    assert [verb for verb, _ in alike(two, "lacking")] == ["set-lr-scale"]
    told = [why for _, why in answers(two, "lacking")]
    assert "rank 1: the snapshot of step " in told[0]
    assert "holds non-finite values" in told[0]
    assert told[1:] == [
        "refused rank 1: no snapshot has earned its health, and the initial weights are not kept", "applied"]


def test_where_tuimon_is_not_attached_on_all_ranks_no_order_is_followed_and_nobody_waits(two: Found) -> None:
    assert answers(two, "only-0") == [["hold", f"{ALONE}tuimon is not attached on rank 1"]]
    assert two[0]["only-0"]["notes"] == [
        "tuimon is not attached on rank 1: what needs all ranks is not known; attach on every rank"]
    assert two[0]["only-1"]["step"] == 40
    assert answers(two, "late") == [["hold", f"{ALONE}tuimon was attached at another step on rank 1"]]


def test_ranks_that_nothing_holds_together_do_not_wait_for_each_other(two: Found) -> None:
    assert [one["uncoupled"]["step"] for one in two] == [4, 40]


def test_a_rank_that_takes_steps_by_itself_is_not_waited_for_and_waits_for_nobody(two: Found) -> None:
    assert two[1]["trial"]["step"] == two[0]["trial"]["step"] + 5
    assert answers(two, "trial") == [["hold", f"{ALONE}another rank meets the others no more"]]
    assert all(one["trial"]["seconds"] < 30 for one in two)


def test_groups_that_train_apart_do_not_wait_for_each_other(two: Found) -> None:
    assert [one["teams"]["step"] - two[0]["teams"]["step"] for one in two] == [0, 20]
    assert answers(two, "teams") == [["hold", f"{ALONE}its ranks train in groups that nothing holds together"]]


def test_ranks_that_may_run_out_of_data_at_different_steps_do_not_wait_for_each_other(two: Found) -> None:
    told = answers(two, "joined")
    assert told == [["hold", f"{ALONE}its ranks may run out of data at different steps (Join)"]]
    assert all(one["joined"]["seconds"] < 30 for one in two)   # half of what the lane would wait


def test_attached_before_there_were_ranks_one_does_nothing_by_itself_and_says_why(two: Found) -> None:
    told = ("refused tuimon was attached before torch.distributed was started: this is rank 0 of 2 by itself, "
            "and does nothing that one alone may not do; attach after wrapping")
    assert answers(two, "unstarted") == [["set-lr-scale", told]]


def test_attached_before_the_model_was_wrapped_norms_are_not_measured_and_that_is_said(two: Found) -> None:
    why = "tuimon was attached before the model was wrapped"
    found = two[0]["unwrapped"]
    assert found["answers"] == [["hold", f"{ALONE}{why}"]]
    assert "loss" in found["measured"]
    assert not [name for name in found["measured"] if name.endswith(("_norm", "_square", "ratio"))]
    assert found["notes"] == [f"{why}: its norms are not measured; attach after wrapping"]


def test_a_rank_that_leaves_is_not_waited_for(two: Found) -> None:
    assert answers(two, "leaves") == [["hold", f"{ALONE}the run has ended on another rank"]]
    assert all(one["leaves"]["seconds"] < 30 for one in two)   # half of what the lane would wait


def test_ctrl_c_gets_through_to_a_rank_that_stands_still_and_the_others_go_on(two: Found) -> None:
    assert [one["interrupted"]["caught"] for one in two] == [0, 1]
    assert two[0]["interrupted"]["states"][-1].startswith("running: nobody could resume all ranks: ")
    assert two[0]["interrupted"]["seconds"] < 30


def test_what_rank_0_orders_by_itself_all_do(two: Found) -> None:
    assert [verb for verb, _ in alike(two, "guarded")] == ["stop"]
    assert all(one["guarded"]["states"][-1].startswith("stopping: stop by ") for one in two)


@pytest.mark.nightly
def test_four_ranks_and_twenty_orders(tmp_path: Path) -> None:
    found = launch(SCRIPT, tmp_path, ["shuffled", "held", "seam-fsdp"], 4)
    assert len(alike(found, "shuffled")) >= obeying.ORDERS
    alike(found, "held")
    alike(found, "seam-fsdp", replicas=False)


@pytest.mark.nightly
@pytest.mark.parametrize("who", range(3))
def test_a_rank_that_is_stopped_for_a_while_is_waited_for_as_training_does(tmp_path: Path, who: int) -> None:
    """Amid training it is as late as its steps are; while held, the others do not wait for longer than they said."""
    scenes = [f"stop-{who}", f"stop-{who}-held"]
    found = launch(SCRIPT, tmp_path, scenes, 3)
    for scene in scenes:
        alike(found, scene)
        assert {one[scene]["error"] for one in found} == {""}
    for k, one in enumerate(found):
        resumed = one[f"stop-{who}-held"]["states"][-1]
        assert resumed.startswith("running: nobody could resume all ranks: the ranks have lost each other"), k
        assert one[f"stop-{who}"]["states"] == ["running: first step"]   # nobody had to wait for a word


@pytest.mark.nightly
@pytest.mark.parametrize("held", ["", "-held"])
@pytest.mark.parametrize("who", range(3))
def test_of_a_rank_that_is_killed_trainings_own_path_decides(tmp_path: Path, who: int, held: str) -> None:
    scene = f"kill-{who}{held}"
    ranks = start(SCRIPT, tmp_path, [scene], 3)
    try:
        said = [process.communicate(timeout=PATIENCE)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    others = [k for k in range(3) if k != who]
    assert ranks[who].returncode == -signal.SIGKILL
    assert [ranks[k].returncode for k in others] == [0, 0], said
    for k in others:
        found = json.loads((tmp_path / f"found-{k}.json").read_text())[scene]
        assert found["error"]   # that of training's own collective
        assert found["seconds"] < 30


@pytest.mark.nightly
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 7, 10, 14, 20])
def test_a_process_ends_well_whatever_became_of_the_lane(tmp_path: Path, steps: int) -> None:
    found = launch(SCRIPT, tmp_path, [f"brief-{steps}"], 2)   # by status 0
    assert [one[f"brief-{steps}"]["step"] for one in found] == [steps, steps]
