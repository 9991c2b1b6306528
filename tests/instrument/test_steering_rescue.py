"""The rescue: five ticks at one boundary, or nothing at all; and the autopilot, a user like any other."""

from __future__ import annotations

import pytest
from steering_parts import FakeSnapshots, Loop, Overriding, ScriptedJudge, incident, rig, wait_for

from tuimon.instrument.rescue import Cut, target

TICKS = ["held", "restored", "lr", "clip", "warmup"]


def _healthy(run, upto=80):
    """Train until a snapshot has earned its health and the training thread knows."""
    run.train(upto)
    run.settled(upto)
    run.one_step()
    return int(run.wait("snapshot-healthy").number("snapshot_step"))


def _rescued(run, **args):
    command = run.delivered(run.ask("rescue", **args))
    run.one_step(loss=9.0)
    event = run.ended(command)
    wait_for(lambda: len(run.ticks(command)) >= (len(TICKS) if event.text("outcome") == "applied" else 1))
    return command, event


def test_a_rescue_is_five_ticks_at_one_step_with_their_numbers_and_a_sixth_when_the_warm_up_is_over(tmp_path):
    with rig(tmp_path) as run:
        _healthy(run)
        wait_for(lambda: run.snapshots.kept.get(40) and run.snapshots.kept[40].proven)
        run.train(90, loss=9.0)
        command, event = _rescued(run)
        assert (event.text("outcome"), event.step) == ("applied", 91)
        ticks = run.ticks(command)
        assert [t.text("tick") for t in ticks] == TICKS
        assert {t.step for t in ticks} == {91}
        held, restored, lr, clip, warmup = ticks
        assert (held.number("loss"), held.number("grad_norm")) == (9.0, 2.0)
        assert (restored.number("from_step"), restored.number("to_step")) == (91, 40)
        assert restored.fields["proven"] is True
        assert restored.text("sha256") == "ab" * 32
        assert lr.number("scale") == pytest.approx(0.1)
        assert (lr.number("before"), lr.number("after")) == (pytest.approx(1e-3), pytest.approx(1e-4))
        assert (clip.number("max_norm"), clip.fields["script_clips"]) == (1.0, False)
        assert warmup.number("steps") == 20
        assert run.snapshots.weights == 40.0
        assert run.overrides.in_force == Overriding(pytest.approx(0.1), 1.0, 91, 20)
        assert [e.text("state") for e in run.seen("state")] == ["running", "held", "running"]
        run.train(110)
        assert len(run.ticks(command)) == 5
        run.train(112)
        done = run.wait("rescue", tick="done")
        assert (done.text("id"), done.step, done.fields["cut_short"]) == (command.id, 111, False)


def test_a_snapshot_that_has_earned_its_health_counts_even_while_its_hash_is_still_waiting_its_turn(tmp_path):
    with rig(tmp_path) as run:
        run.train(30)
        run.delivered(run.ask("checkpoint"))
        run.train(90)
        run.settled(90)
        run.one_step()
        assert not run.seen("snapshot-healthy")
        command, _ = _rescued(run)
        restored = run.ticks(command)[1]
        assert (restored.number("to_step"), restored.fields["proven"]) == (40, True)
        run.close()
        healthy = [e.number("snapshot_step") for e in run.seen("snapshot-healthy")]
        assert healthy == sorted(set(healthy))
        assert 40 in healthy


def test_a_second_rescue_cuts_the_learning_rate_again_and_undo_takes_it_all_back(tmp_path):
    with rig(tmp_path) as run:
        _healthy(run)
        first, _ = _rescued(run)
        run.train(90)
        _rescued(run)
        assert run.overrides.in_force.lr_scale == pytest.approx(0.01)
        assert run.wait("rescue", id=first.id, tick="done").fields["cut_short"] is True
        assert run.obeyed("undo-overrides").text("outcome") == "applied"
        assert run.overrides.in_force == Overriding()
        wait_for(lambda: len(run.seen("rescue", tick="done", cut_short=True)) == 2)
        assert run.seen("override")[-1].fields["clip"] is None


def test_without_a_healthy_snapshot_the_initial_weights_are_restored_and_said_to_be_unproven(tmp_path):
    with rig(tmp_path) as run:
        run.train(10)
        command, event = _rescued(run)
        assert event.text("outcome") == "applied"
        assert run.ticks(command)[1].fields["proven"] is False
        assert run.snapshots.weights == 0.0


def test_with_nothing_to_go_back_to_a_rescue_is_refused_and_the_run_goes_on_unchanged(tmp_path):
    with rig(tmp_path, initial=False) as run:
        run.train(10)
        command, event = _rescued_without_ticks(run)
        assert event.text("outcome") == "refused"
        assert "no snapshot has earned its health" in event.text("why")
        assert not run.ticks(command)
        assert run.steering.state == "running"
        assert run.overrides.in_force == Overriding()


def _rescued_without_ticks(run):
    command = run.delivered(run.ask("rescue"))
    run.one_step()
    return command, run.ended(command)


