"""The event log as a story, and the words made of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.control.revision import STANDS_BACK
from tuimon.control.states import STATES
from tuimon.diagnosis.model import Diagnosis, Evidence, Incident
from tuimon.diagnosis.story import TICKS, EventLine, Story, tell
from tuimon.record.events import KINDS, Event
from tuimon.viewer.arrange import badges as badge_lines
from tuimon.viewer.arrange import events as event_lines
from tuimon.viewer.arrange import verdict as verdict_lines
from tuimon.viewer.arrange import wrap
from tuimon.viewer.choice import Choice
from tuimon.viewer.frame import build_frame, empty_frame
from tuimon.viewer.lines import Span, text_of
from tuimon.viewer.plots import chart_spec
from tuimon.viewer.sources import Sources
from tuimon.viewer.verdict import WATCHED


def event(kind: str, step: int = 10, **fields: Any) -> Event:
    return Event(0, 0.0, 1, step, kind, fields)


def story(*events: Event) -> Story:
    told = Story()
    for one in events:
        told = tell(told, one)
    return told


ODD = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(["NaN", "Infinity"]),
                st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
                st.sampled_from(["held", "restored", "lr", "clip", "warmup", "done", "failed", "applied", "refused", "opened"]))
FIELDS = ("id", "verb", "outcome", "why", "state", "tick", "loss", "to_step", "proven", "scale", "after", "max_norm", "steps",
          "lr_scale", "clip", "snapshot_step", "after_step", "bytes", "sha256", "change", "onset_step", "headline", "severity",
          "text", "part", "error", "number", "from_step", "who", "pid", "metric", "brief", "examined", "place", "found_by", "module",
          "rows", "seconds")


@given(st.lists(st.builds(lambda kind, step, fields: Event(0, 0.0, 1, step, kind, fields), st.sampled_from(KINDS),
                          st.integers(0, 10**12), st.dictionaries(st.sampled_from(FIELDS), ODD)), max_size=12),
       st.sampled_from([None, True, False]))
def test_any_events_make_a_story_and_any_story_a_frame(events, alive):
    frame = build_frame(Sources("run", story(*events), Diagnosis.nothing(), alive=alive, step=3))
    for width in (1, 40, 80, 120):
        for line in verdict_lines(frame, width, 4):
            assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text_of(line))


@pytest.mark.parametrize("value", [10**400, -10**400, math.inf, -math.inf, math.nan, 1e300],
                         ids=["huge", "-huge", "inf", "-inf", "nan", "1e300"])
def test_a_number_that_nobody_counted_is_no_number(value):
    ticks = [event("rescue", id="a", tick=name, **dict.fromkeys(("to_step", "loss", "scale", "after", "max_norm", "steps"), value))
             for name in TICKS]
    others = [event(kind, **dict.fromkeys(("snapshot_step", "bytes", "lr_scale", "clip", "from_step", "onset_step"), value))
              for kind in ("override", "checkpoint", "snapshot-healthy", "attempt")]
    frame = build_frame(Sources("r", story(*others, *ticks), Diagnosis.nothing(), step=3, values={"loss": 2.0}))
    assert "restored" in text_of(frame.verdict[0])
    assert all(len(text_of(line)) < 200 for line in (*frame.verdict, *frame.narrow))


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_its_words(state):
    told = Story(state=state, ended=state in ("finished", "stopped", "crashed"))
    frame = build_frame(Sources("run", told, Diagnosis.nothing(), alive=state != "died", step=5, values={"loss": 2.0}))
    assert frame.state == state
    assert len(frame.verdict) == 3
    assert all(text_of(line) for line in frame.verdict)


def test_a_run_whose_process_is_gone_has_died_whatever_it_wrote_last():
    told = story(event("state", state="running"))
    assert build_frame(Sources("r", told, Diagnosis.nothing(), alive=False, step=4)).state == "died"
    told = tell(told, event("end", state="finished"))
    assert build_frame(Sources("r", told, Diagnosis.nothing(), alive=False, step=4)).state == "finished"


def test_a_rescue_goes_to_the_newest_healthy_snapshot_that_is_not_void():
    told = story(event("snapshot-healthy", snapshot_step=100), event("snapshot-healthy", snapshot_step=190))
    assert told.rescue_target == 190
    assert tell(told, event("snapshot-void", after_step=150)).rescue_target == 100
    assert tell(told, event("snapshot-void", after_step=50)).rescue_target is None


def test_a_new_attempt_starts_a_new_story_but_keeps_the_diary():
    told = story(event("note", text="first"), event("override", lr_scale=0.1, clip=1.0), event("snapshot-healthy", snapshot_step=9))
    told = tell(told, Event(0, 0.0, 2, 10, "attempt", {"from_step": 10}))
    assert (told.attempt, told.overrides.any, told.healthy, told.state) == (2, False, (), "starting")
    assert [line.text for line in told.lines] == [
        "first", "overrides: lr x0.1, clip 1.0", "healthy snapshot", "attempt 2 goes on from step 10"]


def test_who_has_just_rescued_does_not_read_that_a_rescue_was_refused_because_the_guard_stood_back():
    why = f"{STANDS_BACK} after the rescue by ada (viewer) at step 6, 0 s ago"
    asked = {"verb": "rescue", "who": {"origin": "guard"}}
    told = story(event("command", id="a", outcome="received", **asked), event("command", id="a", outcome="refused", why=why, **asked))
    assert (told.requests, [(line.text, line.tone) for line in told.lines]) == ((), [(why, "info")])


def test_an_autopsy_is_told_at_the_step_that_it_looked_into():
    told = story(event("autopsy", 152, examined=151, place="norm", found_by="replay", module="a\x1b[2J.norm", module_kind="RMSNorm"),
                 event("autopsy", 152, examined=151, place="of a later version", found_by="replay"))
    assert [(line.step, line.text) for line in told.lines] == [(151, "first non-finite: a.norm (RMSNorm)")]


def test_rows_that_a_full_disk_cost_are_told_and_marked_in_the_charts_with_the_reason():
    told = story(event("gap", 400, rows=1204, why="No space left on device", seconds=41.3))
    (line,) = told.lines
    assert (line.step, line.text, line.tone) == (400, "1,204 rows not recorded: disk full for 41 s", "warning")
    frame = build_frame(Sources("run", told, Diagnosis.nothing(), step=900, newest=900))
    assert [(m.step, m.kind, m.word) for m in frame.marks] == [(400, "event", "1,204 rows not recorded: disk full")]
    assert 400 in frame.moments


@pytest.mark.parametrize(("fields", "says"), [
    ({"rows": 1, "why": "the writer was held up", "seconds": 0.2}, "1 row not recorded: the writer was held up"),
    ({"rows": 2, "why": "ValueError: no number", "seconds": 0}, "2 rows not recorded: ValueError: no number"),
    ({"rows": 0, "why": "Input/output error", "seconds": 300}, "input/output error for 5 min; nothing was lost"),
    ({"rows": 0, "events": 1, "why": "No space left on device"}, "1 event not recorded: disk full"),
    ({"rows": 9, "events": 2, "why": "No space left on device"}, "9 rows and 2 events not recorded: disk full"),
    ({"rows": 3, "why": "\x1b[2J"}, "3 rows not recorded: "), ({"seconds": math.inf}, "the disk did not take it; nothing was lost"),
])
def test_what_the_disk_did_not_take_is_told_apart_from_what_it_took_later(fields, says):
    (line,) = story(event("gap", 7, **fields)).lines
    assert line.text.startswith(says)
    assert "\x1b" not in line.text
    assert bool(line.mark) == bool(fields.get("rows") or fields.get("events"))


@pytest.mark.parametrize(("state", "says"), [
    ("finished", "Finished 3,000 steps"), ("stopped", "Stopped at step 3,000"), ("crashed", "Crashed at step 3,000")])
def test_a_run_that_ended_on_a_full_disk_is_said_to_have_ended_where_it_did(state, says):
    told = story(event("gap", 113, rows=2887, why="No space left on device"), event("end", 3000, state=state))
    frame = build_frame(Sources("run", told, Diagnosis.nothing(), alive=False, step=113, values={"loss": 2.0}))
    assert says in " ".join(text_of(frame.verdict[0]).split())
    assert text_of(frame.verdict[2]).endswith("The log is complete up to step 113, but for 2,887 rows.")
    assert frame.facts.step == 3000
    nothing = build_frame(Sources("run", told, Diagnosis.nothing(), alive=False))
    assert says in " ".join(text_of(nothing.verdict[0]).split())


@pytest.mark.parametrize(("size", "says"), [(27_345, "27 kB"), (3e6, "3.0 MB"), (11_200_000_000, "11 GB"), (math.nan, "")])
def test_a_checkpoint_on_disk_is_told_with_its_size(size, says):
    line = story(event("checkpoint", snapshot_step=10, bytes=size)).lines[-1]
    assert line.text == f"checkpoint on disk{', ' * bool(says)}{says}"


def test_a_failed_rescue_says_why_and_is_over():
    told = story(event("rescue", id="a", tick="held", loss="NaN"), event("rescue", id="a", tick="failed", why="sha256 differs"))
    assert told.rescue.is_over
    assert told.lines[-1].text == "rescue failed: sha256 differs"
    assert math.isnan(told.rescue.tick("held").number("loss"))


def test_where_a_rescue_is_no_treatment_the_verdict_gives_advice_and_does_not_offer_it():
    found = incident(headline="Vanishing gradients", next=("add residual connections", "normalise before each block", "c"), rescue_helps=False)
    frame = build_frame(Sources("r", story(event("state", state="running")), Diagnosis(9, (found,), (), (), {}), step=9, alive=True))
    words = " ".join(text_of(line) for line in frame.verdict)
    assert "Add residual connections. Normalise before each block." in words
    assert "hold the run" in words
    assert "roll back" not in words


@pytest.mark.parametrize(("category", "metrics", "chart"), [
    ("updates", ("lr",), "lr"), ("throughput", ("data_time",), "step_time"), ("throughput", ("memory",), "memory"),
    ("throughput", ("data_time", "step_time"), "step_time"), ("layers", ("update_ratio",), "update_ratio"),
    ("gradients", ("layer_grad_rms",), "grad_norm"), ("generalisation", ("val_loss",), "loss"), ("activations", (), "loss")])
def test_the_chart_of_the_verdict_is_the_one_that_convicts(category, metrics, chart):
    found = incident(category=category, evidence=tuple(Evidence(metric, 1.0, 2.0) for metric in metrics))
    frame = build_frame(Sources("r", Story(), Diagnosis(9, (found,), (), (), {}), step=9))
    assert frame.charts[frame.about].name == chart


def test_a_layer_of_an_incident_is_text_from_outside():
    odd = "blocks\x1b[31m\ud800\u202e.3"
    found = incident(layer=odd, why=f"It is {odd}.", next=(f"look at {odd}",))
    frame = build_frame(Sources("r", story(event("state", state="running")), Diagnosis(9, (found,), (), (), {}), step=9))
    told = "".join(text_of(line) for line in (*frame.verdict, *frame.narrow))
    assert "worst in blocks.3" in told
    assert told.isprintable()


def test_a_second_rescue_is_not_the_first():
    told = story(event("rescue", id="a", tick="held"), event("rescue", id="a", tick="done"), event("rescue", id="b", tick="held", step=50))
    assert (told.rescues, told.rescue.id, told.rescue.done_step) == (2, "b", None)


def test_a_rescue_to_initial_weights_does_not_claim_a_healthy_step():
    told = story(event("rescue", id="a", tick="held"), event("rescue", id="a", tick="restored", to_step=0, proven=False))
    frame = build_frame(Sources("r", told, Diagnosis.nothing(), step=11, alive=True))
    assert "restored initial weights" in text_of(frame.verdict[0])


def incident(**changes: Any) -> Incident:
    base = {"rule": "exploding-gradients", "code": "T110", "category": "gradients", "severity": "critical", "state": "open",
            "onset_step": 203, "detected_step": 205, "resolved_step": None, "layer": "blocks.3", "confidence": "high",
            "headline": "Exploding gradients", "why": "Gradient norm is 212, 190x its usual 1.1.", "next": ("go back",),
            "evidence": (), "word": "exploding", "rescue_helps": True}
    return Incident(**{**base, **changes})


def test_an_incident_that_is_over_stands_once_in_the_diary_whatever_its_end_has_made_of_its_name():
    told = story(event("incident", 205, change="opened", severity="warning", headline="Loss spike", onset_step=203),
                 event("incident", 250, change="resolved", headline="Loss spike, recovered"))
    over = incident(rule="loss-spike", severity="warning", state="resolved", resolved_step=250, headline="Loss spike, recovered")
    frame = build_frame(Sources("r", told, Diagnosis(300, (over,), (), (), {}), step=300))
    assert [line.text for line in frame.events] == ["loss spike", "over: loss spike, recovered"]


def test_while_a_rescue_is_the_news_its_incident_is_not_told_again_but_a_later_one_is():
    told = story(event("state", 260, state="running"), event("rescue", 260, id="a", tick="held"), event("rescue", 280, id="a", tick="done"))
    old = Diagnosis(281, (incident(),), (), (), {})
    assert "Rescue" in text_of(build_frame(Sources("r", told, old, step=281, alive=True)).verdict[0])
    outlived = build_frame(Sources("r", told, old, step=281 + WATCHED, alive=True))
    assert "Exploding" in text_of(outlived.verdict[0])   # what no rescue has ended
    new = Diagnosis(300, (incident(onset_step=290, detected_step=292),), (), (), {})
    assert "Exploding" in text_of(build_frame(Sources("r", told, new, step=300, alive=True)).verdict[0])


def test_without_a_healthy_snapshot_the_offer_says_so():
    frame = build_frame(Sources("r", story(event("state", state="running")), Diagnosis(9, (incident(),), (), (), {}), step=9, alive=True))
    assert "initial weights" in text_of(frame.verdict[2])
    assert frame.facts.target is None


def test_events_fill_their_row_to_the_last_cell():
    shown = replace(empty_frame("x", ""), events=tuple(EventLine(1, "▸", "twelve cells", "plain") for _ in range(5)))
    assert [text_of(line) for line in event_lines(shown, 37, 1)] == [" 1 ▸ twelve cells    1 ▸ twelve cells"]
    assert [text_of(line) for line in event_lines(shown, 36, 1)] == [" 1 ▸ twelve cells"]


def test_info_offers_no_keys():
    frame = build_frame(Sources("r", story(event("state", state="running")),
                                Diagnosis(9, (incident(severity="info"),), (), (), {}), step=9, alive=True))
    assert not any(span.tone == "key" for line in frame.verdict for span in line)


@given(st.text(alphabet="ab ", max_size=200), st.integers(1, 60))
def test_wrapping_keeps_every_word_in_order(text, width):
    rows = wrap((Span(text[:50]), Span(text[50:], "dim")), width)
    assert "".join("".join(map(text_of, rows)).split()) == "".join(text.split())


LABEL = event("label", metric="grad_norm", text="norm after the script's own clipping", brief="after own clipping")


def test_a_number_that_means_something_else_says_so_in_its_title_and_once_in_the_diary():
    frame = build_frame(Sources("r", story(LABEL), Diagnosis.nothing(), step=20, alive=True))
    titles = [chart_spec(frame, i, Choice(), focused=False).title for i in range(4)]
    assert titles[1] == "grad norm · after own clipping · log"
    assert not any("clipping" in title for title in (titles[0], *titles[2:]))
    assert [line.text for line in frame.events] == ["grad norm: norm after the script's own clipping"]


def test_a_chart_that_stays_empty_says_what_to_do_about_it():
    told = story(event("state", state="running"), event("label", metric="loss", text="not seen: call monitor.log(loss=...)", brief="not seen"))
    frame = build_frame(Sources("r", told, Diagnosis.nothing(), step=20, alive=True))
    assert frame.charts[0].waiting == "not seen: call monitor.log(loss=...)"


def test_an_attempt_of_several_ranks_says_how_many_they_are_now():
    told = story(Event(0, 0.0, 1, 0, "attempt", {"from_step": 0, "world": 4}), Event(0, 0.0, 2, 10, "attempt", {"from_step": 10, "world": 3}))
    assert [line.text for line in told.lines] == ["attempt 2 goes on from step 10 on 3 ranks"]


def test_what_a_number_means_is_for_one_attempt_and_control_characters_are_kept_out():
    odd = event("label", metric="grad_norm", text="\x1b[31mred", brief="\x07")
    assert not any(ord(c) < 32 for words in story(odd).labels["grad_norm"] for c in words)
    assert story(LABEL, Event(0, 0.0, 2, 10, "attempt", {"number": 2})).labels == {}


@pytest.mark.parametrize(("values", "width", "says"), [
    ({"overhead": 0.0063}, 120, "tuimon takes 0.6 %"), ({"overhead": 0.0063}, 60, None), ({}, 120, None), ({"overhead": math.nan}, 120, None),
])
def test_what_tuimon_itself_takes_is_on_the_screen_where_there_is_room(values, width, says):
    frame = build_frame(Sources("run", story(), Diagnosis.nothing(), values=values, step=40, alive=True))
    (line,) = badge_lines(frame, width, 40)
    text = text_of(line)
    assert len(text) <= width
    assert ("tuimon takes" in text) == (says is not None)
    assert says is None or text.rstrip().endswith(says)


@pytest.mark.parametrize("back", ["NaN", "Infinity", math.nan, math.inf, 1.5, 10**400, None])
def test_a_rescue_that_does_not_say_where_it_went_back_to_is_told_without(back):
    told = story(event("rescue", id="a", tick="held"), event("rescue", id="a", tick="restored", to_step=back))
    assert told.lines[-1].text == "rescued"
    assert build_frame(Sources("r", told, Diagnosis.nothing(), step=20, alive=True)).verdict
