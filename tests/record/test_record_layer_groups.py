"""Per-tensor rows and probe rows as per-layer values: all layers at once say what each says alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuimon.record.chunk import ProbeRows, TensorRows
from tuimon.record.layered import CELLS, LayerGroups
from tuimon.record.probes import QUANTITIES, ProbeEntry, ProbeLayers
from tuimon.record.tensors import TensorEntry, TensorTable

TABLE = TensorTable((
    TensorEntry("embed.weight", (8, 4), "float32"), TensorEntry("blocks.0.w", (4, 4), "float32"),
    TensorEntry("blocks.1.w", (4, 4), "float32"), TensorEntry("blocks.0.b", (4,), "float32"),
    TensorEntry("blocks.1.frozen", (4,), "float32", trained=False), TensorEntry("head.w", (4, 8), "float32"),
))


def rows(count: int = 40) -> TensorRows:
    rng = np.random.default_rng(3)
    grad = rng.random((count, 6), np.float32)
    seen = rng.random((count, 6)) > 0.3
    grad[5, 1], grad[6, 3] = np.inf, np.nan
    update = np.where(rng.random((count, 6)) > 0.5, rng.random((count, 6)), np.nan).astype(np.float32)
    return TensorRows(np.arange(1, count + 1), np.where(seen, grad, np.nan).astype(np.float32), update, seen)


def expected(values, there, sizes, squared):
    """One layer in one row, the slow way."""
    kept = [(float(v), n) for v, s, n in zip(values, there, sizes, strict=True) if s]
    if not kept:
        return math.nan
    mean = sum((v * v if squared else v) * n / (n if squared else 1) for v, n in kept) / sum(n for _, n in kept)
    return math.sqrt(mean) if squared else mean


def test_layers_stand_in_model_order_with_their_trained_tensors():
    groups = LayerGroups.of(TABLE)
    assert groups.names == ("embed", "blocks.0", "blocks.1", "head")
    assert [groups.tensors(i).tolist() for i in range(4)] == [[0], [1, 3], [2], [5]]


@pytest.mark.parametrize("block", [CELLS, 12])
def test_gradients_and_updates_of_each_layer_are_what_its_tensors_say(block, monkeypatch):
    monkeypatch.setattr("tuimon.record.layered.CELLS", block)
    what, groups = rows(), LayerGroups.of(TABLE)
    (rms, had), (ratio, moved) = groups.grad_rms(what), groups.update_ratio(what)
    for layer in range(4):
        where = groups.tensors(layer)
        sizes = [TABLE.entries[i].numel for i in where]
        for m in range(len(what)):
            assert had[m, layer] == what.grad_seen[m, where].any()
            assert rms[m, layer] == pytest.approx(
                expected(what.grad[m, where], what.grad_seen[m, where], sizes, squared=True), nan_ok=True)
            measured = ~np.isnan(what.update[m, where])
            assert moved[m, layer] == measured.any()
            assert ratio[m, layer] == pytest.approx(
                expected(what.update[m, where], measured, sizes, squared=False), nan_ok=True)


def test_what_is_not_finite_stays_so_and_one_layer_alone_reads_the_same():
    what, groups = rows(), LayerGroups.of(TABLE)
    what.grad_seen[5:7, [1, 3]] = True
    what.grad[5, 3] = what.grad[6, 1] = 1.0
    rms, _ = groups.grad_rms(what)
    assert math.isinf(rms[5, 1])
    assert math.isnan(rms[6, 1])
    for layer in range(4):
        alone = groups.only(layer)
        assert alone.names == (groups.names[layer],)
        np.testing.assert_array_equal(alone.grad_rms(what)[0][:, 0], rms[:, layer])


def test_rows_of_another_table_say_nothing():
    values, seen = LayerGroups.of(TABLE).grad_rms(TensorRows.empty(2))
    assert values.shape == (0, 4)
    other = TensorRows(np.array([1]), *[np.ones((1, 2), np.float32)] * 2, np.ones((1, 2), np.bool_))
    values, seen = LayerGroups.of(TABLE).grad_rms(other)
    assert not seen.any()
    assert np.isnan(values).all()


@pytest.mark.parametrize("quantity", ["attention_logit", "attention_entropy", "dead_units"])
def test_probes_of_all_layers_at_once_read_as_each_layer_alone(quantity):
    assert quantity in QUANTITIES
    entries = [ProbeEntry(f"blocks.{i}.part.{j}", quantity) for j in range(2) for i in range(3)]
    entries.insert(2, ProbeEntry("blocks.0.mlp", "activation_rms"))
    rng = np.random.default_rng(1)
    values, seen = rng.random((30, 7), np.float32), rng.random((30, 7)) > 0.4
    values[4, 0] = np.nan
    sampled, layers = ProbeRows(np.arange(1, 31) * 10, values, seen), ProbeLayers(entries)
    assert layers.layers(quantity) == ("blocks.0", "blocks.1", "blocks.2")
    found, there = layers.by_layer(sampled, quantity)
    for i, name in enumerate(layers.layers(quantity)):
        steps, alone = layers.series(sampled, quantity, name)
        np.testing.assert_array_equal(sampled.steps[there[:, i]], steps)
        np.testing.assert_allclose(found[there[:, i], i], alone, rtol=1e-6)
    none, no = layers.by_layer(ProbeRows.empty(5), quantity)
    assert none.shape == (0, 3)
    assert not no.any()
