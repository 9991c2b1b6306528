"""Two viewers of one run: the second of two orders that nobody coordinated does not come on top of the first."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from steering_parts import ADA, Loop, rig

from tuimon.control.commands import Who
from tuimon.instrument.ranks.shares import Part, Shares
from tuimon.instrument.ranks.steering import RankSteering
from tuimon.instrument.ranks.world import World

BOB = Who("bob", 1001, "laptop", 9, "viewer")


def test_of_two_people_who_both_rescue_the_second_is_refused_and_told_of_the_first(tmp_path):
    with rig(tmp_path) as run:
        run.train(5)
        first = run.delivered(run.ask("rescue", base=""))
        second = run.ask("rescue", who=BOB, base="")
        run.delivered(second)
        run.one_step()
        assert run.ended(first).text("outcome") == "applied"
        answer = run.ended(second)
        assert answer.text("outcome") == "refused"
        assert answer.text("why") == "asked without knowing of the rescue by ada (viewer) at step 6, 0 s ago"
        assert run.overrides.in_force.lr_scale == pytest.approx(0.1)   # once, not ten times ten
        again = run.delivered(run.ask("set-lr-scale", who=BOB, base=first.id, scale=0.5))   # now he has seen it
        run.one_step()
        assert run.ended(again).text("outcome") == "applied"


def test_nobody_sets_a_run_going_that_another_has_just_stopped_and_brakes_are_always_obeyed(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        pause = run.ask("pause", base="")
        run.ended(pause)
        hold = run.ask("hold", who=BOB, base="")   # without knowing of the pause
        assert run.ended(hold).text("outcome") == "applied"
        stale = run.ended(run.ask("resume", base=pause.id))
        assert (stale.text("outcome"), stale.text("why").split(" at ")[0]) == (
            "refused", "asked without knowing of the hold by bob (viewer)")
        assert run.steering.state == "held"
        assert run.ended(run.ask("resume", base=hold.id)).text("outcome") == "applied"
        assert run.ended(run.ask("stop", who=BOB, base="")).text("outcome") == "applied"


def test_one_rank_of_many_does_nothing_alone_and_says_why(tmp_path):
    part = Part(World(0, 4))
    part.shares = Shares(np.array([0.25]), np.array([True]), 4)   # of replicas
    with rig(tmp_path, steering=partial(RankSteering, part=part, agreeing=None)) as run:
        run.train(5)
        for verb in ("rescue", "hold", "stop"):
            order = run.delivered(run.ask(verb))
            run.one_step()
            answer = run.ended(order)
            assert (answer.text("outcome"), answer.text("why")) == (
                "refused", ("this run trains on 4 ranks, of which one alone would act: "
                            "the ranks share no store by which they could agree"))
        assert (run.steering.state, run.overrides.in_force.lr_scale) == ("running", 1.0)
        run.checkpoints.gate.set()
        save = run.delivered(run.ask("checkpoint"))
        run.one_step()
        assert run.ended(save).text("outcome") == "applied"   # that it may
        part.shares = Shares(np.array([1.0]), np.array([True]), 4)
        save = run.delivered(run.ask("checkpoint"))
        run.one_step()
        assert run.ended(save).text("why") == "the weights are spread over 4 ranks, and one would save its part"


def test_one_person_who_is_quicker_than_the_picture_is_obeyed_and_so_is_an_older_viewer(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        for verb, args in (("hold", {}), ("set-clip", {"max_norm": 1.0}), ("resume", {})):
            assert run.ended(run.ask(verb, who=ADA, base="", **args)).text("outcome") == "applied"
        assert run.ended(run.ask("set-lr-scale", who=BOB, scale=0.5)).text("outcome") == "applied"
