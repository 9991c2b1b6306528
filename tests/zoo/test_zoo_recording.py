"""A recording comes back as it was saved, bit for bit, and so is judged the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tests.zoo.recording import Label, Recording, _pack, _unpack, load, save
from tuimon.diagnosis.judging import judge
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, Mark, TensorRows

SICK = Label("planted", False, ("divergence",), ("loss-spike",), 61, "blocks.1", True, 90)


def recording(*chunks: Chunk, label: Label = SICK) -> Recording:
    context = RunContext(
        total_steps=200, vocab_size=256, optimizer="AdamW", eps=1e-8, tensor_names=("blocks.0.w", "blocks.1.w"),
        tensor_sizes=(12, 12), layers={"blocks.0": (0,), "blocks.1": (1,)},
    )
    return Recording(label, 3, "gpt", "AdamW", context, chunks)


def eventful() -> tuple[Chunk, ...]:
    """Explodes at 61, is not finite at the end, was resumed; one column is sparse, one is beyond float32."""
    rng = np.random.default_rng(0)
    loss = 2 + 3 * np.exp(-np.arange(120) / 40) + rng.normal(0, 0.03, 120)
    loss[60:110] += 0.3 * np.arange(50)
    loss[118:] = math.nan, math.inf
    steps = np.arange(10, 121, 10)
    grad = np.exp(rng.normal(0, 0.1, (12, 2))).astype(np.float32)
    grad[11, 1] = np.nan
    seen = np.ones((12, 2), np.bool_)
    seen[3, 0] = False
    chunk = Chunk.of(
        loss=[*loss[:119], None], grad_norm=list(rng.normal(1, 0.1, 120)), lr=[0.003] * 120,
        val_loss=[2.5 if i % 20 == 0 else None for i in range(120)], changed=[1e300] * 120,
        tensors=TensorRows(steps, grad, grad * np.float32(1e-3), seen),
        marks=(Mark(0, "attempt", {"number": 1, "from_step": 0}), Mark(70, "note", {"text": "é", "list": [1, math.nan]})),
    )
    return tuple(chunk.pieces([50, 90]))


def test_what_was_saved_is_loaded_and_judged_the_same(tmp_path):
    before = recording(*eventful())
    save(tmp_path / "a.npz", before)
    after = load(tmp_path / "a.npz")
    assert repr(after) == repr(before)
    for old, new in zip(before.chunks, after.chunks, strict=True):
        for name in old.columns:
            assert new.columns[name].tobytes() == old.columns[name].tobytes()
            assert new.columns[name].dtype == old.columns[name].dtype
            assert (new.present[name] == old.present[name]).all()
        assert new.tensors.grad.tobytes() == old.tensors.grad.tobytes()
        assert (new.tensors.grad_seen == old.tensors.grad_seen).all()
    said = judge(after.chunks, after.context)
    assert repr(said) == repr(judge(before.chunks, before.context))
    assert len(said.incidents) >= 2
    assert not list(tmp_path.glob(".*"))


@settings(max_examples=60)
@given(st.sampled_from(["<f8", "<f4", "<i8", "?", "<f2"]).flatmap(lambda kind: arrays(kind, array_shapes(min_dims=1, max_dims=2, min_side=0))))
def test_any_array_survives(array):
    cells: list[bytes] = [b"abc"]
    back = _unpack(_pack(array, cells), b"".join(cells))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")
    assert array.dtype.kind != "f" or (np.signbit(back) == np.signbit(array))[~np.isnan(array)].all()


def test_six_hundred_rows_with_their_tensors_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    column = lambda: list(np.exp(rng.normal(0, 0.2, 600)).astype(np.float32).astype(float))
    tensors = TensorRows(
        np.arange(10, 601, 10), np.exp(rng.normal(0, 1, (60, 50))).astype(np.float32),
        np.exp(rng.normal(0, 1, (60, 50))).astype(np.float32), np.ones((60, 50), np.bool_),
    )
    names = ("loss", "grad_norm", "update_ratio", "param_norm", "lr", "step_time")
    save(tmp_path / "a.npz", recording(Chunk.of(tensors=tensors, **{name: column() for name in names})))
    assert (tmp_path / "a.npz").stat().st_size < 40_000


def test_a_file_that_is_no_recording_is_refused_in_one_line(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npz is no recording of this zoo") as caught:
        load(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)
