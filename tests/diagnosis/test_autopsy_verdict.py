"""What an autopsy makes of what a replay saw, in values and in words; what a log alone tells; what the rule does with it."""

from __future__ import annotations

import json
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_curves import calm

from tuimon.diagnosis.autopsy.fallback import from_log
from tuimon.diagnosis.autopsy.model import Autopsy, Place, Sight, Span, first_bad_gradient, place_of
from tuimon.diagnosis.autopsy.page import page
from tuimon.diagnosis.autopsy.verdict import Replayed, backward, forward, nearest_to_overflow
from tuimon.diagnosis.autopsy.words import advice, layer, sentence, subject, usual
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, Mark, TensorRows

FINE = Span(-1.0, 1.0, 0, 10, "float32")
NAN = Span(math.nan, math.nan, 3, 10, "float32")
INF = Span(-1.0, math.inf, 1, 10, "float32")
DARK = Span(-math.inf, 1.0, 4, 10, "float32")
"""With -inf, as scores have where nobody may look."""


def calls(*rows: tuple[str, str, Span | None, Span | None]) -> tuple[Sight, ...]:
    return tuple(Sight(*row) for row in rows)


def seen(*rows, entered=FINE, left=NAN, **more) -> Replayed:
    left = left if isinstance(left, dict) else {"output": left}
    return Replayed(calls(*rows), {"tokens": entered}, left, **more)


def test_the_innermost_module_with_finite_before_it_and_not_behind_is_convicted():
    found = forward(seen(
        ("embed", "Embedding", FINE, FINE), ("block.fc", "Linear", FINE, INF), ("block.act", "GELU", INF, NAN),
        ("block", "Block", FINE, NAN), ("head", "Linear", NAN, NAN), ("", "Net", FINE, NAN)))
    assert (found.sight.module, found.place) == ("block.fc", "linear")
    assert [s.module for s in found.chain] == ["embed", "block.fc", "block.act", "head"]


def test_a_module_whose_parts_are_innocent_is_convicted_for_its_own_code():
    found = forward(seen(
        ("block.fc", "Linear", FINE, FINE), ("block.out", "Linear", NAN, NAN), ("block", "Block", FINE, NAN),
        ("", "Net", FINE, NAN)))
    assert (found.sight.module, found.place) == ("block", "code")
    attention = forward(seen(("attn.q", "Linear", FINE, FINE), ("attn", "SelfAttention", FINE, NAN), ("", "Net", FINE, NAN)))
    assert attention.place == "attention"


def test_minus_infinity_is_a_mask_unless_it_leaves_the_model():
    masks = (("mask", "Mask", FINE, DARK), ("softmax", "Softmax", DARK, NAN), ("", "Net", FINE, NAN))
    assert forward(seen(*masks)).sight.module == "softmax"
    assert forward(seen(("mask", "Mask", FINE, DARK), ("head", "Linear", FINE, FINE), ("", "Net", FINE, FINE), left=FINE)) is None
    logs = (("log", "Log", FINE, DARK), ("", "Net", FINE, DARK))
    assert forward(seen(*logs, left=DARK)).sight.module == "log"


def test_a_batch_is_to_blame_only_where_no_module_is_and_something_came_of_it():
    through = (("fc", "Linear", NAN, NAN), ("", "Net", NAN, NAN))
    assert (forward(seen(*through, entered=NAN)).place, forward(seen(*through, entered=NAN)).sight.module) == ("batch", "tokens")
    assert forward(seen(("fc", "Linear", NAN, FINE), ("", "Net", NAN, FINE), entered=NAN, left=FINE)) is None


def test_one_bad_number_beside_finite_outputs_is_the_loss_that_the_model_gives_itself():
    rows = (("fc", "Linear", FINE, FINE), ("", "Net", FINE, NAN))
    one = Span(math.nan, math.nan, 1, 1, "float32")
    assert forward(seen(*rows, left={"logits": FINE, "loss": one})).place == "loss"
    assert forward(seen(*rows, left={"logits": NAN, "loss": one})).place == "code"
    assert forward(seen(*rows, left={"loss": one})).place == "code", "nothing finite stands beside it"


