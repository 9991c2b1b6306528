"""What the incidents screen is made of: order, stretch of curve, choice, words, pictures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.diagnosis.axes import XAxis, fit
from tuimon.diagnosis.causes import as_events
from tuimon.diagnosis.model import Diagnosis, Evidence, Incident, NotEvaluated
from tuimon.diagnosis.proof import LEAD_ROWS, curve, leading_step, span
from tuimon.record.chunk import Chunk, ProbeRows, TensorRows
from tuimon.record.columns import Column
from tuimon.record.history import History
from tuimon.record.probes import ProbeEntry
from tuimon.viewer.charts.chart import ChartSpec, Level, draw
from tuimon.viewer.charts.series import Series
from tuimon.viewer.frame import empty_frame
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.layers import LayerStrip
from tuimon.viewer.lines import text_of
from tuimon.viewer.places.incidents.draw import (
    Look,
    branches,
    curve_spec,
    draw_list,
    draw_numbers,
    draw_text,
    entries,
    list_lines,
    number_lines,
    text_lines,
)
from tuimon.viewer.places.incidents.proofs import AT_ONCE, Proofs
from tuimon.viewer.reading import Reading
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Wanted

NO_LAYERS = LayerStrip(None)


def incident(rule="exploding-gradients", onset=200, **fields) -> Incident:
    base = {
        "code": "T110", "category": "gradients", "severity": "critical", "state": "open", "detected_step": onset + 3,
        "resolved_step": None, "layer": None, "confidence": "high", "headline": rule.replace("-", " ").capitalize(),
        "why": f"It is {rule}.", "next": ("lower the learning rate",), "word": "bad",
        "evidence": (Evidence("grad_norm", 50.0, 10.0, 1.0),)}
    if fields.get("resolved_step"):
        base["state"] = "resolved"
    return Incident(rule=rule, onset_step=onset, **{**base, **fields})


def diagnosis(*incidents, steps=300, waiting=()) -> Diagnosis:
    return replace(Diagnosis.nothing(), steps=steps, incidents=incidents, not_evaluated=waiting)


def history(steps=300, every=1, **columns) -> History:
    at = np.arange(every, steps + 1, every)
    data = {"grad_norm": np.where(at < 200, 1.0, 50.0), **{name: f(at) for name, f in columns.items()}}
    kept = History()
    kept.extend(Chunk(at, at.astype(float), data, {n: np.isfinite(v) for n, v in data.items()}, TensorRows.empty(0), ()))
    return kept


def frame(*incidents, waiting=(), steps=300, kept=None) -> Frame:
    proofs = Proofs()
    proofs.update(diagnosis(*incidents), kept or history(), NO_LAYERS)
    base = empty_frame("x", "")
    return replace(base, incidents=proofs.views, unlooked=waiting, facts=replace(base.facts, step=steps))


def said(lines) -> str:
    return "\n".join(map(text_of, lines))


def test_a_cause_stands_before_its_signs_and_what_is_over_comes_last():
    schedule = incident("lr-schedule-fault", severity="warning")
    exploding = incident(cause="lr-schedule-fault")
    nan = incident("non-finite", cause="exploding-gradients")
    alone = incident("throughput-drop", severity="warning")
    over = incident("loss-spike", 40, resolved_step=90)
    found = as_events((exploding, nan, schedule, alone, over))
    assert [(i.rule, depth) for i, depth in found] == [
        ("lr-schedule-fault", 0), ("exploding-gradients", 1), ("non-finite", 2), ("throughput-drop", 0), ("loss-spike", 0)]


def test_causes_that_explain_each_other_in_a_ring_are_each_listed_once():
    a, b = incident("divergence", cause="loss-spike"), incident("loss-spike", cause="divergence")
    assert sorted(i.rule for i, _ in as_events((a, b))) == ["divergence", "loss-spike"]


def test_a_sign_stands_below_a_cause_that_was_going_on_when_it_began_and_else_for_itself():
    sign = incident("loss-spike", cause="divergence")
    over = incident("divergence", resolved_step=250)
    assert as_events((sign, over)) == ((over, 0), (sign, 1))
    before = incident("divergence", 100, resolved_step=150)
    assert as_events((sign, before)) == ((sign, 0), (before, 0))
    assert as_events((sign, before, over)) == ((over, 0), (sign, 1), (before, 0))


def test_the_stretch_begins_before_the_onset_and_holds_the_end():
    view = curve(incident(onset=200, resolved_step=240), history(), NO_LAYERS)
    assert view.first <= 160
    assert view.last >= 240
    assert view.columns.steps[0] >= view.first
    assert float(np.nanmin(view.columns.low)) == 1.0
    assert float(np.nanmax(view.columns.high)) == 50.0


def test_what_probes_measured_is_drawn_of_the_incidents_layer_and_else_what_was_logged_of_the_model():
    silent = float(np.float32(0.95))
    found = incident("dead-units", 200, layer="blocks.1", category="activations", evidence=(Evidence("dead_units", silent, 0.9, 0.1),))
    kept = history(dead_units=lambda at: np.where(at < 200, 0.3, silent))
    of_model = curve(found, kept, NO_LAYERS)
    assert (of_model.title, float(of_model.columns.high[-1]), of_model.limit) == ("dead units", silent, 0.9)
    probed = History(None, [ProbeEntry(f"blocks.{i}.mlp", "dead_units") for i in (0, 1)])
    steps = np.arange(10, 301, 10)
    shares = np.stack((np.full(30, 0.2), np.where(steps < 200, 0.1, 0.95)), 1).astype(np.float32)
    probed.extend(Chunk.of(loss=[1.0] * 300, probes=ProbeRows(steps, shares, np.ones((30, 2), np.bool_))))
    of_layer = curve(found, probed, NO_LAYERS)
    assert of_layer.title == "dead units of blocks.1"
    assert of_layer.columns.steps[of_layer.columns.high > 0.9].min() == 200
    assert of_layer.limit == 0.9
    assert not of_layer.log


def test_what_is_logged_rarely_still_shows_where_it_came_from():
    at = np.arange(100, 5001, 100)
    first, last = span(incident(onset=4000), 4100, leading_step(incident(onset=4000), at))
    assert np.count_nonzero((at >= first) & (at < 4000)) == LEAD_ROWS
    assert last >= 4100


def test_the_axis_of_an_open_incident_stays_put_between_steps_of_its_ladder():
    at = np.arange(5000)
    lead = leading_step(incident(onset=200), at)
    assert len({span(incident(onset=200), now, lead) for now in range(201, 1200)}) < 25


@pytest.mark.parametrize(("evidence", "limit"), [
    (Evidence("grad_norm", 50.0, 10.0), 10.0),
    (Evidence("grad_norm", math.nan, math.nan), None),
    (Evidence("grad_norm", 0.004, 0.01, 50.0), None),   # a slope or a swing: not a point of this curve
    (Evidence("grad_norm", math.inf, 10.0), None),
])
def test_a_limit_is_drawn_only_where_the_number_that_crossed_it_is_one_of_the_curve(evidence, limit):
    assert curve(incident(evidence=(evidence,)), history(), NO_LAYERS).limit == limit


def test_without_its_own_metric_an_incident_shows_what_its_category_is_about():
    kept = history(loss=lambda at: at * 0.01)
    assert curve(incident(evidence=(Evidence("unheard", 1.0, 1.0),)), kept, NO_LAYERS).title == "grad norm"
    assert curve(incident(evidence=(), category="throughput"), kept, NO_LAYERS) is None


def test_a_layer_is_convicted_by_its_own_gradient():
    steps, rms = np.arange(0, 300, 10), np.ones((30, 2), np.float32)
    rms[20:, 1] = np.nan
    strip = LayerStrip(None, ("embed", "head"), (Column.of(steps), Column.of(rms), Column.of(rms > 0)))
    one = incident("detached-layer", layer="head", category="layers", evidence=(Evidence("layer_grad_norm", 0.0, 0.0),))
    view = curve(one, history(), strip)
    assert view.title == "gradient RMS of head"
    assert view.columns.steps[-1] < 200
    assert not view.columns.bad.any()


def test_of_a_run_of_many_incidents_the_newest_get_their_curves_first_and_all_of_them_in_the_end():
    many, proofs, turns = [incident("loss-spike", 20 + i, resolved_step=22 + i) for i in range(5 * AT_ONCE)], Proofs(), 0
    still = [incident("divergence", 100 + i) for i in range(2 * AT_ONCE)]   # open ones are cut anew each time, and hold up nothing
    while not turns or proofs.is_behind:
        proofs.update(diagnosis(*many, *still), history(), NO_LAYERS)
        turns += 1
        cut = [view.incident.onset_step for view in proofs.views if view.curve is not None and view.incident.state == "resolved"]
        assert sorted(cut) == [20 + i for i in range(5 * AT_ONCE)][-turns * AT_ONCE:]
    assert turns == 5
    assert all(view.curve is not None for view in proofs.views)


def test_equal_incidents_can_be_told_apart_and_what_is_over_is_cut_once():
    again = [incident("loss-spike", 40, resolved_step=90), incident("loss-spike", 40, resolved_step=95)]
    proofs = Proofs()
    proofs.update(diagnosis(*again), history(), NO_LAYERS)
    first = proofs.views
    assert len({view.key for view in first}) == 2
    proofs.update(diagnosis(*again), history(), NO_LAYERS)
    assert all(a.curve is b.curve for a, b in zip(first, proofs.views, strict=True))


def test_what_is_over_stands_below_a_cause_of_its_cause_that_is_found_later():
    sign = incident("loss-spike", 203, detected_step=210, resolved_step=220, cause="exploding-gradients")
    proofs = Proofs()
    proofs.update(diagnosis(incident("exploding-gradients"), sign), history(), NO_LAYERS)
    assert [view.depth for view in proofs.views] == [0, 1]
    schedule = incident("lr-schedule-fault", severity="warning", detected_step=230)
    proofs.update(diagnosis(incident("exploding-gradients", cause="lr-schedule-fault"), sign, schedule), history(), NO_LAYERS)
    assert [(view.incident.rule, view.depth) for view in proofs.views] == [
        ("lr-schedule-fault", 0), ("exploding-gradients", 1), ("loss-spike", 2)]


def test_a_frame_with_numbers_that_are_not_finite_is_shown_once_not_at_every_look():
    run = synthetic.healthy(120)
    for _ in range(5):
        run.values(loss=float("nan"), grad_norm=float("inf"), lr=3e-4)
    reading = Reading(run.dir)
    shown = reading.poll(1.0, 1.0)
    assert any(math.isnan(e.limit) for view in shown.incidents for e in view.incident.evidence)
    assert reading.poll(1.0, 1.0) is None


def test_the_choice_stays_with_its_incident_whatever_is_found_meanwhile():
    mine = incident("plateau", severity="warning")
    before = frame(mine)
    look = Look().at(before)
    worse = frame(incident(), incident("divergence"), mine)
    assert look.at(worse).chosen(worse).incident.rule == "plateau"
    over = frame(incident(), replace(mine, state="resolved", resolved_step=280))
    assert look.at(over).chosen(over).incident.state == "resolved"


def test_where_the_chosen_one_has_gone_its_neighbour_is_chosen_and_at_the_end_nothing():
    both = frame(incident(), incident("divergence"))
    look = Look().at(both).moved(both, 1)
    left = frame(incident())
    assert look.at(left).chosen(left).incident.rule == "exploding-gradients"
    assert look.at(frame()).chosen(frame()) is None


def test_the_choice_moves_through_incidents_and_rules_that_could_not_look_and_stops_at_the_ends():
    shown = frame(incident(), waiting=(NotEvaluated("plateau", ("2,000 more values of loss",)),))
    look = Look().at(shown)
    assert look.moved(shown, -1) == look
    last = look.moved(shown, 1)
    assert last.moved(shown, 1) == last
    text = said(text_lines(shown, last.chosen(shown), 80, numbers=True))
    assert "It needs 2,000 more values of loss." in text
    assert "plateau (T" in text


def test_another_choice_is_read_from_its_first_line():
    shown = frame(incident(), incident("divergence"))
    look = Look().at(shown).read(5, 40, 10)
    assert look.line == 5
    assert look.read(100, 40, 10).line == 30
    assert look.read(-100, 40, 10).line == 0
    assert look.moved(shown, 1).line == 0


@pytest.mark.parametrize("width", [40, 76, 116])
def test_an_incident_is_told_with_why_numbers_advice_and_its_whole_manual_page(width):
    from tuimon.diagnosis.manual import page

    shown = frame(incident(layer="blocks.3", next=("go back to step 190", "clip at 1.0")))
    lines = text_lines(shown, shown.incidents[0], width, numbers=True)
    text = " ".join(said(lines).split())
    for words in ("It is exploding-gradients.", "Began at step 200 in blocks.3, found at 203 with high confidence, still open",
                  "grad norm 50.0 10.0 1.00", "1 Go back to step 190.", "2 Clip at 1.0.", "exploding-gradients (T110)",
                  *(" ".join(part.split()) for part in page("exploding-gradients").parts.values())):
        assert words in text
    assert max(len(text_of(line)) for line in lines) <= width


def test_cause_and_signs_name_each_other():
    shown = frame(incident("lr-schedule-fault"), incident(cause="lr-schedule-fault"))
    cause, sign = (said(text_lines(shown, view, 100, numbers=False)) for view in shown.incidents)
    assert "Also shows as: Exploding gradients." in cause
    assert "A sign of: Lr schedule fault." in sign


def test_a_sign_whose_name_holds_a_comma_is_told_apart_from_the_next():
    shown = frame(incident("lr-schedule-fault"), replace(incident(cause="lr-schedule-fault"), headline="Loss spike, recovered"),
                  incident("divergence", cause="lr-schedule-fault"))
    cause = said(text_lines(shown, shown.incidents[0], 100, numbers=False))
    assert "Also shows as: Loss spike, recovered; Divergence." in cause or "Also shows as: Divergence; Loss spike, recovered." in cause


def test_the_key_that_helps_is_offered_only_where_a_rescue_treats_it_and_the_run_lives():
    def offered(one, **state):
        shown = replace(frame(one), **state)
        return "goes back to" in said(text_lines(shown, shown.incidents[0], 100, numbers=False))

    live = {"state": "running", "is_live": True}
    assert offered(incident(rescue_helps=True), **live)
    assert not offered(incident(rescue_helps=True), state="finished", is_live=False)
    assert not offered(incident(), **live)
    assert not offered(incident(rescue_helps=True, resolved_step=250), **live)


def test_memory_is_said_in_gigabytes_in_the_numbers_and_at_the_limit():
    evidence = Evidence("memory", 5.6e9, 4.5e9, 3e9)
    rows = said(number_lines(frame(incident(category="throughput", evidence=(evidence,))).incidents[0]))
    assert rows.splitlines()[1].startswith("memory ")
    assert all(words in rows for words in ("5.6 GB", "4.5 GB", "3.0 GB"))


def test_a_verdict_of_the_notebook_says_that_it_has_no_page():
    shown = frame(incident("notebook-lr"))
    assert "it has no page" in said(text_lines(shown, shown.incidents[0], 80, numbers=True))


def test_the_list_says_so_in_words_where_there_is_nothing():
    assert "Nothing judged yet." in said(list_lines(frame(steps=0), Look(), 80, 5))
    shown = frame(waiting=(NotEvaluated("non-finite", ("grad_norm",)),))
    text = said(list_lines(shown, Look(), 80, 5))
    assert "Nothing found in 300 steps." in text
    assert "could not look: non-finite, needs grad_norm" in text


def test_a_row_of_the_list_says_severity_headline_since_layer_and_confidence():
    shown = frame(incident(layer="blocks.3.mlp"), incident("loss-spike", 1040, resolved_step=1090, confidence="low"))
    first, second = (text_of(line) for line in list_lines(shown, Look().at(shown), 100, 5))
    assert first.split() == ["▸", "✖", "critical", "Exploding", "gradients", "since", "200", "blocks.3.mlp", "high"]
    assert second.split() == ["✖", "critical", "Loss", "spike", "1,040–1,090", "over", "low"]
    assert len(first) == len(second) <= 100


def test_every_entry_of_a_long_list_can_be_reached_and_is_then_on_the_page():
    shown = frame(*(incident("loss-spike", at, resolved_step=at + 40) for at in range(10, 100)))
    look = Look().at(shown)
    for _ in entries(shown):
        lines = [text_of(line) for line in list_lines(shown, look, 80, 4)]
        assert sum(line.startswith("▸") for line in lines) == 1
        look = look.moved(shown, 1)
    assert look.row == 89
    assert "89–90 of 90" in "".join(draw_list(shown, look, 80, 5, BRAILLE, framed=False).lines)


def test_text_from_outside_is_clean_before_it_is_listed():
    hostile = "x[/red]\x1b]52;c;aGFja2Vk\x07\u202egpj"
    one = frame(incident(layer=hostile, why=hostile, headline=hostile, next=(hostile,))).incidents[0].incident
    assert {one.layer, one.why, one.headline, *one.next} == {"x[/red]gpj"}


def test_onset_end_and_limit_are_on_the_chart():
    shown = frame(incident(resolved_step=240))
    spec, x = curve_spec(shown, Look().at(shown))
    assert [(mark.step, mark.kind) for mark in spec.marks] == [(200, "onset"), (240, "rollback")]
    assert (spec.levels[0].at, spec.levels[0].word) == (10.0, "limit 10.0")
    lines = draw(spec, 80, 12, x, fit(None, spec.extent, x, log=spec.log, robust=spec.robust), BRAILLE).lines
    assert "┊" in "".join(lines)
    assert "╎" in "".join(lines)
    (limit,) = [line for line in lines if "╌ limit 10.0 ╌" in line]
    assert limit.count("╌") > 30


def test_an_incident_without_a_recorded_curve_says_so():
    shown = frame(incident(category="throughput", evidence=()))
    assert curve_spec(shown, Look().at(shown))[0].waiting == "its curve was not recorded"
    assert curve_spec(frame(), Look())[0].waiting == "no incident is chosen"


def test_a_limit_has_a_place_on_the_axis_and_its_word_keeps_clear_of_the_data():
    x = XAxis(0, 100)
    line = Series.of(np.arange(101), np.where(np.arange(101) < 50, 3.0, 1.0))
    spec = ChartSpec("loss", series=(line,), levels=(Level(3.0, "limit 3"),), robust=False)
    lines = draw(spec, 60, 12, x, fit(None, spec.extent, x, log=False, robust=False), BRAILLE).lines
    (row,) = [text for text in lines if "limit 3" in text]
    assert row.index("limit") > 30
    far = replace(spec, levels=(Level(9.0, "limit 9"),))
    assert fit(None, far.extent, x, log=False, robust=False).high >= 9.0


@settings(max_examples=60)
@given(width=st.integers(1, 220), height=st.integers(1, 70), count=st.integers(0, 12), moves=st.integers(0, 14),
       framed=st.booleans())
def test_every_picture_has_exactly_its_size(width, height, count, moves, framed):
    shown = frame(*(incident("divergence", 20 * i, layer="層" * i) for i in range(count)),
                  waiting=(NotEvaluated("plateau", ("x",)),))
    look = Look().at(shown)
    for _ in range(moves):
        look = look.moved(shown, 1)
    for glyphs in (BRAILLE, ASCII):
        for picture in (draw_list(shown, look, width, height, glyphs, framed=framed),
                        draw_text(shown, look, width, height, glyphs, framed=framed),
                        draw_numbers(shown, look, width, height, glyphs)):
            assert (picture.width, picture.height) == (width, height)


def test_in_the_past_the_list_says_which_were_open_then_and_offers_nothing_that_acts_on_it():
    found = frame(incident("loss-spike", 40, detected_step=45, resolved_step=90), incident(onset=200))
    then = replace(found, wanted=Wanted(at=60), is_live=True)
    text = "\n".join(draw_list(then, Look().at(then), 100, 10, BRAILLE, framed=True).lines)
    assert "at step 60: 1 open · 0 over · 1 to come" in text
    assert "since 40" in text
    assert "found at 203" in text
    rows = dict(zip(("spike", "exploding"), list_lines(then, Look().at(then), 90, 9), strict=False))
    assert [span.tone for span in rows["exploding"]][2:3] == ["dim"]
    assert [span.tone for span in rows["spike"]][2:3] == ["critical"]
    later = replace(then, wanted=Wanted(at=95))
    assert "40–90 over" in "\n".join(draw_list(later, Look().at(later), 100, 10, BRAILLE, framed=True).lines)
    rescued = replace(found, incidents=tuple(replace(v, incident=replace(v.incident, rescue_helps=True)) for v in found.incidents), is_live=True)
    look = Look().at(rescued).moved(rescued, 1)
    assert "goes back to" in said(text_lines(rescued, look.chosen(rescued), 80, numbers=False))
    assert "goes back to" not in said(text_lines(replace(rescued, wanted=Wanted(at=250)), look.chosen(rescued), 80, numbers=False))
    spec, _ = curve_spec(replace(rescued, wanted=Wanted(at=210)), look)
    assert [mark.step for mark in spec.marks if mark.heavy] == [210]


@pytest.mark.parametrize(("depths", "lines"), [
    ([0, 1, 2, 2, 1, 2, 0], ["", "├ ", "│ ├ ", "│ └ ", "└ ", "  └ ", ""]),
    ([0, 0, 1], ["", "", "└ "]),
    ([], []),
])
def test_the_list_draws_what_is_a_sign_of_what_as_a_tree(depths, lines):
    assert branches(depths) == lines
