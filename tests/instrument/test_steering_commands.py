"""Commands at step boundaries: a real spool, a real writer thread, a training thread that stands still and goes on."""

from __future__ import annotations

import os

import pytest
from steering_parts import Loop, ScriptedJudge, incident, rig, wait_for

from tuimon.instrument.stopping import TrainingStopped


def test_with_nothing_to_do_a_boundary_touches_nothing_but_the_mailbox(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        run.steering._attend = None  # whatever went beyond the fast path would fault
        run.train(19)
        assert not run.steering._is_off


@pytest.mark.parametrize(("verb", "state"), [("hold", "held"), ("pause", "paused")])
def test_a_run_stands_still_at_a_boundary_and_goes_on_when_told(tmp_path, verb, state):
    with rig(tmp_path) as run, Loop(run):
        stop = run.ask(verb)
        at = run.wait("state", state=state).step
        assert run.ended(stop).step == at
        reader = run.log()
        beats = set()

        def has_beaten():
            reader.poll()
            if reader.beat and reader.beat.state == state:
                beats.add(reader.beat.mono)
            return len(beats) >= 3

        wait_for(has_beaten, "heartbeats of a run that stands still")
        assert run.step == at
        resume = run.ask("resume")
        assert run.ended(resume).text("outcome") == "applied"
        wait_for(lambda: run.step > at + 3)
        assert [e.text("state") for e in run.seen("state")] == ["running", state, "running"]


def test_a_command_before_the_first_step_is_deferred_and_then_obeyed(tmp_path):
    with rig(tmp_path) as run:
        command = run.delivered(run.ask("set-lr-scale", scale=0.5))
        wait_for(lambda: run.outcomes(command) == ["received", "deferred"])
        run.train(1)
        assert run.ended(command).step == 1
        assert run.outcomes(command) == ["received", "deferred", "applied"]
        assert run.overrides.in_force.lr_scale == 0.5


def test_commands_to_a_run_that_stands_still_are_obeyed_where_it_stands(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        run.ended(run.ask("hold"))
        at = run.step
        assert run.ended(run.ask("set-clip", max_norm=0.5)).text("outcome") == "applied"
        assert run.ended(run.ask("pause")).text("why") == "already held"
        assert run.steering.state == "held"
        assert run.step == at
        assert run.overrides.in_force.clip == 0.5


def test_every_command_says_who_asked(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        event = run.obeyed("set-lr-scale", scale=0.5)
        # the user is what the file says, its number what the kernel says
        assert event.fields["who"] == {
            "user": "ada", "uid": os.geteuid(), "host": "desk", "pid": 7, "origin": "viewer", "tty": "", "ssh": ""}
        assert event.fields["args"] == {"scale": 0.5}


def test_setting_and_undoing_overrides_is_told_to_judges_and_charts(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        assert run.obeyed("set-lr-scale", scale=0.5).text("outcome") == "applied"
        assert run.obeyed("set-clip", max_norm=2.0).text("outcome") == "applied"
        assert (run.overrides.in_force.lr_scale, run.overrides.in_force.clip) == (0.5, 2.0)
        assert run.obeyed("set-clip", max_norm=None).text("outcome") == "applied"
        assert run.obeyed("undo-overrides").text("outcome") == "applied"
        assert run.obeyed("undo-overrides").text("outcome") == "applied"
        assert run.overrides.in_force.lr_scale == 1.0
        run.close()
        found = [(e.number("lr_scale"), e.number("clip")) for e in run.seen("override")]
        assert found == [(0.5, None), (0.5, 2.0), (0.5, None), (1.0, None), (1.0, None)]
        marks = [m for c in run.log().poll() for m in c.marks if m.kind == "override"]
        assert [m.fields["lr_scale"] for m in marks] == [0.5, 0.5, 0.5, 1.0, 1.0]
        assert [m.step for m in marks] == [2, 3, 4, 5, 6]


def test_a_stop_sets_the_flag_and_raises_only_after_three_more_boundaries(tmp_path):
    with rig(tmp_path) as run:
        run.train(4)
        assert not run.steering.should_stop
        assert run.obeyed("stop").text("outcome") == "applied"
        assert run.steering.should_stop
        run.train(7)
        with pytest.raises(TrainingStopped) as caught:
            run.one_step()
        assert caught.value.step == 8
        assert caught.value.code == 0
        assert run.steering.state == "stopping"


def test_a_run_that_is_stopping_refuses_everything_but_another_stop(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        run.obeyed("stop")
        refused = run.obeyed("hold")
        assert (refused.text("outcome"), refused.text("why")) == ("refused", "the run is already stopping")
        assert run.obeyed("stop").text("why") == "already stopping"


def test_a_run_that_is_held_can_be_ended(tmp_path):
    with rig(tmp_path) as run, Loop(run) as loop:
        run.ended(run.ask("hold"))
        at = run.step
        assert run.ended(run.ask("stop")).text("outcome") == "applied"
        wait_for(lambda: not loop.is_alive)
        assert isinstance(loop.raised, TrainingStopped)
        assert run.step == at + 3


def test_rolling_back_needs_a_snapshot_that_exists_and_says_which_do(tmp_path):
    with rig(tmp_path) as run:
        run.train(45)
        refused = run.obeyed("rollback", step=30)
        assert refused.text("outcome") == "refused"
        assert "no snapshot of step 30; there are: 0, 20, 40" in refused.text("why")
        assert run.obeyed("rollback", step=20).text("outcome") == "applied"
        assert run.snapshots.weights == 20.0
        assert run.snapshots.steps == (0, 20)
        event = run.wait("rollback")
        assert (event.number("from_step"), event.number("to_step")) == (47, 20)
        run.train(50)
        run.close()
        chunks = run.log().poll()
        (mark,) = [m for c in chunks for m in c.marks if m.kind == "rollback"]
        assert (mark.step, mark.fields["to_step"]) == (47, 20)
        assert [s for c in chunks for s in c.steps] == list(range(1, 51))


def test_measurements_still_on_the_device_are_handed_over_before_a_rollback(tmp_path):
    settled = []
    with rig(tmp_path, settle=lambda: settled.append(run.snapshots.weights)) as run:
        run.train(25)
        run.obeyed("rollback", step=20)
        assert settled == [26.0]


def test_a_checkpoint_is_answered_when_it_is_durable_and_training_goes_on_meanwhile(tmp_path):
    with rig(tmp_path) as run:
        run.train(3)
        command = run.delivered(run.ask("checkpoint"))
        run.train(10)
        assert run.outcomes(command) == ["received"]
        run.checkpoints.gate.set()
        assert run.ended(command).text("outcome") == "applied"
        event = run.wait("checkpoint", outcome="saved")
        assert (event.text("id"), event.number("snapshot_step"), event.number("bytes")) == ("step-000000004", 4, 100)
        assert event.text("sha256") == "cd" * 32
        assert run.checkpoints.saved == [(4, 1, 1.0)]
        wait_for(lambda: run.snapshots.lent[0].released)


def test_a_checkpoint_that_fails_says_why_and_gives_its_memory_back(tmp_path):
    with rig(tmp_path) as run:
        run.checkpoints.broken = True
        run.checkpoints.gate.set()
        run.train(1)
        run.steering.checkpoint()
        run.train(2)
        event = run.wait("checkpoint", outcome="failed")
        assert "No space left" in event.text("why")
        wait_for(lambda: run.seen("command", outcome="refused"))
        wait_for(lambda: run.snapshots.lent[0].released)


def test_what_arrives_too_late_is_refused_and_not_left_for_the_next_attempt(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        command = run.delivered(run.ask("hold"))
        unread = run.ask("stop", attempt=None)
        run.close()
        assert run.outcomes(command) == ["received", "refused"]
        assert run.outcomes(unread) == ["received", "refused"]
        assert run.seen("end", state="finished")


def test_foreign_files_are_refused_and_a_flood_of_them_fills_no_log(tmp_path):
    with rig(tmp_path) as run:
        run.train(1)
        for i in range(500):
            (run.run.commands / "new" / f"junk{i}").write_bytes(b"{")
        command = run.delivered(run.ask("set-lr-scale", scale=0.5))
        run.train(2)
        assert run.ended(command).text("outcome") == "applied"
        wait_for(lambda: not list((run.run.commands / "new").iterdir()))
        run.close()
        told = run.seen("command", verb="")
        assert 8 <= len(told) < 150


def test_with_controls_off_every_command_is_refused(tmp_path):
    with rig(tmp_path, controls=False) as run:
        run.train(1)
        command = run.ask("hold")
        assert "controls=False" in run.ended(command).text("why")
        run.train(30)


def test_snapshots_are_taken_on_their_cadence_but_not_while_something_is_wrong(tmp_path):
    judge = ScriptedJudge(lambda step, _: (incident(onset=50, severity="warning"),) if 50 <= step < 110 else ())
    with rig(tmp_path, judge) as run:
        for step in range(1, 141):
            run.train(step)
            run.judged(step)
            wait_for(lambda at=step: run.recorder.situation.is_calm == (not 50 <= at < 110))
        run.close()
        assert [e.number("snapshot_step") for e in run.seen("snapshot")] == [20, 40, 120, 140]


def test_a_held_run_is_let_go_when_nobody_reads_commands_any_more(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        run.ended(run.ask("hold"))
        at = run.step
        run.recorder.close("crashed")
        wait_for(lambda: run.step > at)
        assert run.steering.state == "running"


def test_a_spool_that_somebody_removed_is_made_again_so_that_a_held_run_can_be_resumed(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        run.ended(run.ask("hold"))
        at = run.step
        run.run.commands.rename(tmp_path / "away")
        wait_for((run.run.commands / "new").is_dir, "a new spool")
        assert run.step == at
        assert run.ended(run.ask("resume")).text("outcome") == "applied"


def test_a_held_run_whose_directory_is_removed_is_let_go(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        run.ended(run.ask("hold"))
        at = run.step
        run.run.path.rename(tmp_path / "away")
        wait_for(lambda: run.step > at)


def test_a_held_run_whose_spool_part_breaks_is_let_go(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        run.ended(run.ask("hold"))
        at = run.step
        run.recorder._writer._inbox.poll = None
        wait_for(lambda: run.step > at)


def test_a_part_that_breaks_switches_itself_off_and_training_goes_on(tmp_path):
    with rig(tmp_path) as run:
        def explode(_step):
            raise MemoryError("no snapshot: out of memory")

        run.snapshots.capture = explode
        run.train(100)
        fault = run.wait("fault", part="steering")
        assert "out of memory" in fault.text("error")
        assert fault.step == 20
        assert run.obeyed("set-clip", max_norm=1.0).text("outcome") == "applied"
        assert len(run.seen("fault")) == 1
