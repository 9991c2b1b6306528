"""Sound trainings: what is right before a kind does something to it. Each learns well as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from torch import nn
from torch.optim import SGD, Adafactor, AdamW, Muon, Optimizer

from tests.zoo import data
from tests.zoo.models import LSTM, Decoder, Encoder, Plain, ViT
from tests.zoo.training import Optimize, Training, cosine
from tuimon.demo.model import GPTModel

STEPS: Final = 600
VOCABULARIES: Final = {"gpt": data.text_tokens()[1], "gpt-wide": data.text_tokens()[1], "gpt-deep": data.VOCABULARY}
"""Told to `attach`, as scripts that train a GPT do; the others leave it out."""
OUTER: Final = ("embed", "position", "head", "decoder", "tokens")
"""In the names of matrices that Muon is not for."""


def adamw(lr: float = 3e-3, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8,
          weight_decay: float = 0.1) -> Optimize:
    """AdamW on everything."""
    return lambda model: [AdamW(model.parameters(), lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)]


def sgd(lr: float = 0.3, momentum: float = 0.9, weight_decay: float = 0.0) -> Optimize:
    """SGD with momentum."""
    return lambda model: [SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)]


def adafactor(lr: float = 0.02) -> Optimize:
    """PyTorch's Adafactor."""
    return lambda model: [Adafactor(model.parameters(), lr=lr)]


def muon(lr: float = 0.02, rest: float = 3e-3) -> Optimize:
    """Muon for the hidden matrices, AdamW for what is left."""

    def made(model: nn.Module) -> list[Optimizer]:
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        inner = [p for n, p in named if p.dim() == 2 and not any(word in n for word in OUTER)]
        outer = [p for n, p in named if not any(p is q for q in inner)]
        return [Muon(inner, lr=lr, weight_decay=0.0), AdamW(outer, lr=rest, betas=(0.9, 0.95))]

    return made


OPTIMIZERS: Final[dict[str, Callable[..., Optimize]]] = {
    "AdamW": adamw, "SGD": sgd, "Adafactor": adafactor, "Muon": muon,
}
RATES: Final[dict[tuple[str, str], float]] = {("lstm", "SGD"): 1.0, ("lstm", "AdamW"): 5e-3, ("vit", "SGD"): 0.05,
                                              ("encoder", "SGD"): 0.1, ("encoder", "AdamW"): 2e-3}
"""Where a base rate differs from the optimizer's."""


def base(seed: int, model_name: str = "gpt", optimizer: str = "AdamW", *, steps: int = STEPS,
         clip: float | None = None, optimize: Optimize | None = None, **changes: Any) -> Training:
    """A sound training; `changes` are those of the model."""
    model, task = MODELS[model_name](changes)
    lr = RATES.get((model_name, optimizer))
    made = optimize or (OPTIMIZERS[optimizer]() if lr is None else OPTIMIZERS[optimizer](lr=lr))
    return Training(seed, model_name, model, task, optimizer, made, steps, cosine(steps), clip=clip,
                    batch_size=16 if model_name in ("vit", "mlp") else 8, vocabulary=VOCABULARIES.get(model_name))


def one_of(seed: int, bases: Iterable[tuple[str, str]], **settings: Any) -> Training:
    """The seed chooses the base."""
    choice = tuple(bases)
    return base(seed, *choice[seed % len(choice)], **settings)


def onset(seed: int, first: int = 200, spread: int = 150) -> int:
    """The first faulty step: another one for each seed."""
    return first + 37 * seed % spread


Built = tuple[nn.Module, data.Task]


def _gpt(changes: dict[str, Any]) -> Built:
    config = {"d_model": 32, "n_heads": 4, "n_layers": 3, "d_ff": 128, **changes}
    return GPTModel(data.text_tokens()[1], **config), data.text()


def _wide(changes: dict[str, Any]) -> Built:
    return _gpt({"d_model": 64, "n_layers": 2, "d_ff": 256, "tie_weights": True, **changes})


def _deep(changes: dict[str, Any]) -> Built:
    return Decoder(data.VOCABULARY, **changes), data.language()


def _encoder(changes: dict[str, Any]) -> Built:
    return Encoder(data.VOCABULARY, **changes), data.masked_language()


def _vit(changes: dict[str, Any]) -> Built:
    return ViT(**changes), data.pictures()


def _lstm(changes: dict[str, Any]) -> Built:
    return LSTM(data.VOCABULARY, **changes), data.language()


def _plain(changes: dict[str, Any]) -> Built:
    return Plain(**changes), data.function()


MODELS: Final[dict[str, Callable[[dict[str, Any]], Built]]] = {
    "gpt": _gpt, "gpt-wide": _wide, "gpt-deep": _deep, "encoder": _encoder, "vit": _vit, "lstm": _lstm, "mlp": _plain,
}
