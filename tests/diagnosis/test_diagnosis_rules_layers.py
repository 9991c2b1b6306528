"""Golden pairs of the rules that look at layers: cut off, not moving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from labelled_curves import calm, judged, layered, of_rule

from tuimon.record.chunk import Chunk, TensorRows

LAYERS = 5


def run(grad=None, seen=None, update=None, rows=30, dtypes=(), **columns):
    """A calm run with a per-tensor row every 10 steps; each argument edits (rows, layers) arrays in place."""
    known, tensors = calm(10 * rows, layers=LAYERS)
    moved = np.full((rows, LAYERS), 1e-3, np.float32)
    present = np.ones((rows, LAYERS), np.bool_)
    for edit, array in ((grad, tensors.grad), (seen, present), (update, moved)):
        if edit is not None:
            edit(array)
    return judged(Chunk.of(**known | columns, tensors=TensorRows(tensors.steps, tensors.grad, moved, present)),
                  replace(layered(LAYERS), dtypes=dtypes))


def only(diagnosis, slug):
    found = of_rule(diagnosis, slug)
    assert len(found) == 1, diagnosis.incidents
    return found[0]


def zeros(where, first=0, last=None):
    def edit(array):
        array[first:last, where] = 0
    return edit


def test_layers_in_front_of_a_cut_are_detached_and_the_cut_is_named():
    found = only(run(grad=zeros([0, 1])), "detached-layer")
    assert (found.layer, found.onset_step, found.detected_step, found.severity) == ("blocks.1", 10, 30, "warning")
    assert "while blocks.2, right behind, has an ordinary one" in found.why
    assert not of_rule(run(grad=zeros([0, 1])), "vanishing-gradients")


def test_a_layer_without_a_gradient_in_the_middle_is_detached():
    def absent(array):
        array[:, 2] = False
    found = only(run(seen=absent), "detached-layer")
    assert found.layer == "blocks.2"
    assert "no gradient" in found.why


def test_a_layer_that_is_cut_off_later_has_its_onset_there_and_is_over_when_it_is_reached_again():
    found = only(run(grad=zeros([0], 10, 20)), "detached-layer")
    assert (found.onset_step, found.detected_step, found.state, found.resolved_step) == (110, 130, "resolved", 210)


def test_zero_gradients_for_a_moment_or_of_experts_or_everywhere_are_nothing():
    assert not run(grad=zeros([0, 1], 0, 2)).incidents
    assert not of_rule(run(grad=zeros(slice(None))), "detached-layer")


def test_weights_that_stay_where_they_are_under_a_gradient_are_told_with_their_layer():
    found = only(run(update=zeros([3])), "not-updating")
    assert (found.layer, found.onset_step, found.detected_step) == ("blocks.3", 10, 50)
    assert only(run(update=zeros(slice(None))), "not-updating").why.startswith("No weight at all moves")


def test_weights_that_are_not_measured_or_have_no_gradient_or_no_learning_rate_are_not_accused():
    def unmeasured(array):
        array[:, 3] = np.nan
    assert not run(update=unmeasured).incidents
    assert not of_rule(run(update=zeros([3]), grad=zeros([3])), "not-updating")
    assert not of_rule(run(update=zeros([3]), lr=[0.0] * 300), "not-updating")
    assert not run(update=zeros([3], 0, 4)).incidents


def test_half_precision_at_the_end_of_its_schedule_is_for_information():
    def severity(dtype, decayed):
        found = run(update=zeros([3], 20), dtypes=(dtype,), lr=[1e-3] * 180 + [1e-5 if decayed else 1e-3] * 120)
        return only(found, "not-updating").severity
    assert severity("bfloat16", decayed=True) == "info"
    assert severity("bfloat16", decayed=False) == severity("float32", decayed=True) == "warning"
