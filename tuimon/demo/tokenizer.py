"""Text to tokens and back, exactly: by character, or by byte pairs learned from the corpus. Pure; no torch.

Why by hand: the `tokenizers` package brings huggingface-hub and with it an HTTP stack into the environment of a
trainer that has no use for either; byte-pair encoding is the hundred lines below, and learns 512 tokens from the half
megabyte of Python's documentation in half a second. It is the algorithm of GPT-2 (Sennrich et al. 2016, over bytes):
words are cut apart first, so no token spans two of them, and every text has an encoding.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Protocol

from tuimon.errors import UsageError

KINDS: Final = ("char", "bpe")
UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"

_WORDS: Final = re.compile(r" ?\w+| ?[^\w\s]+|\s+(?!\S)|\s+", re.UNICODE)
"""A word with the space before it, a run of signs, or white space: what pairs are never merged across."""

Pair = tuple[int, int]
Word = tuple[int, ...]


class Tokenizer(Protocol):
    """What a tokenizer is: `decode(encode(text)) == text` for every text it was made for."""

    @property
    def vocab_size(self) -> int:
        """Tokens are 0 to vocab_size - 1."""

    def encode(self, text: str) -> list[int]:
        """Tokens of a text."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of tokens."""


def create_tokenizer(text: str, kind: str = "char", vocab_size: int = 512) -> Tokenizer:
    """A tokenizer trained on `text`: "char", or "bpe" with at most vocab_size tokens (256 up). Raises UsageError."""
    if not text:
        raise UsageError("a tokenizer needs some text to learn from")
    if kind == "char":
        return CharTokenizer(tuple(sorted(set(text) | {UNKNOWN})))
    if kind == "bpe":
        return BytePairTokenizer(learn_merges(text, vocab_size))
    raise UsageError(f"unknown tokenizer {kind!r}; known: {', '.join(KINDS)}")


@dataclass(frozen=True)
class CharTokenizer:
    """One token per character. A character it has never seen becomes the replacement character."""

    alphabet: tuple[str, ...]
    """Sorted, distinct, with the replacement character among them."""
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {c: i for i, c in enumerate(self.alphabet)})

    @property
    def vocab_size(self) -> int:
        """Number of characters."""
        return len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        """One token per character."""
        unknown = self._index[UNKNOWN]
        return [self._index.get(c, unknown) for c in text]

    def decode(self, tokens: Iterable[int]) -> str:
        """Characters, joined. IndexError for a token that is none."""
        return "".join([self.alphabet[t] for t in tokens])


@dataclass(frozen=True)
class BytePairTokenizer:
    """Bytes 0 to 255, then one token per learned pair. Encodes any text that UTF-8 can carry, and lone surrogates."""

    merges: tuple[Pair, ...]
    """In the order learned; merge i makes token 256 + i."""
    _rank: dict[Pair, int] = field(init=False, repr=False, compare=False)
    _pieces: list[bytes] = field(init=False, repr=False, compare=False)
    _known: dict[str, list[int]] = field(init=False, repr=False, compare=False)
    """Words seen before: text repeats itself, and this is what makes encoding fast."""

    def __post_init__(self) -> None:
        pieces = [bytes([i]) for i in range(256)]
        for a, b in self.merges:
            pieces.append(pieces[a] + pieces[b])
        object.__setattr__(self, "_pieces", pieces)
        object.__setattr__(self, "_rank", {pair: i for i, pair in enumerate(self.merges)})
        object.__setattr__(self, "_known", {})

    @property
    def vocab_size(self) -> int:
        """256 bytes and the merges."""
        return 256 + len(self.merges)

    def encode(self, text: str) -> list[int]:
        """Tokens of each word, earliest learned merge first."""
        out: list[int] = []
        for word in _WORDS.findall(text):
            tokens = self._known.get(word)
            if tokens is None:
                tokens = self._known[word] = self._encode_word(word)
            out.extend(tokens)
        return out

    def _encode_word(self, word: str) -> list[int]:
        tokens = tuple(word.encode("utf-8", "surrogatepass"))
        never = len(self.merges)
        while len(tokens) > 1:
            first = min(_pairs(tokens), key=lambda pair: self._rank.get(pair, never))
            if first not in self._rank:
                break
            tokens = _merge(tokens, first, 256 + self._rank[first])
        return list(tokens)

    def decode(self, tokens: Iterable[int]) -> str:
        """Text; tokens cut inside a character, as a model may draw them, show as the replacement character."""
        raw = b"".join([self._pieces[t] for t in tokens])
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return raw.decode("utf-8", "replace")


def learn_merges(text: str, vocab_size: int) -> tuple[Pair, ...]:
    """The vocab_size - 256 most frequent pairs, greedily, ties to the smaller; fewer where nothing repeats."""
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < 256:
        raise UsageError(f"a byte-pair vocabulary has at least the 256 bytes, not {vocab_size!r}")
    counted = Counter(_WORDS.findall(text))
    words: list[Word] = [tuple(w.encode("utf-8", "surrogatepass")) for w in counted]
    counts = list(counted.values())
    total: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for pair in _pairs(word):
            total[pair] += counts[i]
            where[pair].add(i)

    merges: list[Pair] = []
    while len(merges) < vocab_size - 256 and total:
        best = max(total, key=lambda pair: (total[pair], (-pair[0], -pair[1])))
        if total[best] < 2:
            break
        for i in where.pop(best):  # only the words that hold the pair are touched
            for pair in _pairs(words[i]):
                total[pair] -= counts[i]
                if total[pair] <= 0:
                    del total[pair]
            words[i] = _merge(words[i], best, 256 + len(merges))
            for pair in _pairs(words[i]):
                total[pair] += counts[i]
                where[pair].add(i)
        merges.append(best)
    return tuple(merges)


def _pairs(word: Sequence[int]) -> Iterable[Pair]:
    return pairwise(word)


def _merge(word: Word, pair: Pair, token: int) -> Word:
    """The word with each occurrence of the pair, from the left, replaced by the token."""
    out: list[int] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(token)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)
