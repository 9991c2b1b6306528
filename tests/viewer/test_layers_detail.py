"""What the layers' producer hands on is what the log has, over the steps that are wanted, and computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from read_run import layered, stretch, tensor_rows

from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Diagnosis, Incident, RunContext
from tuimon.record.chunk import Chunk, Mark, ProbeRows, WeightRows
from tuimon.record.probes import ProbeEntry
from tuimon.viewer.lines import text_of
from tuimon.viewer.places.layers import draw
from tuimon.viewer.places.layers.detail import LayersDetail
from tuimon.viewer.places.layers.look import Look
from tuimon.viewer.places.layers.model import Ask
from tuimon.viewer.wanted import Wanted, Window

WANTED = Wanted(place="layers", ask=Ask())


def grads(count=60, tensors=6, seed=0):
    return (10 ** (-2 + 0.1 * np.random.default_rng(seed).standard_normal((count, tensors)))).astype(np.float32)


def update(read, wanted=WANTED, detail=None):
    return (detail or LayersDetail()).update(read, wanted, 0.0, 0.0)


def test_the_map_has_the_values_of_the_log_layer_by_layer():
    grad = grads()
    view = update(layered(grad, layers=3))
    assert view.layers == ("blocks.0", "blocks.1", "blocks.2")
    expected = np.sqrt((grad.reshape(60, 3, 2).astype(np.float64) ** 2).sum(2) / 32)
    np.testing.assert_allclose(view.grid.last, expected, rtol=1e-6)
    for layer, step in ((0, 1), (2, 60), (1, 33)):
        said = text_of(draw.readout(view, Look(layer=f"blocks.{layer}", at=step), 10))
        assert f"step {step} · {draw.number(float(expected[step - 1, layer]))} ·" in said


def test_only_what_the_run_has_is_offered_and_the_rest_says_what_it_needs():
    entries = (ProbeEntry("blocks.0.attn", "attention_logit"), ProbeEntry("blocks.1.attn", "attention_logit"))
    probes = ProbeRows(np.array([10, 20]), np.array([[8, 9], [120, 9]], np.float32), np.ones((2, 2), np.bool_))
    none = np.full((60, 6), np.nan, np.float32)
    read = layered(grads(), layers=3, update=none, probes=probes, entries=entries)
    view = update(read)
    assert view.offered == ("gradient", "attention_logit")
    logits = update(read, replace(WANTED, ask=Ask("attention_logit")))
    assert logits.layers == ("blocks.0", "blocks.1")
    assert logits.ranks.tolist() == [[0, 0], [7, 0]]
    for name, words in (("weight", "no norms of the weights per layer"), ("update", "no updates per tensor"),
                        ("dead_units", "no activation probe")):
        assert words in update(read, replace(WANTED, ask=Ask(name))).awaited


def test_the_weights_of_a_layer_are_the_root_mean_square_of_its_elements_on_their_own_steps():
    rng = np.random.default_rng(0)
    norms, seen = rng.lognormal(size=(8, 9)).astype(np.float32), np.ones((8, 9), np.bool_)
    seen[:, 1] = False   # a second tensor of the first layer that nobody measured
    norms[3, 4] = np.inf
    weights = WeightRows(np.arange(8, 72, 8), norms, seen)
    read, detail = layered(grads(70, 9), layers=3, parts=("attn", "mlp", "frozen"), weights=weights), LayersDetail()
    view = update(read, replace(WANTED, ask=Ask("weight")), detail)
    assert view.offered == ("gradient", "update", "weight")
    squares = (norms.astype(np.float64) ** 2).reshape(8, 3, 3)[:, :, :2]   # frozen ones belong to no layer
    wanted = np.sqrt(squares.sum(2) / 32)
    wanted[:, 0] = norms[:, 0] / 4
    assert view.grid.steps.tolist() == weights.steps.tolist()
    np.testing.assert_allclose(view.grid.last, wanted, rtol=1e-6)
    assert view.grid.bad.tolist() == [[i == 3 and k == 1 for k in range(3)] for i in range(8)]
    said = text_of(draw.readout(view, Look(layer="blocks.2", at=16), 10))
    assert f"step 16 · {draw.number(float(wanted[1, 2]))} ·" in said
    page = update(read, replace(WANTED, at=30, ask=Ask("weight", "blocks.2")), detail).page
    assert page.history.steps.tolist() == [8, 16, 24]
    assert page.tensors.weight.tolist() == norms[2, 6:].tolist()
    assert page.tensors.weighed.all()
    assert not update(read, replace(WANTED, at=7, ask=Ask(tensors=True)), detail).tensors.weighed.any()


def test_before_the_first_step_it_says_what_is_awaited():
    read = layered(grads(), layers=3)
    read.history = type(read.history)(read.history.table)
    assert update(read).awaited == "waiting for the first step"
    read.more(Chunk.of(loss=[3.0, 2.9]))
    assert "no gradients per tensor" in update(read).awaited


def test_window_and_moment_cut_the_map():
    read, detail = layered(grads(300), layers=3), LayersDetail()
    view = update(read, replace(WANTED, window=Window(100, 200)), detail)
    assert (view.grid.steps[0], view.grid.steps[-1]) == (99, 201)   # and what stands at its edges
    assert (view.first, view.last) == (100, 200)
    past = update(read, replace(WANTED, at=150, ask=Ask(tensors=True)), detail)
    assert past.grid.steps[-1] == 150
    assert past.tensors.step == 150
    np.testing.assert_array_equal(past.tensors.grad, grads(300)[149])
    assert "nothing was measured" in update(read, replace(WANTED, window=Window(400, 500)), detail).awaited


def test_an_opened_layer_has_its_whole_history_and_its_tensors_frozen_ones_too():
    grad = grads(80, 9)
    grad[50:, 4] = np.inf
    seen = np.ones(grad.shape, np.bool_)
    seen[:, 2::3] = False
    read = layered(grad, layers=3, parts=("attn", "mlp", "frozen"), seen=seen)
    page = update(read, replace(WANTED, ask=Ask(layer="blocks.1"))).page
    assert page.layer == "blocks.1"
    assert page.tensors.names == ("blocks.1.attn.weight", "blocks.1.mlp.weight", "blocks.1.frozen.weight")
    assert page.tensors.dtypes == ("float32",) * 3
    assert page.tensors.trained.tolist() == [True, True, False]
    assert page.tensors.seen.tolist() == [True, True, False]
    assert np.isinf(page.tensors.grad[1])
    np.testing.assert_allclose(page.tensors.usual[0], np.median(grad[:, 3]), rtol=1e-6)
    assert page.history.bad.sum() == 30
    np.testing.assert_allclose(page.history.last[10], np.sqrt((grad[10, 3:5].astype(float) ** 2).sum() / 32), rtol=1e-6)


def test_the_newest_update_of_a_tensor_counts_where_steps_measure_some_of_them():
    moved = np.full((60, 6), np.nan, np.float32)
    moved[58, :3], moved[59, 3:] = 2e-3, 5e-3
    view = update(layered(grads(), layers=3, update=moved), replace(WANTED, ask=Ask(tensors=True)))
    np.testing.assert_allclose(view.tensors.update, [2e-3] * 3 + [5e-3] * 3)


def test_the_usual_is_that_of_the_time_before_the_first_incident():
    rng = np.random.default_rng(0)
    calm = grads(240)
    calm[200:] *= 10 ** np.linspace(0, 4, 40)[:, None]
    read = layered(calm, layers=3)
    engine = Engine(RunContext())
    norms = np.sqrt((calm.astype(float) ** 2).sum(1))
    engine.feed(Chunk.of(loss=list(2 + 3 * np.exp(-np.arange(240) / 60) + 0.01 * rng.standard_normal(240)), grad_norm=list(norms)))
    read.diagnosis = engine.diagnosis
    assert read.diagnosis.incidents
    view = update(read)
    assert view.before is not None
    assert 195 < view.before < 230
    assert view.usual.max() < 0.02
    assert view.ranks[-1].max() == 9
    assert (view.ranks[:190] == 0).all()


def spoilt(onset: int, resolved: int | None) -> Incident:
    return Incident("exploding-gradients", "T110", "gradients", "critical", "open" if resolved is None else "resolved", onset,
                    onset + 3, resolved, None, "high", "Exploding gradients", "", (), (), "exploding")


def test_once_it_is_over_what_is_usual_is_learned_anew_and_what_was_before_keeps_its_own():
    grad = grads(300)
    grad[200:240] *= 1e4
    grad[240:] *= 50   # a rescued run goes on elsewhere
    read = layered(grad, layers=3)
    read.diagnosis = replace(Diagnosis.nothing(), steps=300, incidents=(spoilt(201, 241),))
    view = update(read, replace(WANTED, ask=Ask("gradient", tensors=True)))
    assert (view.ranks[:200] == 0).all()
    assert (view.ranks[200:240] == 9).all()
    assert (view.ranks[240:] == 0).all()
    np.testing.assert_allclose(view.usual_at(None) / view.usual_at(240), 50, rtol=0.3)
    np.testing.assert_allclose(view.tensors.usual, np.median(grad[240:], axis=0), rtol=1e-6)
    for step, says in ((100, "1."), (220, "x above its usual"), (290, "1.")):
        words = text_of(draw.value_words(view, 0, step))
        assert says in words.split(" · ")[3], words


@pytest.mark.parametrize(("incidents", "at"), [
    ((spoilt(201, 241),), 242),                       # too few rows since
    ((spoilt(201, 230), spoilt(210, None)), None),    # one is over, the other lasts
    ((spoilt(201, 230), spoilt(215, 290)), 289),      # it was open then
])
def test_what_is_usual_is_not_learned_anew_from_rows_that_tell_too_little(incidents, at):
    grad = grads(300)
    grad[200:] *= 1e3
    read = layered(grad, layers=3)
    read.diagnosis = replace(Diagnosis.nothing(), steps=300, incidents=incidents)
    view = update(read, replace(WANTED, at=at))
    np.testing.assert_array_equal(view.usual_at(None), view.usual)
    assert (view.ranks[-1] == 9).all()


def test_nothing_is_made_anew_while_nothing_changes_and_new_rows_change_it():
    read, detail = layered(grads(50), layers=3), LayersDetail()
    first = update(read, detail=detail)
    assert update(read, detail=detail) is first
    read.more(stretch(tensor_rows(grads(5, seed=1), steps=range(51, 56))))
    then = update(read, detail=detail)
    assert then != first
    assert len(then.grid) == 55


def test_a_judge_that_only_got_further_changes_nothing_and_one_that_found_an_onset_does():
    read, detail = layered(grads(50), layers=3), LayersDetail()
    first = update(read, detail=detail)
    read.revision += 1
    assert update(read, detail=detail) is first
    rising = Engine(RunContext())
    rising.feed(Chunk.of(loss=[2.0] * 20 + [float("nan")] * 30, grad_norm=[1.0] * 20 + [float("nan")] * 30))
    read.diagnosis = rising.diagnosis
    then = update(read, detail=detail)
    assert then is not first
    assert then.before == 21


@pytest.mark.parametrize("quantity", ["gradient", "update"])
def test_turning_the_quantity_and_back_gives_the_same_again(quantity):
    read, detail = layered(grads(1500), layers=3), LayersDetail()
    ask = replace(WANTED, ask=Ask(quantity))
    one = update(read, ask, detail)
    update(read, replace(WANTED, ask=Ask("update" if quantity == "gradient" else "gradient")), detail)
    again = update(read, ask, detail)
    np.testing.assert_array_equal(one.ranks, again.ranks)
    np.testing.assert_array_equal(one.grid.last, again.grid.last)


def test_a_loss_that_does_not_fall_leaves_the_usual_alone():
    read = layered(grads(240), layers=3)
    engine = Engine(RunContext())
    engine.feed(Chunk.of(loss=list(4 + 0.01 * np.random.default_rng(0).standard_normal(240))))
    read.diagnosis = engine.diagnosis
    assert any(i.onset_step <= 3 for i in read.diagnosis.incidents)
    assert update(read).before is None


def test_in_the_past_what_came_later_is_not_usual():
    grad = grads(200)
    grad[60:] *= 1000
    view = update(layered(grad, layers=3), replace(WANTED, at=59))
    np.testing.assert_allclose(view.usual, np.median(view.grid.last, axis=0), rtol=1e-6)
    assert view.usual.max() < 0.1


def test_what_was_handed_out_stays_when_an_attempt_does_the_steps_again():
    read = layered(np.full((6, 4), 2.0), layers=2)
    tensors = LayersDetail().update(read, Wanted("layers", ask=Ask(tensors=True)), 0.0, 0.0).tensors
    assert tensors is not None
    again = stretch(tensor_rows(np.full((3, 4), 50.0), steps=[4, 5, 6]))
    read.more(replace(again, marks=(Mark(3, "attempt", {"number": 2, "from_step": 3}),)))
    assert tensors.grad.tolist() == [2.0] * 4   # the screen draws it while the feed reads on
    assert tensors.seen.all()
