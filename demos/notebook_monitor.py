"""The notebook's loop: its TrainingHealthMonitor looks at every step, and its emergency stop ends the run."""

import sys

import torch
from torch.nn.functional import cross_entropy

from tuimon.demo import GPTModel, SimpleTextDataset, create_dataloader, create_model_config, create_tokenizer
from tuimon.demo.corpus import read_text
from tuimon.diagnosis.notebook import TrainingHealthMonitor

learning_rate = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0  # 1.0 explodes, 3e-4 learns
torch.manual_seed(0)

text = read_text()
tokenizer = create_tokenizer(text)
model = GPTModel(**create_model_config("tiny", vocab_size=tokenizer.vocab_size))
loader = create_dataloader(SimpleTextDataset(text, tokenizer), batch_size=12, steps=50)
optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)

monitor = TrainingHealthMonitor()

for step, (tokens, targets) in enumerate(loader):
    loss = cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    loss.backward()
    verdict = monitor.check_vitals(model, loss, optimizer, step)
    if step % 10 == 0:
        print(f"step {step:3}  loss {loss.item():.3f}  {verdict}")
    if monitor.emergency_stop_needed():
        print(f"emergency stop at step {step}: {verdict}")
        break
    optimizer.step()

monitor.plot_dashboard()
