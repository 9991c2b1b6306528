"""Mixed precision by the book: autocast, GradScaler, accumulation, clipping after unscale_. On the CPU, to be tried.

One batch is bad, its gradients overflow, and GradScaler skips that step: tuimon records it as skipped, and all losses
and gradient norms unscaled.
"""

import sys

import torch
from torch.nn.functional import cross_entropy

import tuimon
from tuimon.demo import GPTModel, SimpleTextDataset, create_dataloader, create_model_config, create_tokenizer
from tuimon.demo.corpus import read_text

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 80
accumulation = 2
torch.manual_seed(0)
torch.set_num_threads(1)  # more threads cost models this small more than they give

text = read_text()
tokenizer = create_tokenizer(text)
model = GPTModel(**create_model_config("tiny", vocab_size=tokenizer.vocab_size))
loader = create_dataloader(SimpleTextDataset(text, tokenizer), batch_size=6, steps=steps * accumulation)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps + 1)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**116)

monitor = tuimon.attach(model, optimizer, scheduler=scheduler, scaler=scaler, total_steps=steps)  # this one

for micro_step, (tokens, targets) in enumerate(loader, start=1):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(model(tokens).flatten(0, 1), targets.flatten()) / accumulation
    if micro_step == 20:
        loss = loss * 1e5  # the bad batch
    scaler.scale(loss).backward()
    if micro_step % accumulation == 0:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scheduler.step()

print(f"the scale has come down to 2^{torch.tensor(scaler.get_scale()).log2().item():.0f}")
