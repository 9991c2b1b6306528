"""A loop as nanoGPT has it: batches cut from one long array, cosine by hand, accumulation, clipping, estimate_loss.

tuimon takes two lines of it. While it runs, in another terminal: tuimon watch.
"""

import math
import sys

import torch
from torch.nn.functional import cross_entropy

import tuimon
from tuimon.demo import GPTModel, create_model_config, create_tokenizer
from tuimon.demo.corpus import read_text

max_iters = int(sys.argv[1]) if len(sys.argv) > 1 else 120
block_size, batch_size, accumulation = 64, 6, 2
learning_rate, min_lr, warmup_iters = 1e-3, 1e-4, 10
eval_interval, eval_iters = 20, 4
torch.manual_seed(0)
torch.set_num_threads(1)  # more threads cost models this small more than they give

text = read_text()
tokenizer = create_tokenizer(text)
tokens = torch.tensor(tokenizer.encode(text), dtype=torch.uint8)  # nanoGPT maps this from train.bin
split = int(0.9 * len(tokens))
data = {"train": tokens[:split], "val": tokens[split:]}


def get_batch(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    starts = torch.randint(len(data[part]) - block_size - 1, (batch_size,))
    windows = torch.stack([data[part][i:i + block_size + 1] for i in starts.tolist()]).long()
    return windows[:, :-1], windows[:, 1:]


def get_lr(it: int) -> float:
    if it < warmup_iters:
        return learning_rate * (it + 1) / warmup_iters
    progress = (it - warmup_iters) / max(1, max_iters - warmup_iters)
    return min_lr + 0.5 * (1 + math.cos(math.pi * progress)) * (learning_rate - min_lr)


@torch.no_grad()
def estimate_loss() -> torch.Tensor:
    model.eval()
    losses = [loss_of(*get_batch("val")) for _ in range(eval_iters)]
    model.train()
    return torch.stack(losses).mean()


def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return cross_entropy(model(x).flatten(0, 1), y.flatten())


model = GPTModel(**create_model_config("tiny", vocab_size=tokenizer.vocab_size))
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.1)

monitor = tuimon.attach(model, optimizer, total_steps=max_iters, vocab_size=tokenizer.vocab_size)  # this one

for it in range(max_iters):
    for group in optimizer.param_groups:
        group["lr"] = get_lr(it)
    for _ in range(accumulation):
        loss = loss_of(*get_batch("train")) / accumulation
        loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if (it + 1) % eval_interval == 0:
        val_loss = estimate_loss()
        monitor.log(val_loss=val_loss)  # and this one: what no hook can see
        print(f"iter {it + 1}: train {loss.item() * accumulation:.3f}, val {val_loss.item():.3f}")
