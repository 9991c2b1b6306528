"""What the zoo's models learn: text, a generated language, generated pictures, a noisy function. Drawn by seed, no files.

Each task gives batches of two tensors, from a part that is trained on and a part that is held out, and the loss that a
user would write for it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuimon.demo.corpus import read_text

Batch = tuple[Tensor, Tensor]
Draw = Callable[[torch.Generator, int], Batch]
"""A batch of so many samples."""
Loss = Callable[[nn.Module, Batch], Tensor]

IGNORED: Final = -100
"""The label of a token that does not count, as in PyTorch."""
LETTERS, MARKS = 48, 4
MASK: Final = LETTERS + 2 * MARKS
VOCABULARY: Final = MASK + 1
"""Of the generated language: letters, opening and closing marks, the mask token."""
CLASSES, SIDE = 8, 16


@dataclass(frozen=True, slots=True)
class Task:
    """Something to learn."""

    draw: Draw
    held_out: Draw
    loss: Loss


def token_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy over the tokens, or samples, that count."""
    logits: Tensor = model(batch[0])
    return F.cross_entropy(logits.flatten(0, -2).float(), batch[1].flatten(), ignore_index=IGNORED)


def squared_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(model(batch[0]), batch[1])


def windows(tokens: Tensor, length: int) -> Draw:
    """Random windows of a long text, and the same one token later."""

    def draw(generator: torch.Generator, size: int) -> Batch:
        starts = torch.randint(len(tokens) - length, (size, 1), generator=generator)
        found = tokens[starts + torch.arange(length + 1)]
        return found[:, :-1], found[:, 1:]

    return draw


def masked(draw: Draw, share: float = 0.25) -> Draw:
    """Windows in which some tokens are hidden: the hidden ones are the labels."""

    def hide(generator: torch.Generator, size: int) -> Batch:
        tokens, _ = draw(generator, size)
        hidden = torch.rand(tokens.shape, generator=generator) < share
        return tokens.masked_fill(hidden, MASK), tokens.masked_fill(~hidden, IGNORED)

    return hide


@cache
def text_tokens() -> tuple[Tensor, int]:
    """The demo's text by characters, rare ones as one; and how many kinds there are."""
    text = read_text()
    common = sorted(c for c in set(text) if text.count(c) > 200)
    codes = {c: i + 1 for i, c in enumerate(common)}
    return torch.tensor([codes.get(c, 0) for c in text]), len(common) + 1


@cache
def language_tokens() -> Tensor:
    """A text in a language of words, topics that last, and sentences that close with the mark they opened with."""
    chance = random.Random(11)
    words = [[chance.randrange(LETTERS) for _ in range(chance.randint(2, 5))] for _ in range(160)]
    topics = [chance.sample(words, 30) for _ in range(10)]
    often = [1 / (rank + 1) for rank in range(30)]
    tokens: list[int] = []
    topic = topics[0]
    while len(tokens) < 150_000:
        if chance.random() < 0.1:
            topic = chance.choice(topics)
        mark = chance.randrange(MARKS)
        sentence = [t for word in chance.choices(topic, often, k=chance.randint(3, 8)) for t in word]
        slips = [chance.randrange(LETTERS) if chance.random() < 0.02 else t for t in sentence]
        tokens += [LETTERS + mark, *slips, LETTERS + MARKS + mark]
    return torch.tensor(tokens)


def parts(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Nine tenths to train on, the rest held out."""
    cut = len(tokens) * 9 // 10
    return tokens[:cut], tokens[cut:]


def text(length: int = 32) -> Task:
    """The next character of English documentation."""
    train, rest = parts(text_tokens()[0])
    return Task(windows(train, length), windows(rest, length), token_loss)


def language(length: int = 32) -> Task:
    """The next token of the generated language."""
    train, rest = parts(language_tokens())
    return Task(windows(train, length), windows(rest, length), token_loss)


def masked_language(length: int = 32) -> Task:
    """The hidden tokens of the generated language."""
    train, rest = parts(language_tokens())
    return Task(masked(windows(train, length)), masked(windows(rest, length)), token_loss)


def gratings(generator: torch.Generator, size: int, noise: float = 0.6) -> Batch:
    """Pictures (size, 1, 16, 16) of waves in four directions and two wavelengths, in noise; and which of the eight."""
    kinds = torch.randint(CLASSES, (size,), generator=generator)
    angle = (kinds % 4) * (math.pi / 4) + 0.15 * torch.randn(size, generator=generator)
    wave = torch.where(kinds < 4, 1.2, 0.7) * (1 + 0.1 * torch.randn(size, generator=generator))
    phase = 2 * math.pi * torch.rand(size, generator=generator)
    y, x = torch.meshgrid(torch.arange(float(SIDE)), torch.arange(float(SIDE)), indexing="ij")
    along = x * angle.cos()[:, None, None] + y * angle.sin()[:, None, None]
    clean = (wave[:, None, None] * along + phase[:, None, None]).sin()
    return (clean + noise * torch.randn(clean.shape, generator=generator))[:, None], kinds


def pictures() -> Task:
    """Which of eight gratings."""
    return Task(gratings, gratings, token_loss)


def function(noise: float = 0.02) -> Task:
    """A smooth function of sixteen numbers, with some noise: (n, 16) to (n, 4), of size about 0.1."""
    fixed = torch.Generator().manual_seed(5)
    inner, outer = torch.randn(16, 24, generator=fixed) / 4, torch.randn(24, 4, generator=fixed) / 40

    def draw(generator: torch.Generator, size: int) -> Batch:
        x = torch.randn(size, 16, generator=generator)
        return x, (x @ inner).tanh() @ outer + noise * 0.1 * torch.randn(size, 4, generator=generator)

    return Task(draw, draw, squared_loss)
