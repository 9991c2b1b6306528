"""A plain PyTorch loop with one line of tuimon in it. While it runs, in another terminal: tuimon watch."""

import sys

import torch
from torch.nn.functional import cross_entropy

import tuimon
from tuimon.demo import GPTModel, SimpleTextDataset, create_dataloader, create_model_config, create_tokenizer
from tuimon.demo.corpus import read_text

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
torch.manual_seed(0)

text = read_text()
tokenizer = create_tokenizer(text)
model = GPTModel(**create_model_config("tiny", vocab_size=tokenizer.vocab_size))
loader = create_dataloader(SimpleTextDataset(text, tokenizer), batch_size=12, steps=steps)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

monitor = tuimon.attach(model, optimizer, total_steps=steps)  # this one

for tokens, targets in loader:
    loss = cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

prompt = torch.tensor([tokenizer.encode("The ")])
print(tokenizer.decode(model.generate(prompt, 120, temperature=0.8)[0].tolist()))
