"""Faults of the machine and of the script around the model: slow data, slow steps, memory that is never given back."""

from __future__ import annotations

import time
from typing import Any, Final

import psutil
import torch

from tests.zoo.bases import one_of, onset
from tests.zoo.data import Batch, Draw
from tests.zoo.training import Training

PAUSE: Final = 0.04
CLOCK: Final = 120.0
"""A step counts as seconds, as where models are large: a slow one is not told before it has lasted for minutes."""


def starved(seed: int) -> Training:
    """From a step on the loader waits for its storage."""
    t = one_of(seed, (("lstm", "AdamW"), ("vit", "SGD"), ("gpt", "SGD")), steps=450)
    start = t.onset = onset(seed, 200, 60)
    t.steps = start + 150

    def sees(step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        if step >= start:
            time.sleep(PAUSE)
        return draw(generator, size)

    t.sees, t.clock = sees, CLOCK
    return t


def slower_steps(seed: int) -> Training:
    """From a step on something that has nothing to do with the data takes as long as the step itself, and more."""
    t = one_of(seed, (("lstm", "AdamW"), ("vit", "SGD"), ("gpt", "SGD")))
    start = t.onset = onset(seed, 200, 60)
    t.steps = start + 150

    def after(step: int, training: Training, monitor: Any) -> None:
        if step >= start:
            time.sleep(PAUSE)  # a log on a file system that is slow

    t.after, t.clock = after, CLOCK
    return t


def leaking(seed: int) -> Training:
    """What each step computed is kept, as where losses are collected with their graphs."""
    t = one_of(seed, (("lstm", "AdamW"), ("gpt", "SGD")))
    kept: list[torch.Tensor] = []
    process = psutil.Process()
    start = t.onset = onset(seed, 200, 60)
    t.steps = start + 400

    def after(step: int, training: Training, monitor: Any) -> None:
        if step >= start:
            kept.append(torch.ones(1 << 18))  # a megabyte that is really touched
        monitor.log(memory=process.memory_info().rss)  # at each step: tuimon itself looks once a second

    t.after = after
    return t