def test_on_the_way_back_the_innermost_module_that_a_finite_gradient_entered_is_convicted():
    gradients = calls(("embed", "Embedding", NAN, None), ("mid.fc", "Linear", NAN, NAN), ("mid", "Sqrt", FINE, NAN),
                      ("head", "Linear", FINE, FINE), ("", "Net", FINE, None))
    found = backward(seen(gradients=gradients))
    assert (found.sight.module, found.place) == ("mid", "code")
    assert [s.module for s in found.chain] == ["head", "mid", "mid.fc", "embed"]
    alone = backward(seen(gradients=calls(("scale", "Scale", FINE, FINE), ("", "Net", FINE, None)), parameters={"scale.weight": NAN}))
    assert alone.sight.module == "scale"
    assert backward(seen(gradients=calls(("fc", "Linear", FINE, FINE), ("", "Net", FINE, None)), parameters={"fc.weight": FINE})) is None


@pytest.mark.parametrize(("kind", "place"), [
    ("Embedding", "embedding"), ("RotaryEmbedding", "embedding"), ("GPT2Attention", "attention"), ("Softmax", "attention"),
    ("LlamaRMSNorm", "norm"), ("LayerNorm", "norm"), ("Conv1D", "linear"), ("Linear", "linear"), ("NewGELUActivation", "activation"),
    ("CrossEntropyLoss", "loss"), ("Block", "code"), ("LSTM", "linear"),
])
def test_a_class_tells_what_kind_of_place_it_is(kind, place):
    assert place_of(kind) == place


def test_the_output_that_comes_nearest_to_where_its_type_ends_is_worth_a_word():
    half = Span(-6e4, 1.0, 0, 10, "float16")
    rows = calls(("a", "Linear", FINE, FINE), ("b", "Linear", FINE, half), ("c", "Linear", half, Span(-9e4, 9e4, 0, 1, "float32")))
    assert nearest_to_overflow(rows).module == "b"
    assert nearest_to_overflow(rows[:1]) is None


# -- words


SPANS = st.one_of(st.none(), st.builds(Span, st.floats(), st.floats(), st.integers(0, 9), st.integers(0, 9), st.sampled_from(["", "float16"])))
AUTOPSIES = st.builds(
    Autopsy, st.integers(0, 10**9), st.sampled_from(get_args(Place)), st.sampled_from(["replay", "backward order"]), st.text(max_size=20),
    st.text(max_size=9), st.sampled_from(["forward", "backward", ""]), st.one_of(st.none(), st.integers(0, 10**9)), st.integers(1, 9), st.integers(1, 9), SPANS, SPANS,
    st.lists(st.builds(Sight, st.text(max_size=9), st.text(max_size=9), SPANS, SPANS), max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["loss", "grad_norm"]), st.floats(), max_size=2), st.lists(st.text(max_size=9), max_size=2).map(tuple), st.text(max_size=9),
    st.floats(0, 100))


@given(AUTOPSIES, st.integers(20, 120))
def test_every_autopsy_has_words_and_comes_back_from_json_as_it_was(found, width):
    again = Autopsy.parse(json.loads(json.dumps(found.fields(), allow_nan=False)))
    assert repr(again) == repr(found), "NaN differs from itself"
    assert usual(found).meaning
    assert advice(found)
    assert subject(found)
    assert isinstance(sentence(found), str)
    assert layer(found) is None or layer(found) == found.module
    lines = list(page(found, width, "/runs/a", lambda text: "".join(filter(str.isprintable, text))))
    assert lines[0].startswith("step ")
    assert all(line.isprintable() for line in lines)


@given(st.dictionaries(st.sampled_from(["examined", "place", "found_by", "module", "phase", "weights_step", "micro", "went_in", "chain", "values", "notes", "seconds"]),
                       st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.just("loss"), st.just("replay"), st.lists(st.integers(), max_size=2),
                                 st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.just(10**400))))
def test_what_another_version_or_somebody_else_wrote_is_no_autopsy_and_no_error(body):
    found = Autopsy.parse(body)
    assert found is None or (isinstance(found.step, int) and found.place in get_args(Place))


# -- the log alone


def rows(step: int, *grads: float, seen=None) -> TensorRows:
    grad = np.array([grads], np.float32)
    there = np.ones_like(grad, np.bool_) if seen is None else np.array([seen], np.bool_)
    return TensorRows(np.array([step]), grad, np.full_like(grad, np.nan), there)


