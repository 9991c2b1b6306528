"""Faults of the data: wrong labels, bad batches, a wrong order, too little, too much given away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from tests.zoo.bases import adamw, base, one_of, onset
from tests.zoo.data import Batch, Draw
from tests.zoo.training import Training, flat
from tuimon.record.chunk import Chunk

Spoil = Callable[[Batch, torch.Generator], Batch]


def shuffled(batch: Batch, generator: torch.Generator) -> Batch:
    """Right labels at wrong samples, as where two files have slipped against each other."""
    inputs, targets = batch
    order = torch.randperm(targets.numel(), generator=generator)
    return inputs, targets.flatten()[order].view_as(targets)


def noise(batch: Batch, generator: torch.Generator) -> Batch:
    """Tokens of another file altogether."""
    most = int(batch[0].max()) + 1
    both = torch.randint(most, (batch[0].shape[0], batch[0].shape[1] + 1), generator=generator)
    return both[:, :-1], both[:, 1:]


def turning_point(chunks: Sequence[Chunk]) -> int:
    """The step of the lowest validation loss."""
    steps, values = (np.concatenate(parts) for parts in zip(*(c.measured("val_loss") for c in chunks), strict=True))
    return int(steps[values.argmin()])


def levelling(chunks: Sequence[Chunk]) -> int:
    """The first step from which on 50 losses are as low, within half a percent, as the last thousand."""
    steps, values = (np.concatenate(parts) for parts in zip(*(c.measured("loss") for c in chunks), strict=True))
    means = np.convolve(values, np.full(50, 0.02), "valid")
    return int(steps[np.argmax(means <= 1.005 * values[-1000:].mean())])


def spoiling(t: Training, when: Callable[[int], bool], spoil: Spoil) -> None:
    """At some steps the batch is spoilt."""

    def sees(step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        batch = draw(generator, size)
        return spoil(batch, generator) if when(step) else batch

    t.sees = sees


def labels_shuffled_for_a_while(seed: int) -> Training:
    """The labels of some batches in a row are shuffled; then all is well again."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("vit", "SGD"), ("lstm", "AdamW")))
    start = t.onset = onset(seed, 300)
    spoiling(t, lambda step: start <= step < start + 15 + 3 * (seed % 5), shuffled)
    return t


def labels_shuffled_for_good(seed: int) -> Training:
    """From a step on labels and inputs do not belong together."""
    t = one_of(seed, (("gpt-deep", "AdamW"), ("vit", "AdamW"), ("lstm", "SGD"), ("gpt", "Muon")))
    start = t.onset = onset(seed, 300)
    t.steps = start + 250
    spoiling(t, lambda step: step >= start, shuffled)
    return t


