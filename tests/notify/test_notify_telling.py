"""What a person is told: one message per incident and one when it is over, the acts of the autopilot, the end; no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuimon.control.revision import STANDS_BACK
from tuimon.notify.budget import Budget
from tuimon.notify.message import LISTED, Message, as_webhook, together
from tuimon.notify.telling import Telling
from tuimon.notify.wishes import Wishes
from tuimon.record.events import Event


def incident(change, severity="critical", rule="non-finite", at=7, attempt=1, headline="Non-finite values", **more):
    return Event(0, 1.0, attempt, at, "incident", {
        "change": change, "severity": severity, "rule": rule, "detected_step": 7, "onset_step": 5, "headline": headline, "why": "It is NaN.", **more})


def command(verb, outcome, origin="guard"):
    return Event(0, 1.0, 1, 9, "command", {"id": f"c-{verb}", "verb": verb, "outcome": outcome, "who": {"origin": origin}, "why": ""})


def end(state, error="", attempt=1):
    return Event(0, 1.0, attempt, 30, "end", {"state": state, "error": error})


def told(events, wishes=None):
    telling = Telling(wishes or Wishes(), 1, "r", "run")
    return [(m.kind, m.severity) for event in events for m in telling.after(event)]


def test_an_incident_is_told_once_and_once_when_it_is_over():
    assert told([incident("opened"), incident("opened"), incident("worsened"), incident("resolved", resolved_step=20), incident("resolved")]) == [
        ("incident", "critical"), ("over", "ok")]


def test_what_is_milder_than_wanted_is_told_when_it_has_grown_bad_enough():
    events = [incident("opened", "warning"), incident("worsened", "critical"), incident("resolved")]
    assert told(events) == [("incident", "critical"), ("over", "ok")]
    assert told(events, Wishes(severity="warning")) == [("incident", "warning"), ("worse", "critical"), ("over", "ok")]
    assert told([incident("opened", "warning"), incident("resolved", "warning")]) == []


def test_ends_are_told_as_chosen_and_a_run_that_died_has_crashed():
    assert told([end("crashed", "ValueError: no")]) == [("end", "critical")]
    assert told([end("finished")]) == told([end("stopped")]) == []
    assert told([end("finished")], Wishes(ends=("finished",))) == [("end", "info")]
    gone = Telling(Wishes(), 1)
    assert [m.headline for m in gone.died(0, 2.0)] == ["Died before its first step"]
    assert gone.is_over


def test_what_tuimon_did_by_itself_is_told_and_what_a_person_did_is_not():
    assert told([command("hold", "received"), command("hold", "applied"), command("stop", "refused"), command("rescue", "applied", "viewer"),
                 command("checkpoint", "applied")]) == [("act", "warning"), ("act", "critical")]


def test_a_guard_that_left_it_to_a_person_wakes_nobody():
    stood_back = command("rescue", "refused")
    stood_back.fields["why"] = f"{STANDS_BACK} after the rescue by ada (viewer) at step 6, 0 s ago"
    assert told([stood_back]) == []


def test_other_attempts_are_not_told_and_a_later_one_ends_this():
    telling = Telling(Wishes(), 2)
    assert telling.after(incident("opened", attempt=1)) == []
    assert not telling.is_over
    assert telling.after(incident("opened", attempt=3)) == []
    assert telling.is_over


def test_a_rank_that_is_lost_is_told_once_and_once_that_all_are_back():
    telling = Telling(Wishes(), 1, "r", "run")
    silent = {3: ("silent", "node7")}
    said = [telling.ranks(lost, 1.0) for lost in ({}, silent, silent, {3: ("died", "node7"), 5: ("crashed", "OSError: \x1b[31mno")}, {}, {})]
    assert [[(m.kind, m.severity, m.headline, m.text) for m in each] for each in said] == [
        [], [("rank", "critical", "Rank 3 silent", "rank 3: node7")], [],
        [("rank", "critical", "Rank 3 died, rank 5 crashed", "rank 3: node7 · rank 5: OSError: no")],
        [("over", "ok", "Over: all ranks are there again", "")], []]
    keys = [m.key for each in said for m in each]
    assert len(set(keys)) == len(keys)


def test_with_the_run_its_ranks_are_gone_and_none_is_back():
    telling = Telling(Wishes(), 1)
    assert telling.ranks({1: ("died", "")}, 1.0)
    telling.died(5, 2.0)
    assert telling.ranks({}, 3.0) == []
    assert [m.headline for m in telling.ranks({0: ("crashed", "no")}, 3.0)] == ["Rank 0 crashed"]


VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=20), st.floats(), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(), st.text(), max_size=2))


@given(st.lists(st.tuples(st.sampled_from(["incident", "command", "end", "state", "odd"]), st.dictionaries(
    st.sampled_from(["change", "severity", "rule", "headline", "who", "verb", "outcome", "state", "error", "detected_step"]), VALUES)), max_size=8))
def test_no_event_is_too_odd_and_nothing_unprintable_is_told(events):
    telling = Telling(Wishes(severity="warning", ends=("crashed", "stopped", "finished")), 1)
    for kind, fields in events:
        for message in telling.after(Event(0, 0.0, 1, 0, kind, fields)):
            assert (message.headline + message.text).isprintable()


def test_what_comes_together_is_one_message_by_the_worst_of_them():
    budget = Budget(gather=2.0)
    first = Message("1:a", "incident", "warning", "Loss drift")
    budget.put(first, 0.0)
    budget.put(Message("1:b", "incident", "critical", "Exploding gradients"), 1.0)
    assert budget.due(1.9) is None
    whole = budget.due(2.0)
    assert whole is not None
    assert (whole.severity, whole.headline, whole.about) == ("critical", "Exploding gradients (and 1 more)", ("1:a", "1:b"))
    assert together([first]) is first


@given(st.lists(st.floats(0, 5000), max_size=200))
def test_however_a_run_flickers_only_so_much_is_sent_and_nothing_is_lost(times):
    budget, sent = Budget(gather=1.0, most=3, window=100.0), []
    for i, now in enumerate(sorted(times)):
        budget.put(Message(f"1:{i}", "incident", "critical", "x"), now)
        if (message := budget.due(now)) is not None:
            sent.append((now, message))
    last = budget.due(6000.0, last=True)
    keys = [key for _, m in sent for key in m.about] + (list(last.about) if last else [])
    assert sorted(keys) == sorted(f"1:{i}" for i in range(len(times)))
    assert all(sum(begin <= t < begin + 100.0 for t, _ in sent) <= 3 for begin, _ in sent)


def test_a_long_list_is_cut_and_names_call_nobody_in_a_channel():
    many = together([Message(str(i), "incident", "critical", f"h{i} <!channel>", run="r") for i in range(LISTED + 3)])
    assert "and 3 more" in many.text
    assert len(many.about) == LISTED + 3
    assert b"<!channel>" not in as_webhook(many).split(b'"text"')[1].split(b'"content"')[0]
    assert b'"allowed_mentions": {"parse": []}' in as_webhook(many)