def test_when_restoring_fails_nothing_has_changed_and_the_run_stays_held(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        wait_for(lambda: run.step > 30)
        run.snapshots.broken = True
        command = run.ask("rescue")
        assert run.ended(command).text("outcome") == "refused"
        at = run.step
        assert [t.text("tick") for t in run.ticks(command)] == ["held", "failed"]
        assert "digest" in run.ticks(command)[1].text("why")
        assert run.steering.state == "held"
        assert run.overrides.in_force == Overriding()
        assert run.snapshots.weights == at
        assert not run.seen("rollback")
        run.snapshots.broken = False
        assert run.ended(run.ask("rescue")).text("outcome") == "applied"
        wait_for(lambda: run.step > at)


def test_a_rescue_of_a_held_run_sets_it_going_again(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        run.ended(run.ask("hold"))
        at = run.step
        assert run.ended(run.ask("rescue")).text("outcome") == "applied"
        wait_for(lambda: run.step > at)
        assert [e.text("state") for e in run.seen("state")] == ["running", "held", "running"]


def test_a_rescue_takes_the_numbers_it_is_given(tmp_path):
    with rig(tmp_path) as run:
        run.train(41)
        command, _ = _rescued(run, step=20, lr_scale=0.5, max_norm=3.0, warmup=0)
        assert run.snapshots.weights == 20.0
        assert run.overrides.in_force == Overriding(0.5, 3.0, None, 0)
        assert run.wait("rescue", id=command.id, tick="done").step == 42


def test_a_script_that_clips_harder_is_not_loosened():
    assert Cut.of({}, Overriding(), 0.5).clip == 0.5
    assert Cut.of({}, Overriding(), None).clip == 1.0
    assert Cut.of({}, Overriding(), 5.0).clip == 1.0
    assert Cut.of({}, Overriding(clip=0.25), None).clip == 0.25
    assert Cut.of({"max_norm": None}, Overriding(), 0.5).clip is None


def test_the_target_is_the_newest_healthy_snapshot_else_the_first():
    snapshots = FakeSnapshots()
    assert target(None, None) == "no snapshots are kept for this run"
    assert target(snapshots, None) == 0
    for step in (20, 40, 60):
        snapshots.capture(step)
    snapshots.promote(20)
    snapshots.promote(40)
    assert target(snapshots, None) == 40
    assert target(snapshots, 60) == 60


def _explode_at(onset, until_rollback=True):
    def find(step, marks):
        rolled = [m.step for m in marks if m.kind == "rollback"]
        if step < onset:
            return ()
        if rolled and until_rollback:
            return (incident(onset=onset, detected=onset + 2, resolved=rolled[0] + 5),)
        return (incident(onset=onset, detected=onset + 2),)
    return ScriptedJudge(find)


def test_the_autopilot_rescues_by_the_same_way_as_a_person_and_signs_as_the_guard(tmp_path):
    with rig(tmp_path, _explode_at(100), on_critical="rescue") as run:
        for step in range(1, 300):
            run.train(step)
            run.judged(step)
        run.settled(299)
        orders = run.seen("command", verb="rescue", outcome="received")
        assert len(orders) == 1
        assert orders[0].fields["who"]["origin"] == "guard"
        assert [t.text("tick") for t in run.seen("rescue")] == [*TICKS, "done"]
        restored = run.wait("rescue", tick="restored")
        assert restored.number("to_step") <= 60
        assert restored.fields["proven"] is True
        assert run.seen("incident", change="opened")
        assert run.seen("incident", change="resolved")


def test_the_autopilot_waits_out_warm_up_and_horizon_and_holds_after_three_rescues_in_vain(tmp_path):
    with rig(tmp_path, _explode_at(100, until_rollback=False), on_critical="rescue") as run, Loop(run, 0.0) as loop:
        held = run.wait("command", verb="hold", outcome="applied")
        applied = [e.step for e in run.seen("command", verb="rescue", outcome="applied")]
        assert len(applied) == 3
        gaps = [b - a for a, b in zip(applied, [*applied[1:], held.step], strict=True)]
        assert min(gaps) >= 60
        assert run.steering.state == "held"
        assert loop.is_alive


def test_where_nothing_can_be_restored_the_autopilot_holds(tmp_path):
    with rig(tmp_path, _explode_at(10), on_critical="rescue", initial=False) as run, Loop(run):
        run.wait("command", verb="hold", outcome="applied")   # written after the state, maybe in another moment
        assert run.seen("state", state="held")
        assert run.seen("command", verb="rescue", outcome="refused")


def test_a_run_that_a_person_resumes_is_not_held_again_for_the_same_incident(tmp_path):
    with rig(tmp_path, _explode_at(10), on_critical="hold") as run, Loop(run):
        at = run.wait("state", state="held").step
        run.ended(run.ask("resume"))
        wait_for(lambda: run.step > at + 100)
        assert len(run.seen("state", state="held")) == 1


@pytest.mark.parametrize(("policy", "verb"), [("warn", None), ("hold", "hold"), ("stop", "stop")])
def test_each_policy_orders_its_verb_once(tmp_path, policy, verb):
    with rig(tmp_path, _explode_at(10), on_critical=policy) as run, Loop(run) as loop:
        if verb is None:
            wait_for(lambda: run.step > 100)
        elif verb == "stop":
            wait_for(lambda: not loop.is_alive)
        else:
            run.wait("state", state="held")
        orders = [e for e in run.seen("command", outcome="received") if e.fields["who"]["origin"] == "guard"]
        assert [e.text("verb") for e in orders] == ([] if verb is None else [verb])