def one_bad_batch(seed: int) -> Training:
    """One batch of noise; the run does not mind."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-wide", "AdamW"), ("gpt-deep", "AdamW"), ("gpt", "Muon")), clip=1.0)
    at = t.onset = onset(seed)
    t.steps = at + 150
    spoiling(t, lambda step: step == at, noise)
    return t


def wrong_unit(seed: int) -> Training:
    """Some targets of one batch are in another unit, nothing clips, and SGD takes the gradient as it comes."""
    t = base(seed, "mlp", "SGD", steps=700)
    at = t.onset = onset(seed)

    def sees(step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        x, y = draw(generator, size)
        if step == at:
            y[:2] *= (100.0, 200.0)[seed % 2]
        return x, y

    t.sees, t.schedule = sees, flat()
    return t


def broken_worker(seed: int) -> Training:
    """From a step on one of several loading processes gives labels that do not belong to its inputs."""
    t = one_of(seed, (("gpt-deep", "AdamW"), ("lstm", "AdamW"), ("vit", "AdamW"), ("gpt", "AdamW")), steps=700)
    start, workers = onset(seed), (4, 8, 6)[seed % 3]
    t.onset = start
    spoiling(t, lambda step: step >= start and step % workers == 0, shuffled)
    return t


def sorted_data(seed: int) -> Training:
    """From a step on a loader sorts each few batches from easy to hard: the loss swings with that period."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-wide", "AdamW")), steps=800)
    start, period = onset(seed), (12, 16, 10)[seed % 3]
    t.onset, shard = start, []

    def sees(step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        if step < start:
            return draw(generator, size)
        if not shard:
            inputs, targets = draw(generator, size * period)
            often = torch.bincount(targets.flatten(), minlength=200).float()
            order = often[targets].log().mean(1).argsort()
            shard.extend(zip(inputs[order].split(size), targets[order].split(size), strict=True))
        return shard.pop()

    t.sees = sees
    return t


def few_data(seed: int) -> Training:
    """A handful of samples, seen until they are known by heart."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("vit", "AdamW")))
    kept = t.task.draw(torch.Generator().manual_seed(seed), 96)

    def sees(_step: int, _draw: Draw, generator: torch.Generator, size: int) -> Batch:
        some = torch.randint(96, (size,), generator=generator)
        return kept[0][some], kept[1][some]

    t.sees, t.validate_every, t.schedule, t.begins = sees, 20, flat(), turning_point
    return t


def random_labels(seed: int) -> Training:
    """The labels never had to do with the inputs: there is nothing to learn."""
    t = one_of(seed, (("vit", "AdamW"), ("vit", "SGD")))
    t.onset = 1
    spoiling(t, lambda _step: True, shuffled)
    return t


def sees_only_itself(seed: int) -> Training:
    """A mask bug lets each token see nothing but itself: what that tells is soon learned."""
    t = base(seed, "gpt", steps=2_600, optimize=adamw(lr=1e-2, weight_decay=0.0), n_layers=1, n_heads=1, d_ff=32,
             looks_back=False)
    t.schedule, t.batch_size, t.begins = flat(), 48, levelling
    return t


def leak(seed: int) -> Training:
    """From a step on what is to be predicted stands in the input: the targets are no longer shifted."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("lstm", "AdamW"), ("gpt-wide", "Adafactor")))
    start = t.onset = onset(seed, 300)
    t.steps = start + 250
    spoiling(t, lambda step: step >= start, lambda batch, _generator: (batch[1], batch[1]))
    return t


def repeated_data(seed: int) -> Training:
    """After a resume the loader gives the same few batches again and again."""
    t = one_of(seed, (("gpt-deep", "AdamW"), ("gpt-wide", "AdamW"), ("lstm", "AdamW")))
    start = t.onset = onset(seed, 300)
    t.steps, t.schedule = start + 300, flat()
    kept: list[Batch] = []

    def sees(step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        if step < start:
            return draw(generator, size)
        if len(kept) < 3:
            kept.append(draw(generator, size))
        return kept[step % len(kept)]

    t.sees = sees
    return t


def creeping_noise(seed: int) -> Training:
    """The data grow worse: from a step on, more and more labels are random."""
    t = one_of(seed, (("gpt-deep", "AdamW"), ("vit", "AdamW"), ("lstm", "AdamW")), steps=900)
    start = t.onset = onset(seed)

    def creep(step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        inputs, targets = draw(generator, size)
        share = min(0.6, max(0, step - start) / 700)
        wrong = torch.rand(targets.shape, generator=generator) < share
        return inputs, torch.where(wrong, shuffled((inputs, targets), generator)[1], targets)

    t.sees = creep
    return t


def padded_stretch(seed: int) -> Training:
    """A long stretch of padding lets Adam's second moment decay; the first real batches then move far too far."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW")), optimize=adamw(lr=6e-3, betas=(0.9, 0.95)))
    start = onset(seed)
    t.onset, t.schedule = start, flat()

    def sees(step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        inputs, targets = draw(generator, size)
        return (inputs * 0, targets * 0) if start <= step < start + 120 else (inputs, targets)

    t.sees = sees
    return t
