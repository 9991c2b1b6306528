"""Two who command one run, people or its guard: the second of two orders that nobody coordinated does not come on top of the first."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial

import numpy as np
import pytest
from steering_parts import ADA, Loop, ScriptedJudge, incident, rig, wait_for

from tuimon.control.commands import Who
from tuimon.instrument.ranks.saving import RankSaving
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
    saving = partial(RankSaving, together=None, layouts=dict, is_whole=lambda: part.shares.is_whole)
    with rig(tmp_path, steering=partial(RankSteering, part=part, agreeing=None, uneven=str, saving=saving)) as run:
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
        assert run.ended(save).text("why") == (
            "the weights are spread over 4 ranks: the ranks share no store by which they could agree")


def test_one_person_who_is_quicker_than_the_picture_is_obeyed_and_so_is_an_older_viewer(tmp_path):
    with rig(tmp_path) as run, Loop(run):
        for verb, args in (("hold", {}), ("set-clip", {"max_norm": 1.0}), ("resume", {})):
            assert run.ended(run.ask(verb, who=ADA, base="", **args)).text("outcome") == "applied"
        assert run.ended(run.ask("set-lr-scale", who=BOB, scale=0.5)).text("outcome") == "applied"


def _both_wait_for_one_boundary(run, armed, verb, *, is_guard_first):
    """Orders of the guard and of a person, neither of whom has seen the other's; the ids in their turn."""
    waiting = run.recorder.mailbox._letters

    def by(origin):
        return wait_for(lambda: [letter.id for letter in list(waiting) if letter.who.origin == origin], origin)[0]

    def guard():
        armed.set()
        run.recorder.row(run.step, 0.0, {"loss": 1.0})   # something to judge, and no boundary
        return by("guard")

    def person():
        run.ask(verb, base="", **({"scale": 0.5} if verb == "set-lr-scale" else {}))
        return by("viewer")

    return [ask() for ask in ((guard, person) if is_guard_first else (person, guard))]


def _exploding(armed):
    return ScriptedJudge(lambda step, _marks: (incident(onset=4),) if armed.is_set() else ())


@pytest.mark.parametrize("verb", ["rescue", "set-lr-scale"])
@pytest.mark.parametrize("is_guard_first", [True, False])
def test_of_the_guard_and_a_person_at_the_same_boundary_the_second_stands_back(tmp_path, verb, is_guard_first):
    armed = threading.Event()
    with rig(tmp_path, _exploding(armed), on_critical="rescue") as run:
        run.train(5)
        first, second = _both_wait_for_one_boundary(run, armed, verb, is_guard_first=is_guard_first)
        run.one_step()
        wait_for(lambda: len(run.seen("command", outcome="applied") + run.seen("command", outcome="refused")) == 2)
        assert run.seen("command", id=first, outcome="applied")
        refused, = run.seen("command", id=second, outcome="refused")
        assert refused.text("why") == (
            "asked without knowing of the rescue by the guard at step 6, 0 s ago" if is_guard_first else
            f"the guard stands back after the {verb} by ada (viewer) at step 6, 0 s ago")
        cut = 0.5 if (verb, is_guard_first) == ("set-lr-scale", False) else 0.1
        assert run.overrides.in_force.lr_scale == pytest.approx(cut)   # what the first did, and nothing on top


def test_a_guard_that_stood_back_rescues_where_it_goes_on_being_wrong_and_holds_nothing(tmp_path):
    armed = threading.Event()
    with rig(tmp_path, _exploding(armed), on_critical="rescue") as run:
        run.train(5)
        _both_wait_for_one_boundary(run, armed, "set-lr-scale", is_guard_first=False)
        for step in range(6, 60):
            run.train(step)
            run.judged(step)
        rescued, = run.seen("command", verb="rescue", outcome="applied")
        assert rescued.step >= 46   # a horizon after what the person did
        assert run.overrides.in_force.lr_scale == pytest.approx(0.05)
        assert not run.seen("command", verb="hold")


class Slowly(deque):
    """What the training thread hands over one by one is taken before it goes on: a writer that is always in between."""

    def append(self, note):
        super().append(note)
        wait_for(lambda: not self, "the writer has taken it")


@pytest.mark.parametrize("policy", ["hold", "rescue"])
def test_a_guard_that_sees_a_run_go_on_has_seen_the_order_that_made_it(tmp_path, policy):
    armed = threading.Event()
    with rig(tmp_path, _exploding(armed), on_critical=policy) as run, Loop(run):
        run.ended(run.ask("pause", base=""))
        armed.set()
        run.recorder.row(run.step, 0.0, {"loss": 1.0})
        run.recorder._intake._notes = Slowly()
        run.ask("resume")
        run.wait("command", verb=policy, outcome="applied")
        assert not run.seen("command", verb=policy, outcome="refused")


@pytest.mark.parametrize("is_guard_first", [True, False])
def test_a_run_that_a_person_holds_is_not_set_going_by_a_rescue_of_the_guard(tmp_path, is_guard_first):
    armed = threading.Event()
    with rig(tmp_path, _exploding(armed), on_critical="rescue") as run:
        run.train(5)
        _both_wait_for_one_boundary(run, armed, "hold", is_guard_first=is_guard_first)
        with Loop(run):
            run.wait("command", verb="hold", outcome="applied")
            rescue = run.wait("command", verb="rescue", outcome="applied" if is_guard_first else "refused")
            assert run.steering.state == "held"
            assert is_guard_first or rescue.text("why").startswith("the guard stands back after the hold by ada")


@pytest.mark.parametrize("policy", ["hold", "stop"])
def test_a_run_that_a_person_has_just_rescued_is_neither_held_nor_ended_by_a_guard_that_did_not_see_it(tmp_path, policy):
    armed = threading.Event()
    with rig(tmp_path, _exploding(armed), on_critical=policy) as run:
        run.train(5)
        _both_wait_for_one_boundary(run, armed, "rescue", is_guard_first=False)
        for step in range(6, 60):   # a warm-up and a horizon: what was done gets its time
            run.train(step)
            run.judged(step)
        answer = run.wait("command", verb=policy, outcome="refused")
        assert answer.text("why").startswith("the guard stands back after the rescue by ada (viewer) at step 6")
        assert run.steering.state == "running"
        with Loop(run):
            assert run.wait("command", verb=policy, outcome="applied").step >= 66   # it stayed wrong
