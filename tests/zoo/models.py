"""The zoo's models: small, of several families, with the names of parts that their families have in the wild.

GPTs come from the demo; here are its modern cousin, an encoder, a vision transformer, an LSTM, and a plain network.
Plain PyTorch: nothing here knows of tuimon.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.data import CLASSES, SIDE


class Attention(nn.Module):
    """Causal self-attention with projections of their own."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(d, d, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (p(x).view(B, T, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, C))


class GatedMLP(nn.Module):
    """SwiGLU."""

    def __init__(self, d: int, inner: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(d, inner, bias=False), nn.Linear(d, inner, bias=False)
        self.down_proj = nn.Linear(inner, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class PlainMLP(nn.Module):
    """Two layers and a ReLU."""

    def __init__(self, d: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(d, inner), nn.ReLU(), nn.Linear(inner, d)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Experts(nn.Module):
    """Each token goes to the one of several MLPs that a router likes best."""

    def __init__(self, d: int, inner: int, count: int) -> None:
        super().__init__()
        self.router = nn.Linear(d, count, bias=False)
        self.experts = nn.ModuleList(PlainMLP(d, inner) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        share, best = self.router(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            mine = best == i
            if mine.any():
                out[mine] = expert(x[mine])
        return out * share.unsqueeze(-1)


class Block(nn.Module):
    """Pre-norm, with a given MLP."""

    def __init__(self, d: int, heads: int, mlp: nn.Module) -> None:
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.self_attn, self.mlp = Attention(d, heads), mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """A decoder of today: RMSNorm, separate projections, SwiGLU or what `mlp` says; learned positions."""

    def __init__(self, vocabulary: int, d: int = 32, heads: int = 4, layers: int = 6, length: int = 64,
                 mlp: str = "gated", experts: int = 8) -> None:
        super().__init__()
        made = {"gated": lambda: GatedMLP(d, 2 * d), "relu": lambda: PlainMLP(d, 4 * d),
                "experts": lambda: Experts(d, 2 * d, experts)}[mlp]
        self.embed_tokens, self.embed_positions = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        self.layers = nn.ModuleList(Block(d, heads, made()) for _ in range(layers))
        self.norm, self.lm_head = nn.RMSNorm(d, eps=1e-6), nn.Linear(d, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                deep = name.endswith(("o_proj.weight", "down_proj.weight", "fc2.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5 if deep else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed_tokens(tokens) + self.embed_positions(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


class Encoder(nn.Module):
    """Looks both ways: PyTorch's own encoder layers, post-norm as in BERT."""

    def __init__(self, vocabulary: int, d: int = 48, heads: int = 4, layers: int = 3, length: int = 64,
                 dropout: float = 0.0) -> None:
        super().__init__()
        self.embeddings, self.positions = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        for table in (self.embeddings, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        made = nn.TransformerEncoderLayer(d, heads, 4 * d, dropout, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(made, layers, enable_nested_tensor=False)
        for parameter in self.encoder.parameters():
            if parameter.dim() > 1:  # the layers are copies of one: each is drawn anew
                nn.init.xavier_uniform_(parameter)
        self.decoder = nn.Linear(d, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embeddings(tokens) + self.positions(torch.arange(tokens.shape[1]))
        return self.decoder(self.encoder(x))


class ViT(nn.Module):
    """Patches of 4x4, pre-norm blocks, the mean of all tokens to a linear head."""

    def __init__(self, d: int = 48, heads: int = 4, layers: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(1, d, 4, stride=4)
        self.pos_embed = nn.Parameter(0.02 * torch.randn((SIDE // 4) ** 2, d))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(d, heads, 3 * d, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embed(images).flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class LSTM(nn.Module):
    """A recurrent language model."""

    def __init__(self, vocabulary: int, d: int = 64, layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.rnn = nn.LSTM(d, d, layers, batch_first=True, dropout=dropout)
        self.decoder = nn.Linear(d, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.rnn(self.embedding(tokens))[0])


class Plain(nn.Module):
    """A network of fully connected layers, for regressions."""

    def __init__(self, inputs: int = 16, outputs: int = 4, d: int = 64, layers: int = 3) -> None:
        super().__init__()
        sizes = [inputs, *[d] * (layers - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.gelu(layer(x))
        return self.layers[-1](x)
