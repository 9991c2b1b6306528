"""What other tools log of activations: per layer or for the model, under many names, in shares or not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tuimon.errors import LogError
from tuimon.formats import read
from tuimon.record.probes import ProbeEntry


@pytest.fixture
def told(tmp_path):
    """Records, read."""
    def write(records, name="a.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return read(str(path))
    return write


def probes(reading):
    """As {(quantity, layer): {step: value}}."""
    found = {}
    for chunk in reading.chunks:
        for i, step in enumerate(chunk.probes.steps.tolist()):
            for j, entry in enumerate(reading.context.probes):
                if chunk.probes.seen[i, j]:
                    found.setdefault((entry.quantity, entry.module), {})[step] = float(chunk.probes.values[i, j])
    return found


@pytest.mark.parametrize(("name", "quantity"), [
    ("layer_attention_logit", "attention_logit"), ("maxlogit", "attention_logit"), ("max_attention_logit", "attention_logit"),
    ("layer_max_logit", "attention_logit"), ("layer_attention_entropy", "attention_entropy"), ("ent", "attention_entropy"),
    ("entropy", "attention_entropy"), ("layer_dead_units", "dead_units"), ("dead", "dead_units"), ("layer_dead", "dead_units"),
    ("dead_share", "dead_units"), ("layer_activation_rms", "activation_rms"),
])
def test_objects_and_lists_are_read_per_layer_under_the_names_that_others_give_them(told, name, quantity):
    there = told([{"step": 1, "loss": 3, name: {"h.0": 0.5, "h.1": None}}, {"step": 2, "loss": 3}, {"step": 3, "loss": 2, name: {"h.1": 0.25}}])
    assert probes(there) == {(quantity, "h.0"): {1: 0.5}, (quantity, "h.1"): {3: 0.25}}
    listed = told([{"step": 1, "loss": 3, name: [0.5, 0.25]}, {"step": 2, "loss": 3, name: None}])
    assert probes(listed) == {(quantity, "layers.0"): {1: 0.5}, (quantity, "layers.1"): {1: 0.25}}
    assert not there.notes


def test_flat_columns_of_a_csv_are_read_per_layer(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("step,loss,layer_attention_logit/blocks.0,layer_dead_units/blocks.0\n1,3,7,0.5\n2,3,,0.25\n")
    reading = read(str(path))
    assert probes(reading) == {
        ("attention_logit", "blocks.0"): {1: 7.0}, ("dead_units", "blocks.0"): {1: 0.5, 2: 0.25}}
    assert reading.context.probes == (ProbeEntry("blocks.0", "attention_logit"), ProbeEntry("blocks.0", "dead_units"))


def test_a_log_of_probes_alone_can_be_judged_too(told):
    assert probes(told([{"step": i, "layer_dead_units": {"a": 0.1}} for i in (1, 2)])) == {("dead_units", "a"): {1: pytest.approx(0.1), 2: pytest.approx(0.1)}}


def test_numbers_for_the_whole_model_are_columns_and_a_policys_entropy_is_none_of_them(told):
    reading = told([{"step": i, "loss": 3, "maxlogit": 5.0, "attn_entropy": 0.5, "dead_share": 0.25, "logsumexp": 4.0, "entropy": 2.0, "dead": 12}
                    for i in (1, 2)])
    assert {n: float(v[0]) for n, v in reading.chunks[0].columns.items()} == {
        "loss": 3.0, "attention_logit": 5.0, "attention_entropy": 0.5, "dead_units": 0.25, "logit_scale": 4.0}


def test_entropies_in_nats_become_shares_of_the_largest_and_it_is_said(told):
    reading = told([{"step": 1, "loss": 3, "ent": [3.6, 3.5]}, {"step": 2, "loss": 3, "ent": [0.36, 3.6]}])
    found = probes(reading)
    assert found["attention_entropy", "layers.0"] == {1: pytest.approx(1.0), 2: pytest.approx(0.1)}
    assert any("attention_entropy goes up to 3.6, so it is no share: judged as a share of that" in note for note in reading.notes)
    shares = told([{"step": 1, "loss": 3, "ent": [1.004, 0.5]}])
    assert probes(shares)["attention_entropy", "layers.0"][1] == pytest.approx(1.004)
    assert not any("entropy" in note for note in shares.notes)


def test_counts_of_silent_units_are_no_shares_and_left_out_aloud(told):
    reading = told([{"step": 1, "loss": 3, "layer_dead_units": {"a": 300, "b": 1}}, {"step": 2, "loss": 3}])
    assert probes(reading) == {}
    assert any("dead_units goes up to 300: no share" in note for note in reading.notes)


def test_what_is_logged_per_layer_and_not_known_is_named(told):
    reading = told([{"step": 1, "loss": 3, "layer_sparkle": {"a": 1.0}, "layer_glow": [1, 2], "layer_count": 12}, {"step": 2, "loss": 3}])
    assert any("'layer_sparkle', 'layer_glow': not known, and left out" in note for note in reading.notes)


def test_a_resumed_log_keeps_its_probes_with_their_attempts(told):
    reading = told([{"step": s, "loss": 3, "dead": {"a": s / 100}} for s in (1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8)])
    assert [chunk.probes.steps.tolist() for chunk in reading.chunks] == [[1, 2, 3, 4, 5, 6], [4, 5, 6, 7, 8]]
    assert reading.chunks[1].marks[0].kind == "attempt"
    np.testing.assert_allclose(reading.chunks[1].probes.values[:, 0], [0.04, 0.05, 0.06, 0.07, 0.08], rtol=1e-6)


def test_words_among_a_layers_values_get_one_line_with_their_place(told):
    with pytest.raises(LogError, match=r"line 2, key 'layer_dead_units/layers.1': 'much' is not a number"):
        told([{"step": 1, "loss": 3, "dead": [0.1, 0.1]}, {"step": 2, "loss": 3, "dead": [0.1, "much"]}])
