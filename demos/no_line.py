"""A training script with no line of tuimon in it.

    tuimon run demos/no_line.py --steps 2000                     # the panel opens at once
    tuimon run --headless --fail-on critical demos/no_line.py    # no screen: exit status 3 if something goes wrong
"""

import argparse

import torch
from torch import nn
from torch.nn.functional import cross_entropy

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--lr", type=float, default=3e-3)
args = parser.parse_args()

torch.manual_seed(1)
torch.set_num_threads(1)
text = torch.arange(20_000).mul(7).remainder(101).remainder(29)  # a sequence that can be learnt


class Model(nn.Module):
    """Guesses the next token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(29, 64)
        self.layers = nn.ModuleList(nn.GRU(64, 64, batch_first=True) for _ in range(2))
        self.head = nn.Linear(64, 29)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T) to logits (B, T, 29)."""
        hidden = self.embed(tokens)
        for layer in self.layers:
            hidden = hidden + layer(hidden)[0]
        return self.head(hidden)


model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
for step in range(args.steps):
    at = torch.randint(0, len(text) - 33, (16,))
    window = torch.stack([text[i:i + 33] for i in at])
    loss = cross_entropy(model(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
