"""What is kept in the repository is judged as what was recorded."""

from __future__ import annotations

import numpy as np

from tests.zoo.judges import ours
from tests.zoo.recording import Label, Recording, load, save
from tests.zoo.thin import thinned
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, TensorRows

SICK = Label("vanishes", False, ("vanishing-gradients",), (), 201, "blocks.0", False, None)


def recording() -> Recording:
    rng = np.random.default_rng(0)
    steps = np.arange(2, 401, 2)
    grad = np.exp(rng.normal(0, 0.1, (200, 4))).astype(np.float32)
    grad[100:, 0] *= 1e-9
    tensors = TensorRows(steps, grad, grad * np.float32(1e-3), np.ones((200, 4), np.bool_))
    loss = (2 + np.exp(-np.arange(400) / 80) + rng.normal(0, 0.03, 400)).astype(np.float32)
    loss[300] = 9.0
    chunk = Chunk.of(loss=list(map(float, loss)), overhead=[0.01] * 400, tensors=tensors)
    context = RunContext(optimizer="AdamW", eps=1e-8, tensor_names=tuple(f"blocks.{i}.w" for i in range(4)),
                         tensor_sizes=(100,) * 4, layers={f"blocks.{i}": (i,) for i in range(4)})
    return Recording(SICK, 20, "gpt", "AdamW", context, (chunk,))


def test_less_is_kept_and_the_same_is_said(tmp_path):
    whole = recording()
    less = thinned(whole)
    before = ours(whole)
    assert {a.name for a in before.alarms} >= {"vanishing-gradients", "outlier-batch"}
    save(tmp_path / "a.npz", less)
    assert repr(ours(load(tmp_path / "a.npz"))) == repr(before)
    assert "overhead" not in less.chunks[0].columns
    assert len(less.chunks[0].tensors) <= len(whole.chunks[0].tensors)
