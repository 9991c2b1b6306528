"""A GPT, whole and plain: tokens (B, T) in, logits (B, T, vocab) out. Nothing here knows of tuimon.

Pre-norm decoder with learned positions, causal attention through `scaled_dot_product_attention`, and GPT-2's
initialisation (Radford et al. 2019): normal weights of 0.02, residual projections divided by sqrt(2 n_layers), zero
biases. Some settings break it on purpose: `residual=False` and `normalize=False` take out what keeps gradients alive
through depth, `embed_std` draws the token embedding wider than the rest, `detach_at` cuts the backward pass before that
block, and with `looks_back=False` a token attends to nothing but itself. `qk_norm=True` normalises queries and keys, so
that attention cannot collapse whatever the learning rate has done to their weights.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuimon.errors import UsageError

ModelConfig = dict[str, Any]

SIZES: Final[dict[str, ModelConfig]] = {
    # untied: input and output embedding are two rows of the layer picture, and at these vocabularies cost nothing
    "tiny": {"d_model": 96, "n_heads": 4, "n_layers": 4, "d_ff": 384, "max_seq_len": 64, "dropout": 0.0},
    "small": {"d_model": 256, "n_heads": 8, "n_layers": 8, "d_ff": 1024, "max_seq_len": 128, "dropout": 0.0},
    # the published 124M: its 50,257 x 768 matrix is a third of the parameters, and is one matrix
    "gpt2": {"vocab_size": 50_257, "d_model": 768, "n_heads": 12, "n_layers": 12, "d_ff": 3072, "max_seq_len": 1024,
             "dropout": 0.1, "tie_weights": True},
}

ACTIVATIONS: Final = {"gelu": nn.GELU, "sigmoid": nn.Sigmoid}


def create_model_config(size: str = "tiny", **overrides: Any) -> ModelConfig:
    """Keyword arguments for GPTModel: a named size ("tiny", "small", "gpt2"), with overrides.

    "tiny" and "small" expect vocab_size from the tokenizer (default 256: bytes). Raises UsageError.
    """
    if size not in SIZES:
        raise UsageError(f"unknown model size {size!r}; known: {', '.join(SIZES)}")
    config: ModelConfig = {"vocab_size": 256, **SIZES[size], **overrides}
    check_config(config)
    return config


def check_config(config: ModelConfig) -> None:
    """Raise UsageError, in one line, for a shape that cannot be built."""
    for name in ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_seq_len"):
        value = config.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"{name} must be a whole number above 0, not {value!r}")
    if config["d_model"] % config["n_heads"]:
        raise UsageError(f"d_model {config['d_model']} cannot be split into n_heads {config['n_heads']}")
    dropout = config.get("dropout", 0.0)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0.0 <= dropout < 1.0:
        raise UsageError(f"dropout must be at least 0 and below 1, not {dropout!r}")
    init_std = config.get("init_std", 0.02)
    if isinstance(init_std, bool) or not isinstance(init_std, int | float) or not 0.0 < init_std < math.inf:
        raise UsageError(f"init_std must be a finite number above 0, not {init_std!r}")
    if config.get("activation", "gelu") not in ACTIVATIONS:
        raise UsageError(f"unknown activation {config['activation']!r}; known: {', '.join(ACTIVATIONS)}")
    embed_std = config.get("embed_std")
    is_number = isinstance(embed_std, int | float) and not isinstance(embed_std, bool)
    if embed_std is not None and not (is_number and 0.0 < embed_std < math.inf):
        raise UsageError(f"embed_std must be a finite number above 0, or None, not {embed_std!r}")
    cut = config.get("detach_at")
    if cut is not None and (isinstance(cut, bool) or not isinstance(cut, int) or not 0 <= cut < config["n_layers"]):
        raise UsageError(f"detach_at must be the number of a block below {config['n_layers']}, or None, not {cut!r}")
    known = {"vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_seq_len", "dropout", "tie_weights",
             "residual", "normalize", "activation", "init_std", "embed_std", "detach_at",
             "looks_back", "qk_norm"}
    if unknown := sorted(set(config) - known):
        raise UsageError(f"unknown model setting {unknown[0]!r}; known: {', '.join(sorted(known))}")


class Embedding(nn.Module):
    """Tokens (B, T) to vectors (B, T, d_model): what a token is plus where it stands."""

    def __init__(self, vocab_size: int, d_model: int, max_seq_len: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(max_seq_len, d_model)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        out: Tensor = self.drop(self.tokens(tokens) + self.positions(positions))
        return out


class Attention(nn.Module):
    """Causal multi-head self-attention, (B, T, C) to (B, T, C)."""

    def __init__(self, d_model: int, n_heads: int, dropout: float, *, looks_back: bool, qk_norm: bool) -> None:
        super().__init__()
        self.n_heads, self.dropout, self.looks_back = n_heads, dropout, looks_back
        self.q_norm, self.k_norm = (
            nn.RMSNorm(d_model // n_heads, elementwise_affine=False) if qk_norm else nn.Identity() for _ in range(2))
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        B, T, C = x.shape
        q, k, v = (h.view(B, T, self.n_heads, C // self.n_heads).transpose(1, 2) for h in self.qkv(x).split(C, dim=2))
        q, k = self.q_norm(q), self.k_norm(k)
        mask = None if self.looks_back else torch.eye(T, dtype=torch.bool, device=x.device)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None,
                                           dropout_p=self.dropout if self.training else 0.0)
        out: Tensor = self.drop(self.proj(y.transpose(1, 2).reshape(B, T, C)))
        return out


class MLP(nn.Module):
    """Position-wise feed-forward net, (B, T, C) to (B, T, C)."""

    def __init__(self, d_model: int, d_ff: int, dropout: float, activation: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_model, d_ff)
        self.act = ACTIVATIONS[activation]()
        self.fc2 = nn.Linear(d_ff, d_model)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.drop(self.fc2(self.act(self.fc1(x))))
        return out


class Block(nn.Module):
    """Attention, then MLP, each normalised before and added to the stream, unless told not to."""

    def __init__(self, *, d_model: int, n_heads: int, d_ff: int, dropout: float, activation: str, residual: bool,
                 normalize: bool, looks_back: bool, qk_norm: bool) -> None:
        super().__init__()
        self.residual = residual
        self.norm1 = nn.LayerNorm(d_model) if normalize else nn.Identity()
        self.attn = Attention(d_model, n_heads, dropout, looks_back=looks_back, qk_norm=qk_norm)
        self.norm2 = nn.LayerNorm(d_model) if normalize else nn.Identity()
        self.mlp = MLP(d_model, d_ff, dropout, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        mixed: Tensor = self.attn(self.norm1(x))
        x = x + mixed if self.residual else mixed
        thought: Tensor = self.mlp(self.norm2(x))
        return x + thought if self.residual else thought


class GPTModel(nn.Module):
    """Tokens (B, T) of int64 to logits (B, T, vocab_size); T at most max_seq_len.

    Layers, by name: embed, blocks.0 ..., norm, head. Raises UsageError for a shape that cannot be built.
    """

    def __init__(self, vocab_size: int, d_model: int = 64, n_heads: int = 4, n_layers: int = 4, d_ff: int = 256,
                 max_seq_len: int = 64, dropout: float = 0.0, *, tie_weights: bool = False, residual: bool = True,
                 normalize: bool = True, activation: str = "gelu", init_std: float = 0.02,
                 embed_std: float | None = None, detach_at: int | None = None, looks_back: bool = True,
                 qk_norm: bool = False) -> None:
        super().__init__()
        self.config: ModelConfig = {
            "vocab_size": vocab_size, "d_model": d_model, "n_heads": n_heads, "n_layers": n_layers, "d_ff": d_ff,
            "max_seq_len": max_seq_len, "dropout": dropout, "tie_weights": tie_weights, "residual": residual,
            "normalize": normalize, "activation": activation, "init_std": init_std, "embed_std": embed_std,
            "detach_at": detach_at, "looks_back": looks_back, "qk_norm": qk_norm,
        }
        check_config(self.config)
        self.max_seq_len = max_seq_len
        self.embed = Embedding(vocab_size, d_model, max_seq_len, dropout)
        self.blocks = nn.ModuleList(
            Block(d_model=d_model, n_heads=n_heads, d_ff=d_ff, dropout=dropout, activation=activation,
                  residual=residual, normalize=normalize, looks_back=looks_back, qk_norm=qk_norm)
            for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model) if normalize else nn.Identity()
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        if tie_weights:
            self.head.weight = self.embed.tokens.weight
        self.detach_at = detach_at
        self._init_weights(init_std, n_layers, residual=residual)
        if embed_std is not None:
            nn.init.normal_(self.embed.tokens.weight, std=embed_std)

    def _init_weights(self, std: float, n_layers: int, *, residual: bool) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:  # biases start at 0; norm gains stay at 1
                if name.endswith("bias"):
                    nn.init.zeros_(parameter)
            elif residual and name.endswith(("attn.proj.weight", "mlp.fc2.weight")):
                nn.init.normal_(parameter, std=std / math.sqrt(2 * n_layers))  # 2 n_layers branches add up to 1
            else:
                nn.init.normal_(parameter, std=std)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        if tokens.shape[1] > self.max_seq_len:
            raise UsageError(f"{tokens.shape[1]} tokens do not fit max_seq_len {self.max_seq_len}")
        x = self.embed(tokens)
        for i, block in enumerate(self.blocks):
            x = block(x.detach() if i == self.detach_at else x)
        logits: Tensor = self.head(self.norm(x))
        return logits

    @torch.no_grad()
    def generate(self, tokens: Tensor, max_new_tokens: int, *, temperature: float = 1.0, top_k: int | None = None,
                 generator: torch.Generator | None = None) -> Tensor:
        """Tokens (B, T) continued to (B, T + max_new_tokens), T at least 1; temperature 0 takes the likeliest."""
        if tokens.dim() != 2 or tokens.shape[1] < 1:
            raise UsageError(f"generate needs tokens of shape (B, T) with T at least 1, not {tuple(tokens.shape)}")
        if not 0.0 <= temperature < math.inf:
            raise UsageError(f"temperature must be a finite number, at least 0, not {temperature!r}")
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {top_k!r}")
        was_training = self.training
        self.eval()
        try:
            for _ in range(max_new_tokens):
                logits = self(tokens[:, -self.max_seq_len:])[:, -1, :].float()
                if not bool(logits.isfinite().all()):
                    raise UsageError("the model gives non-finite logits: nothing can be drawn from them")
                tokens = torch.cat((tokens, _draw(logits, temperature, top_k, generator)), dim=1)
        finally:
            self.train(was_training)
        return tokens


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator | None) -> Tensor:
    """One token (B, 1) from logits (B, vocab)."""
    if temperature == 0.0:
        return logits.argmax(dim=-1, keepdim=True)
    if top_k is not None:
        floor = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -math.inf)
    return torch.multinomial(F.softmax(logits / temperature, dim=-1), 1, generator=generator)