def test_backward_order_names_the_bad_gradient_nearest_to_the_output():
    names, here = ["embed", "fc", "act", "head"], np.ones(4, np.bool_)
    assert first_bad_gradient(names, np.array([np.nan, np.inf, 1.0, 1.0], np.float32), here) == ("fc", False)
    assert first_bad_gradient(names, np.full(4, np.nan, np.float32), np.array([1, 1, 0, 0], np.bool_)) == ("fc", True)
    assert first_bad_gradient(names, np.ones(4, np.float32), here) is None


def test_a_log_alone_tells_its_first_bad_step_and_the_first_bad_gradient_in_backward_order():
    found = from_log([Chunk.of(loss=[2.0, 2.0]), Chunk.of(steps=[3, 4], loss=[math.nan, 1.0], grad_norm=[math.inf, 1.0], tensors=rows(3, math.nan, 1.0))], ["a", "b"])
    assert (found.step, found.found_by, found.module) == (3, "backward order", "a")
    assert set(found.values) == {"loss", "grad_norm"}
    assert from_log([Chunk.of(loss=[2.0, 2.0])], ["a"]) is None


def test_what_a_scaler_skips_is_no_case_and_without_gradients_nothing_is_named():
    skipped = Chunk.of(loss=[2.0, 2.0, 2.0], grad_norm=[1.0, math.inf, 1.0], skipped=[0.0, 1.0, 0.0], loss_scale=[8.0, 8.0, 4.0])
    assert from_log([skipped], []) is None
    found = from_log([Chunk.of(loss=[2.0, math.inf])], ["a"])
    assert (found.step, found.module) == (2, "")
    assert "cannot" not in sentence(found)
    assert found.notes[0].startswith("gradients of single tensors")


# -- the rule


def judged(*marks: Mark, cuts=(), n: int = 40, bad: int = 30):
    columns, _ = calm(n)
    for name in ("loss", "grad_norm"):
        columns[name] = [math.nan if i + 1 >= bad else v for i, v in enumerate(columns[name])]
    engine = Engine(RunContext(layers={"a": (0,), "b": (1,)}, tensor_sizes=(4, 4), tensor_names=("a.w", "b.w")))
    whole = Chunk.of(**columns, marks=marks, tensors=rows(bad, math.nan, 1.0))
    for piece in whole.pieces(list(cuts)):
        engine.feed(piece)
    return next(i for i in engine.diagnosis.incidents if i.rule == "non-finite")


def mark(step: int = 30, **fields) -> Mark:
    found = Autopsy(**{"step": 30, "place": "code", "found_by": "replay", "module": "b.exp", "kind": "Exp", "phase": "forward", "weights_step": 20, "went_in": FINE, "came_out": NAN, **fields})
    return Mark(step, "autopsy", json.loads(json.dumps(found.fields(chain=False))))


def test_an_autopsy_names_the_module_and_the_cause_of_the_incident():
    plain, found = judged(), judged(mark())
    assert (plain.layer, found.layer) == ("a", "b.exp")
    assert "b.exp (Exp) is the first to make it" in found.why
    assert "learning rate" in " ".join(plain.next)
    assert "learning rate" not in " ".join(found.next)
    assert "exp" in found.next[1]


@pytest.mark.parametrize("place", ["loss", "labels", "batch"])
def test_where_the_data_or_the_loss_are_to_blame_no_layer_and_no_smaller_learning_rate_is(place):
    found = judged(mark(place=place, module="labels" if place == "labels" else ""))
    assert found.layer is None
    assert not any(line.startswith("lower the learning rate") for line in found.next)
    assert "go back" in found.next[0]


def test_weights_that_went_wrong_by_themselves_leave_the_advice_as_it_is():
    found = judged(mark(place="weights", module=""))
    assert found.layer == "a"
    assert "the same batch is finite" in found.why
    assert found.next == judged().next


def test_an_autopsy_of_before_says_nothing_about_an_incident_and_an_odd_mark_nothing_at_all():
    old = Autopsy(5, "loss", "replay", phase="forward")
    assert judged(Mark(5, "autopsy", old.fields(chain=False))).why == judged().why
    assert judged(Mark(30, "autopsy", {"place": 3})).why == judged().why


@given(st.lists(st.integers(1, 39), max_size=4, unique=True), st.integers(29, 39))
def test_how_the_log_was_cut_does_not_matter_to_the_verdict(cuts, at):
    a, b = judged(mark(at), cuts=cuts), judged(mark(at))
    assert (a.layer, a.why, a.next, a.severity, a.onset_step) == (b.layer, b.why, b.next, b.severity, b.onset_step)
