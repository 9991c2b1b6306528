"""Real text that every machine has, its split, and the windows a GPT is trained on. Reads one file at most.

The text is the English of Python's own documentation (`pydoc_data.topics`, about half a megabyte), or a file of the
user's. The last tenth is for validation: contiguous, so that no window of one part shows a token of the other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

from tuimon.demo.tokenizer import Tokenizer
from tuimon.errors import UsageError

Window = tuple[Tensor, Tensor]


def read_text(path: str | None = None) -> str:
    """The text of a UTF-8 file, or of Python's documentation. Raises UsageError for a file that is none."""
    if path is None:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics  # half a megabyte: only when it is wanted
        return "\n\n".join(topics[name].strip() for name in sorted(topics))
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


def unigram_entropy(tokens: Iterable[int]) -> float:
    """Entropy of the token frequencies, in nats: the loss of a model that knows nothing but how often each occurs."""
    counts = Counter(tokens)
    total = sum(counts.values())
    if total == 0:
        raise UsageError("the entropy of no text at all is not defined")
    return -sum(n / total * math.log(n / total) for n in counts.values())


@dataclass(frozen=True)
class Split:
    """Two parts of one text, in order, sharing nothing."""

    train: Tensor
    """(n,) int64."""
    validation: Tensor
    """(m,) int64."""


def split_tokens(tokens: list[int], max_seq_len: int, validation: float = 0.1) -> Split:
    """Cut off the last `validation` of the tokens; both parts keep at least one window, or UsageError says why not."""
    if not 0.0 < validation < 1.0:
        raise UsageError(f"the validation share must be between 0 and 1, not {validation!r}")
    window = max_seq_len + 1  # a window and the token after it
    if len(tokens) < 2 * window:
        raise UsageError(f"the text has {len(tokens)} tokens; two windows of {window} are the least that can be split")
    cut = min(max(round(len(tokens) * (1.0 - validation)), window), len(tokens) - window)
    every = torch.tensor(tokens, dtype=torch.int64)
    return Split(every[:cut], every[cut:])


class SimpleTextDataset(Dataset[Window]):
    """Windows of a text: item i is (inputs, targets), each (max_seq_len,) of int64, targets one token ahead.

    `text` is a string, encoded by `tokenizer`, or a 1-D tensor of tokens. Windows start every `stride` tokens (default
    max_seq_len: they do not overlap). Raises UsageError where not one window fits.
    """

    def __init__(self, text: str | Tensor, tokenizer: Tokenizer | None = None, max_seq_len: int = 64,
                 stride: int | None = None) -> None:
        if isinstance(text, str):
            if tokenizer is None:
                raise UsageError("a dataset of text needs a tokenizer; a dataset of tokens does not")
            text = torch.tensor(tokenizer.encode(text), dtype=torch.int64)
        self.tokens, self.max_seq_len = text, max_seq_len
        self.stride = max_seq_len if stride is None else stride
        if max_seq_len < 1 or self.stride < 1:
            raise UsageError(f"max_seq_len and stride must be at least 1, not {max_seq_len} and {self.stride}")
        if len(text) <= max_seq_len:
            raise UsageError(f"{len(text)} tokens are too few for a window of {max_seq_len} and the token after it")

    def __len__(self) -> int:
        return (len(self.tokens) - self.max_seq_len - 1) // self.stride + 1

    def __getitem__(self, index: int) -> Window:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.stride
        window = self.tokens[start:start + self.max_seq_len + 1]
        return window[:-1], window[1:]


def create_dataloader(dataset: Dataset[Window], batch_size: int = 16, *, shuffle: bool = True, seed: int = 0,
                      steps: int | None = None, skip: int = 0, workers: int = 0,
                      arrange: Callable[[list[int]], list[int]] | None = None) -> DataLoader[Window]:
    """Batches of (inputs, targets), each (batch_size, max_seq_len); the same ones for the same seed.

    With `steps`, one pass gives exactly that many batches, drawn with replacement, less the first `skip`: a run that
    goes on from step k sees what it would have seen. `arrange` may put the numbers of the windows drawn into another
    order. Without `steps`, one pass is one epoch and the last, short batch is kept.
    """
    if batch_size < 1 or skip < 0 or (steps is not None and steps < skip):
        raise UsageError(f"cannot draw {steps} batches of {batch_size} and skip {skip}")
    generator = torch.Generator().manual_seed(seed)
    if steps is not None:
        size = len(dataset)  # type: ignore[arg-type]  # Dataset leaves __len__ to its children; ours has one
        order = torch.randint(size, (steps * batch_size,), generator=generator).tolist()
        order = (arrange(order) if arrange else order)[skip * batch_size:]
        return DataLoader(dataset, batch_size, sampler=order, num_workers=workers, generator=generator)
    sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
    return DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers, generator=generator)
