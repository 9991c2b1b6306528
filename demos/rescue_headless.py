"""A run that explodes with nobody watching. on_critical="rescue" goes back, cuts the rate and goes on by itself.

At the end the script prints what happened, from the events that tuimon recorded.
"""

import json
import sys

import torch
from torch.nn.functional import cross_entropy

import tuimon
from tuimon.demo import GPTModel, SimpleTextDataset, create_dataloader, create_model_config, create_tokenizer
from tuimon.demo.corpus import read_text

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
mistake = steps // 2
torch.manual_seed(0)
torch.set_num_threads(1)  # more threads cost models this small more than they give

text = read_text()
tokenizer = create_tokenizer(text)
model = GPTModel(**create_model_config("tiny", vocab_size=tokenizer.vocab_size))
loader = create_dataloader(SimpleTextDataset(text, tokenizer), batch_size=8, steps=steps)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

with tuimon.attach(model, optimizer, total_steps=steps, on_critical="rescue") as monitor:  # this one
    for step, (tokens, targets) in enumerate(loader, start=1):
        if step == mistake:
            optimizer.param_groups[0]["lr"] = 0.1  # somebody's schedule has a bug: a tenth of this the model can bear
        loss = cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

for line in (monitor.run_dir / "events.jsonl").read_text().splitlines():
    event = json.loads(line)
    if event["kind"] == "incident" and event["change"] == "opened":
        print(f"step {event['step']}: {event['headline']} (since step {event['onset_step']}, {event['severity']})")
    elif event["kind"] == "rescue" and event["tick"] == "restored":
        print(f"step {event['step']}: rescued")
print(f"the last loss: {loss.item():.2f}; open now: {monitor.diagnosis().verdict}")
